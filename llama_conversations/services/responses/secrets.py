"""What this server seals for itself: every process of a stack opens it, no client does."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Callable

from llama_conversations.services.responses.sealing import Sealer
from llama_conversations.storage.stores import SecretStore
from llama_conversations.wire.responses import CreateResponse
from llama_conversations.wire.tools import McpServerTool

REASONING = "reasoning"
COMPACTION = "compaction"
JOB = "job"
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

    def seal_request(self, request: CreateResponse) -> str:
        """A request as it is kept until it is run: as JSON, or sealed where it holds credentials of tool servers."""
        text = request.model_dump_json(exclude_unset=True, by_alias=True)
        tools = [tool for tool in request.tools or () if isinstance(tool, McpServerTool)]
        secret = any(tool.authorization is not None or tool.headers for tool in tools)
        return self.seal(text, JOB) if secret else text

    def unseal_request(self, kept: str) -> CreateResponse:
        """The request that ``seal_request`` made this of."""
        text = self._opened().unseal(kept, JOB)
        return CreateResponse.model_validate_json(kept if text is None else text)

    def _opened(self) -> Sealer:
        if self._sealer is None:
            raise RuntimeError("the sealer is used before it is initialized")
        return self._sealer
