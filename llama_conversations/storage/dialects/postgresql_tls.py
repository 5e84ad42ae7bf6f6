"""TLS of connections to PostgreSQL: its files are looked at before the driver does, which would not name them."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


class UnusableCertificate(Exception):
    """A file of certificates or keys that is of no use; its message names the setting and the file."""


@dataclass(frozen=True)
class TlsSettings:
    """What a connection's TLS is made of; ``None``: not given.

    Attributes:
        mode: ``disable`` to ``verify-full``, as libpq has it.
        root_cert: File of the authorities' certificates.
        cert: File of the client's certificate, and of its key if that has no file of its own.
        passphrase: Of the key.
    """

    mode: str | None = None
    root_cert: str | None = None
    cert: str | None = None
    key: str | None = None
    passphrase: str = field(default="", repr=False)

    @classmethod
    def of(cls, parameters: Mapping[str, str]) -> TlsSettings:
        """What libpq's connection parameters say of it."""
        return cls(
            mode=parameters.get("sslmode"),
            root_cert=parameters.get("sslrootcert"),
            cert=parameters.get("sslcert"),
            key=parameters.get("sslkey"),
            passphrase=parameters.get("sslpassword", ""),
        )

    def __str__(self) -> str:
        """What was asked for, by the names in a run.yaml; empty if nothing was."""
        asks_for_root = (self.mode or "").startswith("verify")
        told = {
            "sslmode": self.mode,
            "ssl_root_cert": self.root_cert or ("not given" if asks_for_root else None),
            "ssl_cert": self.cert,
            "ssl_key": self.key,
        }
        return ", ".join(f"{name}: {value}" for name, value in told.items() if value)

    def check_files(self) -> None:
        """See whether the files can be used. Errors: ``UnusableCertificate``."""
        for name, path in (("ssl_root_cert", self.root_cert), ("ssl_cert", self.cert), ("ssl_key", self.key)):
            if path is not None:
                _check_readable(name, path)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        if self.root_cert is not None:
            _check_authorities(context, self.root_cert)
        if self.cert is not None:
            self._check_pair(context, self.cert)

    def _check_pair(self, context: ssl.SSLContext, cert: str) -> None:
        try:
            context.load_cert_chain(cert, self.key, lambda: self.passphrase)
        except (ssl.SSLError, ValueError) as error:
            if self.key is None:
                told = f"ssl_cert: {cert} is not a certificate with its key"
            else:
                told = f"ssl_cert and ssl_key: {cert} and {self.key} are not a certificate and its key"
            raise UnusableCertificate(f"{told} in PEM form{self._about_passphrase()}") from error

    def _about_passphrase(self) -> str:
        return "" if self.passphrase else ", or the key has a passphrase (sslpassword in the url)"


def _check_readable(name: str, path: str) -> None:
    try:
        with Path(path).open("rb"):
            pass
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UnusableCertificate(f"{name}: {path} cannot be read: {reason}") from error


def _check_authorities(context: ssl.SSLContext, path: str) -> None:
    try:
        context.load_verify_locations(cafile=path)
    except (ssl.SSLError, ValueError) as error:
        raise UnusableCertificate(f"ssl_root_cert: {path} has no certificate in PEM form") from error
