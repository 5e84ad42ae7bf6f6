"""Settings of ``inline::mcp``, and of the groups of tools that are registered with it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, PositiveFloat, PositiveInt, SecretStr

from llama_conversations.config.settings import SettingsModel
from llama_conversations.stack.provider_spec import ProviderConfig
from llama_conversations_providers.tool_runtime.mcp.policy import DEFAULT_PORTS, read_rule


def _split_commas(value: object) -> object:
    """``${env.NAMES}`` can only be text: ``a, b`` is the list of both, and no text the empty list."""
    if value is None:
        return []
    if not isinstance(value, str):
        return value
    return [name.strip() for name in value.split(",") if name.strip()]


def _check_rule(text: str) -> str:
    read_rule(text)
    return text


Rules = Annotated[list[Annotated[str, AfterValidator(_check_rule)]], BeforeValidator(_split_commas)]


class Timeouts(SettingsModel):
    """How long to wait for a tool server, in seconds.

    Attributes:
        connect_seconds: For a connection: name resolution and TCP; as long again for TLS.
        open_seconds: For a session: connection and handshake together.
        read_seconds: For the first byte of an answer, and between two reads of it.
        call_seconds: For a whole call, or the whole list of tools.
    """

    connect_seconds: PositiveFloat = 5
    open_seconds: PositiveFloat = 20
    read_seconds: PositiveFloat = 60
    call_seconds: PositiveFloat = 300


class PolicySettings(SettingsModel):
    """Which tool servers a request may name. Groups of tools that run.yaml registers are not held to it.

    A rule is a host (``tools.example.com``), the hosts below one (``*.example.com``), all (``*``), an address or a
    network (``127.0.0.1``, ``10.0.0.0/8``), or a URL that others begin with (``https://example.com/mcp``).

    Attributes:
        allow: Let in, even if they are in a private network, or lead there.
        deny: Kept out, even if ``allow`` lists them.
        public: Whether what is on the public internet is let in without being listed.
    """

    allow: Rules = Field(default_factory=list)
    deny: Rules = Field(default_factory=list)
    public: bool = True


class McpConfig(ProviderConfig):
    """Which MCP servers may be used, and how much they may send.

    Attributes:
        ca_file: PEM file of the authorities to trust instead of the system's.
        max_response_bytes: For one answer, and for the list of tools as a whole; what is longer is an error.
        max_result_characters: Of a call's answer that the model is told; the rest is left out, and that is said.
        max_tools: For one server.
    """

    policy: PolicySettings = Field(default_factory=PolicySettings)
    timeouts: Timeouts = Field(default_factory=Timeouts)
    ca_file: Path | None = None
    max_response_bytes: PositiveInt = 4 * 1024 * 1024
    max_result_characters: PositiveInt = 200_000
    max_tools: PositiveInt = 512

    @classmethod
    def sample_run_config(cls) -> dict[str, object]:
        """Public servers, and those that a variable lists."""
        return {"policy": {"allow": "${env.MCP_ALLOW:=}"}}


def _check_server_url(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in DEFAULT_PORTS or not parts.hostname:
        raise ValueError("must be an http:// or https:// address")
    if parts.username is not None or parts.password is not None:
        raise ValueError("must hold no user name or password: use authorization or headers")
    _ = parts.port  # raises ValueError where it is no number from 0 to 65535
    return value


class GroupArguments(SettingsModel):
    """Settings of a group of tools in run.yaml: one MCP server that the operator trusts.

    Attributes:
        server_url: Its address, wherever it is.
        headers: Sent with every request.
        authorization: Sent as a bearer token.
    """

    server_url: Annotated[str, AfterValidator(_check_server_url)]
    headers: dict[str, SecretStr] = Field(default_factory=dict)
    authorization: SecretStr | None = None
