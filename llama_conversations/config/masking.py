"""Secrets out of what is shown."""

from __future__ import annotations

import re
from collections.abc import Mapping

from pydantic import BaseModel, JsonValue, SecretBytes, SecretStr

MASK = "********"

_KEY_ENDINGS = (  # of keys whose value is a secret
    r"api_?keys?|access_?keys?|secret_?keys?|private_?keys?|pass_?word|passwd|pwd|pass_?phrase|token|secrets?|authorization"
    r"|credentials?|cookie"
)
_WORD_BOUNDARY = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|[-\s.]+")
_SECRET_KEY = re.compile(rf"(?:.*_)?(?:{_KEY_ENDINGS}|(?:api|auth|access)_tokens)|tokens")
_URL_PASSWORD = re.compile(r"([a-z][a-z0-9+.-]*://[^\s:@/?#]*:)\S+(?=@)", re.IGNORECASE)
_ASSIGNMENT = re.compile(
    rf"(?<![A-Za-z0-9])((?:[\w-]*[_-])?(?:{_KEY_ENDINGS})=)('[^']*'|\"[^\"]*\"|[^&\s#;]+)", re.IGNORECASE
)
_HEADER_LINE = re.compile(r"\s*([A-Za-z][\w-]*)\s*:\s*\S.*")
_SCHEME_CREDENTIALS = re.compile(r"\s*(?:bearer|basic)\s+\S+\s*", re.IGNORECASE)


def is_secret_key(key: str) -> bool:
    """Whether a key sounds like a secret's: ``api_key``, ``hf_token``, ``X-Api-Key``, ``clientSecret``."""
    return _SECRET_KEY.fullmatch(_WORD_BOUNDARY.sub("_", key).lower()) is not None


def mask_secrets(tree: object) -> JsonValue:
    """The tree as plain JSON values, fit to be shown: every secret in it is ``********``.

    Masked are: the values of keys that sound like secrets (a whole mapping or list too; null, an empty text, true and
    false say nothing and stay), ``SecretStr``, passwords in URLs, secret query parameters and ``password=…`` of
    connection strings, and header lines and values that carry credentials.
    """
    if isinstance(tree, BaseModel):
        return mask_secrets(dict(tree))
    if isinstance(tree, Mapping):
        return {str(key): _masked_value(str(key), value) for key, value in tree.items()}
    if isinstance(tree, list | tuple | set | frozenset):
        return [mask_secrets(value) for value in tree]
    return _masked_scalar(tree)


def _masked_value(key: str, value: object) -> JsonValue:
    if is_secret_key(key) and not isinstance(value, bool) and value not in (None, "", [], {}):
        return MASK
    return mask_secrets(value)


def _masked_scalar(value: object) -> JsonValue:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, SecretStr | SecretBytes):
        return MASK if value.get_secret_value() else ""
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value)
    return _masked_text(str(value))


def _masked_text(text: str) -> str:
    if _SCHEME_CREDENTIALS.fullmatch(text):
        return MASK
    header = _HEADER_LINE.fullmatch(text)
    if header and is_secret_key(header[1]):
        return f"{header[1]}: {MASK}"
    # Up to the last '@': a password may hold '@', '/' and '?' that nobody encoded.
    text = _URL_PASSWORD.sub(rf"\g<1>{MASK}", text)
    return _ASSIGNMENT.sub(rf"\g<1>{MASK}", text)
