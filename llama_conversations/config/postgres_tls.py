"""TLS parameters of a PostgreSQL connection that contradict each other: what would silently protect nobody is refused.

Names and meanings are libpq's: postgresql.org/docs/current/libpq-ssl.html.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal, TypeAlias, get_args

SslMode: TypeAlias = Literal["disable", "allow", "prefer", "require", "verify-ca", "verify-full"]

_VERIFYING = ("require", "verify-ca", "verify-full")
"""Modes in which the authorities' certificates are looked at; ``require`` only if they are given."""


def wrong_tls(parameters: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """What is wrong among connection parameters: each a parameter, and what to say of it."""
    modes = get_args(SslMode)
    mode = parameters.get("sslmode", "prefer")
    if mode not in modes:
        yield "sslmode", f"must be {', '.join(modes[:-1])} or {modes[-1]}"
        return
    if "sslrootcert" in parameters and mode not in _VERIFYING:
        yield "sslrootcert", f"verifies nothing with sslmode {mode}: give verify-full, or verify-ca"
    if "sslcert" in parameters and mode == "disable":
        yield "sslcert", "is shown to nobody with sslmode disable"
    if "sslkey" in parameters and "sslcert" not in parameters:
        yield "sslkey", "is the key of a certificate, which is not given"
