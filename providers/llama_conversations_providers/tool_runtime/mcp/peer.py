"""The tool server as errors speak of it: by its label, and without anything that is secret."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from llama_conversations.errors import ToolFailed, ToolServerForbidden

MAX_MESSAGE = 1000

_SHORTEST_SECRET = 6
"""What is shorter, such as a header's ``1`` or ``true``, is no secret, and would be struck out of innocent words."""


@dataclass(frozen=True, slots=True)
class Peer:
    """Makes the errors of one tool server.

    Attributes:
        label: Its name in the request, or in run.yaml.
        secrets: Texts that are struck out of what it says: its address, its credentials. Longest first.
    """

    label: str
    secrets: Sequence[str] = ()

    @classmethod
    def at(cls, label: str, url: str, credentials: Iterable[str]) -> Peer:
        """The server at an address; ``credentials`` are the values of the headers that it is sent."""
        secrets = {url, urlsplit(url).netloc, *credentials}
        return cls(label, sorted((text for text in secrets if len(text) >= _SHORTEST_SECRET), key=len, reverse=True))

    def failed(self, message: str, code: int | None = None) -> ToolFailed:
        """The error for what went wrong; ``message`` may quote the server."""
        for secret in self.secrets:
            message = message.replace(secret, "***")
        return ToolFailed(
            self.label, message if len(message) <= MAX_MESSAGE else f"{message[:MAX_MESSAGE]}…", code=code
        )

    def forbidden(self, reason: str) -> ToolServerForbidden:
        """The error for an address that policy denies."""
        return ToolServerForbidden(self.label, reason)
