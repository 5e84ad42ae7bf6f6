"""Files of TLS that need more than a path: a key with a passphrase."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from harness.certificates import Authority
from llama_conversations.storage.dialects.postgresql_tls import TlsSettings, UnusableCertificate

PASSPHRASE = "secret of the key"


@pytest.fixture
def parameters(tmp_path: Path) -> dict[str, str]:
    """Connection parameters with a certificate whose key is encrypted."""
    signed = Authority().sign("client")
    key = serialization.load_pem_private_key(signed.key, None).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(PASSPHRASE.encode()),
    )
    (tmp_path / "crt").write_bytes(signed.certificate)
    (tmp_path / "key").write_bytes(key)
    return {"sslmode": "require", "sslcert": str(tmp_path / "crt"), "sslkey": str(tmp_path / "key")}


def test_a_key_opens_with_its_passphrase_which_is_shown_nowhere(parameters: dict[str, str]) -> None:
    settings = TlsSettings.of({**parameters, "sslpassword": PASSPHRASE})
    settings.check_files()
    assert PASSPHRASE not in str(settings) + repr(settings)


def test_a_key_that_needs_a_passphrase_says_so(parameters: dict[str, str]) -> None:
    with pytest.raises(UnusableCertificate, match=r"or the key has a passphrase \(sslpassword in the url\)"):
        TlsSettings.of(parameters).check_files()


def test_a_key_with_another_passphrase_does_not_open(parameters: dict[str, str]) -> None:
    with pytest.raises(UnusableCertificate, match="are not a certificate and its key in PEM form") as found:
        TlsSettings.of({**parameters, "sslpassword": "not-this-one"}).check_files()
    assert "not-this-one" not in str(found.value)


def test_a_path_that_is_none_is_told() -> None:
    with pytest.raises(UnusableCertificate, match=r"ssl_root_cert: .* cannot be read: embedded null byte"):
        TlsSettings.of({"sslrootcert": "a\0b"}).check_files()
