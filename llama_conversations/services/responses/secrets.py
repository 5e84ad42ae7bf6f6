"""What this server seals for itself: every process of a stack opens it, no client does."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Callable

from llama_conversations.services.responses.sealing import Sealer
from llama_conversations.storage.stores import SecretStore

REASONING = "reasoning"
COMPACTION = "compaction"
"""Purposes: what is sealed for one cannot be passed off as another."""

_NAME = "sealing"


class SharedSealer:
    """A sealer whose key is kept in the database, so that all processes of a stack have the same one."""

    def __init__(self, store: SecretStore) -> None:
        self._store = store
        self._sealer: Sealer | None = None

    async def initialize(self) -> None:
        """Load the key; the first process makes it."""
        kept = await self._store.keep(_NAME, base64.b64encode(secrets.token_bytes(32)).decode())
        self._sealer = Sealer(base64.b64decode(kept))

    def seal(self, text: str, purpose: str) -> str:
        """A text that only this stack can read."""
        return self._opened().seal(text, purpose)

    def unsealer(self, purpose: str) -> Callable[[str], str | None]:
        """A function that reads what was sealed for a purpose; ``None`` for what this stack did not seal."""
        return lambda token: self._opened().unseal(token, purpose)

    def _opened(self) -> Sealer:
        if self._sealer is None:
            raise RuntimeError("the sealer is used before it is initialized")
        return self._sealer
