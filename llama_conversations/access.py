"""Who is asking: the scope that every store call takes and turns into SQL."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass

DEFAULT_TENANT = "default"
DEFAULT_OWNER = "default"


@dataclass(frozen=True, slots=True)
class AccessScope:
    """The tenant and the user on whose behalf a store is asked; ``roles`` are what a policy decides by."""

    tenant: str = DEFAULT_TENANT
    owner: str = DEFAULT_OWNER
    roles: frozenset[str] = frozenset()


DEFAULT_SCOPE = AccessScope()

_scope: ContextVar[AccessScope] = ContextVar("access_scope", default=DEFAULT_SCOPE)


def current_scope() -> AccessScope:
    """The scope of the request that is being served."""
    return _scope.get()


def enter_scope(scope: AccessScope) -> None:
    """Set the scope for the rest of this task (one request is one task)."""
    _scope.set(scope)
