"""Tool runtimes: what a provider of tools that the server itself runs does. Not served over HTTP."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from llama_conversations.wire.base import JsonValue
from llama_conversations.wire.catalog import Health


@dataclass(frozen=True, slots=True)
class ToolDefinition:
    """A tool as its server describes it; ``input_schema`` is a JSON schema of an object."""

    name: str
    description: str | None
    input_schema: Mapping[str, JsonValue]
    annotations: Mapping[str, JsonValue] | None = None

    @property
    def read_only(self) -> bool:
        """Whether the server says that the tool changes nothing (MCP, ``readOnlyHint``)."""
        return bool(self.annotations and self.annotations.get("readOnlyHint"))


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What a tool answered, as text for the model; ``is_error`` when the tool says that it failed."""

    text: str
    is_error: bool = False


@dataclass(frozen=True, slots=True)
class ToolServer:
    """Where a request says that its tools are: an address that a caller gave, so not to be trusted.

    Attributes:
        label: The caller's name for it; told in errors.
        url: Its address.
        headers: Sent with every request to it.
        authorization: A bearer token for it; never stored, logged or echoed.
    """

    label: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    authorization: str | None = field(default=None, repr=False)


class ToolSession(Protocol):
    """An open connection to one tool server, for one turn. It may be opened, used and closed in different tasks.

    Errors of both: ``errors.ToolFailed`` with what went wrong, fit for the model and the caller.
    """

    @abstractmethod
    async def list_tools(self) -> Sequence[ToolDefinition]:
        """The tools, all pages of them."""
        ...

    @abstractmethod
    async def call_tool(self, name: str, arguments: Mapping[str, JsonValue]) -> ToolResult:
        """Call a tool. That the tool itself failed is a result, not an error."""
        ...


@runtime_checkable
class ToolRuntime(Protocol):
    """Sessions with tool servers."""

    @abstractmethod
    async def initialize(self) -> None:
        """Prepare; a tool server that is down is no error here."""
        ...

    @abstractmethod
    async def shutdown(self) -> None:
        """Close what is open."""
        ...

    @abstractmethod
    async def health(self) -> Health:
        """Whether it works; never raises."""
        ...

    async def check_server(self, server: ToolServer) -> None:
        """Refuse a server whose address a caller gave, before a turn begins; nothing is sent to it.

        That it is let through promises nothing: ``open_server`` checks again what it connects to.

        Errors: ``errors.ToolServerForbidden`` when policy denies the address.
        """

    @abstractmethod
    def open_server(self, server: ToolServer) -> AbstractAsyncContextManager[ToolSession]:
        """Open a session with a server whose address a caller gave.

        Errors: ``errors.ToolServerForbidden`` when policy denies the address, ``errors.ToolFailed``.
        """
        ...

    @abstractmethod
    def open_group(
        self, tool_group_id: str, arguments: Mapping[str, JsonValue]
    ) -> AbstractAsyncContextManager[ToolSession]:
        """Open a session with a group of tools that the operator registered in run.yaml.

        ``arguments`` are the group's own settings, in the form that the provider defines.

        Errors: ``errors.ToolFailed``.
        """
        ...
