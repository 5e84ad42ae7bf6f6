"""Settings of the providers that talk to a model server over HTTP."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, ClassVar, Literal, TypeAlias
from urllib.parse import urlsplit, urlunsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, NonNegativeInt, SecretStr, field_validator

from llama_conversations.apis.inference import OutputLimit, SystemMessages, WireApi
from llama_conversations.stack.provider_spec import ProviderConfig

TokenCounter: TypeAlias = Literal["none", "llama-cpp", "vllm"]
"""Whose way of counting a request's tokens a server knows."""

_HEADER_NAME = re.compile(r"^[A-Za-z0-9!#$%&'*+.^_`|~-]+$")  # RFC 9110, 5.6.2
_NOT_IN_HEADERS = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")  # RFC 9110, 5.5

Seconds = Annotated[float, Field(gt=0)]


def _split_commas(value: object) -> object:
    """``${env.MODELS}`` can only be text: ``a, b`` is the list of both."""
    if not isinstance(value, str):
        return value
    return [name.strip() for name in value.split(",") if name.strip()]


class Timeouts(BaseModel):
    """How long to wait for a model server, in seconds; null is for ever.

    Attributes:
        connect_seconds: For a connection: name resolution, TCP and TLS together.
        first_byte_seconds: From sending the request to the status line, and from there to the first byte of the answer.
        idle_seconds: Between two reads of an answer.
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    connect_seconds: Seconds = 5
    first_byte_seconds: Seconds | None = 600
    idle_seconds: Seconds | None = 120


class TLS(BaseModel):
    """How to check the model server, and what to show it. Files are PEM.

    Attributes:
        verify: Whether its certificate is checked at all.
        ca_file: Authorities to trust instead of the system's.
        client_cert: A certificate to show, with its chain.
        client_key: Its key, where it is not in the same file.
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    verify: bool = True
    ca_file: Path | None = None
    client_cert: Path | None = None
    client_key: Path | None = None


class RemoteConfig(ProviderConfig):
    """What all of them share.

    Attributes:
        base_url: What ``/chat/completions``, ``/responses`` and ``/models`` are appended to; a query is kept.
        api_key: Sent as ``Authorization: Bearer``.
        headers: Sent with every request; one of the same name replaces what would be sent otherwise.
        max_retries: How often a request is repeated that brought no answer, or 408, 409, 429 or 5xx. Never once an
            answer has begun.
        models: Upstream ids to list, none but these; null lists all that the server names.
        discover_models: Whether the server has ``/models``; without it ``models`` is taken on trust.
        wire_api: How turns are asked for: in chat completions, which most servers speak, or in responses.
        output_limit: The name by which the server takes the limit of a chat completion's length; null is
            ``max_completion_tokens`` for api.openai.com and ``max_tokens`` for any other.
        token_counter: How the server counts a request's tokens, if it does.
        system_messages: Where its chat completions take them; with ``first``, what the system says further on is told
            as the user's. That is the default for servers that run open models: their templates differ, and many
            refuse it or leave it out.
    """

    base_url: str
    api_key: SecretStr | None = None
    headers: dict[str, SecretStr] = Field(default_factory=dict)
    timeouts: Timeouts = Field(default_factory=Timeouts)
    tls: TLS = Field(default_factory=TLS)
    max_retries: NonNegativeInt = 2
    models: Annotated[list[str], BeforeValidator(_split_commas)] | None = None
    discover_models: bool = True
    wire_api: WireApi = "chat"
    output_limit: OutputLimit | None = None
    token_counter: TokenCounter = "none"  # noqa: S105  (no secret)
    system_messages: SystemMessages = "anywhere"

    @field_validator("api_key", "headers")
    @classmethod
    def _check_fit_for_headers(cls, value: SecretStr | dict[str, SecretStr] | None) -> object:
        headers = value if isinstance(value, dict) else {"Authorization": value}
        for name, text in headers.items():
            if not _HEADER_NAME.match(name):
                raise ValueError(f"{name!r} is no header name")
            if text is not None and _NOT_IN_HEADERS.search(text.get_secret_value()):
                raise ValueError("must hold no line ends or control characters")
        return value

    @field_validator("base_url")
    @classmethod
    def _check_base_url(cls, value: str) -> str:
        parts = urlsplit(value)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError("must be an http:// or https:// address")
        if parts.username is not None or parts.password is not None:
            raise ValueError("must hold no user name or password: use api_key or headers")
        if parts.fragment:
            raise ValueError("must hold no fragment")
        _ = parts.port  # raises ValueError where it is no number from 0 to 65535
        return urlunsplit(parts._replace(path=parts.path.rstrip("/")))


def _with_v1(value: object) -> object:
    if not isinstance(value, str):
        return value
    parts = urlsplit(value)
    path = parts.path.rstrip("/")
    return value if path.endswith("/v1") else urlunsplit(parts._replace(path=f"{path}/v1"))


V1Address = Annotated[str, BeforeValidator(_with_v1)]


class OpenAIConfig(RemoteConfig):
    """OpenAI itself, unless ``base_url`` names another server."""

    base_url: str = "https://api.openai.com/v1"

    @classmethod
    def sample_run_config(cls) -> dict[str, object]:
        """Address and key from the variables that OpenAI's own clients read."""
        return {
            "base_url": "${env.OPENAI_BASE_URL:=https://api.openai.com/v1}",
            "api_key": "${env.OPENAI_API_KEY:=}",
        }


class VLLMConfig(RemoteConfig):
    """vLLM; ``/v1`` is added to an address that does not end in it."""

    base_url: V1Address
    token_counter: TokenCounter = "vllm"  # noqa: S105  (as above)
    system_messages: SystemMessages = "first"

    @classmethod
    def sample_run_config(cls) -> dict[str, object]:
        """The address is needed; a key only where vLLM was started with one."""
        return {"base_url": "${env.VLLM_URL}", "api_key": "${env.VLLM_API_KEY:=}"}


class OllamaConfig(RemoteConfig):
    """Ollama; ``/v1`` is added to an address that does not end in it."""

    base_url: V1Address = "http://localhost:11434/v1"
    system_messages: SystemMessages = "first"

    @classmethod
    def sample_run_config(cls) -> dict[str, object]:
        """Ollama's own default address."""
        return {"base_url": "${env.OLLAMA_URL:=http://localhost:11434}"}
