"""How a PostgreSQL database is reached, as it stands in a run.yaml."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, SecretStr, model_validator

from llama_conversations.config.findings import KeyPath
from llama_conversations.config.postgres_tls import SslMode, wrong_tls
from llama_conversations.config.postgres_url import PostgresAddress, parse_postgres_url, server_of
from llama_conversations.config.settings import SettingsModel, located_errors, plain_error

Seconds = Annotated[float, Field(gt=0)]


def _certificate(path: Path) -> Path:
    try:
        return path.expanduser()
    except RuntimeError as error:
        raise plain_error(f"'~' cannot be expanded: {error}") from None


CertificatePath = Annotated[Path, AfterValidator(_certificate)]

_PARAMETERS: dict[str, str] = {
    "sslmode": "sslmode",
    "ssl_root_cert": "sslrootcert",
    "ssl_cert": "sslcert",
    "ssl_key": "sslkey",
}
"""Settings that are connection parameters of libpq, and their names there."""


class PostgresBackend(SettingsModel):
    """A PostgreSQL database."""

    type: Literal["sql_postgres"] = Field(description="Kind of database: sql_postgres")
    url: SecretStr | None = Field(
        default=None,
        description="postgresql://user:password@host:port/db; what it leaves out may be given below, or is a default",
    )
    host: str | None = Field(
        default=None, description="Host name, address, or folder of a Unix socket; without url it is required"
    )
    port: int | None = Field(default=None, ge=1, le=65535, description="Port; left out: 5432")
    db: str | None = Field(default=None, description="Name of the database; left out: llama_conversations")
    user: str | None = Field(default=None, description="Name of the user; left out: llama_conversations")
    password: SecretStr | None = Field(default=None, description="Password, written as it is: nothing is encoded")
    sslmode: SslMode | None = Field(
        default=None,
        description="TLS, as libpq has it: disable, allow, prefer (the default), require, verify-ca or verify-full",
    )
    ssl_root_cert: CertificatePath | None = Field(
        default=None, description="File with the certificates of the authorities that the server's is verified by"
    )
    ssl_cert: CertificatePath | None = Field(default=None, description="File with the client's own certificate")
    ssl_key: CertificatePath | None = Field(default=None, description="File with the key of the client's certificate")
    pool_size: int = Field(default=10, ge=1, le=500, description="Connections at the most, of each server process")
    statement_timeout_seconds: Seconds = Field(
        default=30, description="How long a statement may take, and a transaction wait for its next one"
    )
    connect_timeout_seconds: Seconds = Field(
        default=10, description="How long to wait for a connection, a new one or one of the pool"
    )
    transaction_pooling: bool = Field(
        default=False,
        description="true: a pooler such as pgbouncer lends connections for a transaction at a time; nothing is then "
        "kept in a session, prepared statements neither",
    )

    @model_validator(mode="after")
    def _fits_together(self) -> PostgresBackend:
        if self.url is None and self.host is None:
            raise located_errors((("url",), "is required, or host (with port, db, user and password)"))
        twice = self._told_twice(self._address_in_url())
        wrong: list[tuple[KeyPath, str]] = [((key,), "is given in url, too: give it once") for key in twice]
        wrong = wrong or [self._located(*found) for found in wrong_tls(self.address.query)]
        if wrong:
            raise located_errors(*wrong)
        return self

    def _located(self, parameter: str, message: str) -> tuple[KeyPath, str]:
        """What is wrong with a connection parameter, at the key that it was given by."""
        [key] = [key for key, name in _PARAMETERS.items() if name == parameter]
        return (("url",), f"its {parameter} {message}") if getattr(self, key) is None else ((key,), message)

    def _address_in_url(self) -> PostgresAddress:
        if self.url is None:
            return PostgresAddress()
        address = parse_postgres_url(self.url.get_secret_value())
        if address is None:
            raise located_errors((("url",), "must be like postgresql://user:password@host:port/db"))
        return address

    def _told_twice(self, url: PostgresAddress) -> list[str]:
        in_url = {
            "host": url.has_host,
            "port": url.has_port,
            "db": url.db,
            "user": url.user,
            "password": url.password,
            **{key: parameter in url.query for key, parameter in _PARAMETERS.items()},
        }
        return [key for key, told in in_url.items() if told and getattr(self, key) is not None]

    @property
    def address(self) -> PostgresAddress:
        """Where the database is: what ``url`` says, completed by the other settings."""
        url = self._address_in_url()
        server = url.server
        if self.host is not None:
            server = server_of(self.host, self.port)
        elif self.port is not None:
            server = server_of(server or "localhost", self.port)
        settings = {parameter: str(value) for key, parameter in _PARAMETERS.items() if (value := getattr(self, key))}
        return replace(
            url,
            server=server,
            db=self.db or url.db,
            user=self.user or url.user,
            password=self.password.get_secret_value() if self.password else url.password,
            query={**url.query, **settings},
        )

    @property
    def location(self) -> str:
        """Where the state lies, for people."""
        return self.address.location
