"""The tool server as errors speak of it: by its label, and without anything that is secret."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlsplit

from llama_conversations.errors import ToolFailed, ToolServerForbidden

MAX_WORDS = 1000
"""Characters that are passed on of what a server says."""

_SHORTEST_SECRET = 8
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
        parts = urlsplit(url)
        keys = [value for _, value in parse_qsl(parts.query)]
        secrets = {url, parts.netloc, *keys, *credentials}
        return cls(label, sorted((text for text in secrets if len(text) >= _SHORTEST_SECRET), key=len, reverse=True))

    def failed(self, message: str) -> ToolFailed:
        """The error for what went wrong, in our own words."""
        return ToolFailed(self.label, message)

    def complained(self, words: str, code: int) -> ToolFailed:
        """The error that the server itself reports, with what it says of it."""
        for secret in self.secrets:
            words = words.replace(secret, "***")
        told = words if len(words) <= MAX_WORDS else f"{words[:MAX_WORDS]}…"
        return ToolFailed(self.label, f"it answered with an error: {told}", code=code)

    def forbidden(self, reason: str) -> ToolServerForbidden:
        """The error for an address that policy denies."""
        return ToolServerForbidden(self.label, reason)
