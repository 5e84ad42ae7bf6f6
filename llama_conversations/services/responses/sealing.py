"""What clients carry for us and cannot read or change: encrypted reasoning, compacted contexts.

A token is ``lcs1.`` and, in unpadded base64url (RFC 4648 §5), a random nonce of 12 bytes with the AES-256-GCM
ciphertext and its tag of 16 (NIST SP 800-38D). The purpose is authenticated with it, so that a token made for one place
does not fit another. Random nonces are good for 2³² tokens a key (SP 800-38D §8.3): keys can be changed, and the older
ones still open.
"""

from __future__ import annotations

from base64 import b64decode, urlsafe_b64encode
from binascii import Error
from collections.abc import Sequence
from functools import cached_property
from os import urandom
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

__all__ = ["MIN_KEY_BYTES", "Sealer", "is_sealed"]

MIN_KEY_BYTES = 32

_PREFIX = "lcs1."
_NONCE_BYTES = 12


def is_sealed(token: str) -> bool:
    """Whether a text looks like one that a server of this kind has sealed, with whatever key."""
    return token.startswith(_PREFIX)


class Sealer:
    """Seals texts with the first key, and opens what any of the keys has sealed.

    Args:
        key: A secret of at least 32 random bytes; the cipher's own key is derived from it (HKDF, RFC 5869), so the same
            secret may serve other ends as well.
        older: Keys that were used before: what they sealed can still be opened.

    Raises:
        ValueError: A key is too short.
    """

    def __init__(self, key: bytes, *older: bytes) -> None:
        self._secrets = (key, *older)
        for secret in self._secrets:
            if len(secret) < MIN_KEY_BYTES:
                raise ValueError(f"a key for sealing has at least {MIN_KEY_BYTES} bytes, this one has {len(secret)}")

    @cached_property
    def _ciphers(self) -> Sequence[AESGCM]:
        return [_cipher(secret) for secret in self._secrets]

    def seal(self, plaintext: str, purpose: str) -> str:
        """A token that only ``unseal`` with the same purpose opens; never twice the same."""
        nonce = urandom(_NONCE_BYTES)
        sealed = nonce + self._ciphers[0].encrypt(nonce, plaintext.encode(), _bound_to(purpose))
        return _PREFIX + urlsafe_b64encode(sealed).rstrip(b"=").decode()

    def unseal(self, token: str, purpose: str) -> str | None:
        """The text; ``None`` for what these keys did not seal for this purpose, or what was changed since."""
        sealed = _bytes_of(token)
        if sealed is None:
            return None
        from cryptography.exceptions import InvalidTag

        nonce, ciphertext = sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:]
        for cipher in self._ciphers:
            try:
                return cipher.decrypt(nonce, ciphertext, _bound_to(purpose)).decode()
            except InvalidTag:
                continue
        return None


def _cipher(secret: bytes) -> AESGCM:
    # imported at first use: it takes 6 MB, and few turns have anything to seal
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    return AESGCM(HKDF(SHA256(), length=32, salt=None, info=_PREFIX.encode()).derive(secret))


def _bound_to(purpose: str) -> bytes:
    return (_PREFIX + purpose).encode()


def _bytes_of(token: str) -> bytes | None:
    """What a token holds; ``None`` where it is none of ours, or not written exactly as we write it."""
    if not token.startswith(_PREFIX):
        return None
    text = token[len(_PREFIX) :]
    try:
        sealed = b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (Error, ValueError):
        return None
    if len(sealed) <= _NONCE_BYTES or urlsafe_b64encode(sealed).rstrip(b"=").decode() != text:
        return None  # a last character with other unused bits decodes to the same bytes
    return sealed
