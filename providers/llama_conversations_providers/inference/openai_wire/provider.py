"""Inference by a model server that speaks OpenAI's chat completions, or its Responses API."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from typing import Protocol, TypeAlias
from urllib.parse import urlsplit

import orjson

from llama_conversations.apis.inference import Inference, OutputLimit, ProviderModel, SystemMessages, WireApi
from llama_conversations.errors import StackError, UpstreamError, UpstreamGarbled
from llama_conversations.log import get_logger
from llama_conversations.stack.provider_spec import ProviderContext
from llama_conversations.wire.catalog import Health
from llama_conversations_providers.inference.openai_wire.answer import Answer
from llama_conversations_providers.inference.openai_wire.chunks import ChunkReader
from llama_conversations_providers.inference.openai_wire.config import RemoteConfig
from llama_conversations_providers.inference.openai_wire.connection import tls_context
from llama_conversations_providers.inference.openai_wire.errors import ErrorWriter, read_complaint
from llama_conversations_providers.inference.openai_wire.models import NotAModelList, choose, read_models
from llama_conversations_providers.inference.openai_wire.response_events import ResponseEventReader, failure
from llama_conversations_providers.inference.openai_wire.token_counters import count_tokens
from llama_conversations_providers.inference.openai_wire.transport import Transport

log = get_logger(__name__)

HEALTH_SECONDS = 5.0

OPENAI_HOST = "api.openai.com"

_SHORTEST_SECRET = 8
"""Placeholders such as ``EMPTY`` or ``ollama`` are no secrets, and would be struck out of innocent words."""


def create(context: ProviderContext) -> OpenAIInference:
    """The factory of ``remote::openai`` and its variants. Raises ``ConfigError`` for TLS files that cannot be used."""
    if not isinstance(context.config, RemoteConfig):
        raise TypeError(f"expected a RemoteConfig, got {type(context.config).__name__}")
    return OpenAIInference(context.provider_id, context.config)


_Post: TypeAlias = Callable[[bytes, str], Awaitable[Answer]]
"""Sends a request, told what to accept in answer."""


class _StreamReader(Protocol):
    """Cuts a stream's bytes into what it is made of, up to its proper end."""

    done: bool

    def feed(self, data: bytes) -> Iterator[bytes]: ...

    def end(self) -> Iterator[bytes]: ...


class OpenAIInference(Inference):
    """Chat completions and responses from one model server; see ``RemoteConfig`` for what can be set."""

    def __init__(self, provider_id: str, config: RemoteConfig) -> None:
        self._config = config
        self._errors = ErrorWriter(provider_id, _secrets(config))
        self._transport = Transport(self._errors, config, tls_context(provider_id, config.tls))

    async def initialize(self) -> None:
        """Make the connection pool; nothing is connected yet."""
        await self._transport.open()

    async def shutdown(self) -> None:
        """Drop every connection; answers under way end in ``UpstreamDisconnected``."""
        await self._transport.close()

    async def health(self) -> Health:
        """Whether ``/models`` answers within five seconds."""
        try:
            await self._transport.probe(HEALTH_SECONDS)
        except StackError as error:
            return Health(status="error", message=str(error))
        except Exception as error:
            log.exception("provider %s: health check failed", self._errors.provider_id)
            return Health(status="error", message=f"the check itself failed: {type(error).__name__}")
        return Health(status="ok")

    async def list_models(self) -> Sequence[ProviderModel]:
        """What ``/models`` names, narrowed to the configured ids; those alone where discovery is off."""
        if not self._config.discover_models:
            return [ProviderModel(id=name) for name in self._config.models or ()]
        body = await (await self._transport.get_models()).read_all()
        try:
            return choose(read_models(body), self._config.models)
        except NotAModelList as error:
            raise self._garbled("a list of models") from error

    @property
    def wire_api(self) -> WireApi:
        """As configured."""
        return self._config.wire_api

    @property
    def output_limit(self) -> OutputLimit:
        """As configured; otherwise by whether it is OpenAI's own server."""
        if self._config.output_limit is not None:
            return self._config.output_limit
        is_openai = urlsplit(self._config.base_url).hostname == OPENAI_HOST
        return "max_completion_tokens" if is_openai else "max_tokens"

    @property
    def system_messages(self) -> SystemMessages:
        """As configured."""
        return self._config.system_messages

    async def count_tokens(self, body: bytes) -> int | None:
        """As the model server counts, if it does, and within five seconds; never raises for what it does wrong."""
        return await count_tokens(self._transport, self._config.token_counter, body)

    async def chat_completion(self, body: bytes) -> bytes:
        """One chat completion, as the model server wrote it, checked to be a JSON object with ``choices``."""
        answer = await (await self._transport.post_chat(body, "application/json")).read_all()
        self._check_object(answer, "choices", "a chat completion")
        return answer

    async def create_response(self, body: bytes) -> bytes:
        """One response, as the model server wrote it, checked to be a JSON object with ``output`` that did not fail."""
        answer = await (await self._transport.post_response(body, "application/json")).read_all()
        response = self._check_object(answer, "output", "a response")
        if response.get("status") == "failed":
            raise failure(self._errors, response)
        return answer

    def stream_chat_completion(self, body: bytes) -> AsyncGenerator[bytes, None]:
        """The chunks of a chat completion, not parsed: each begins and ends as a JSON object does."""
        return self._stream(self._transport.post_chat, body, ChunkReader(self._errors))

    def stream_response(self, body: bytes) -> AsyncGenerator[bytes, None]:
        """The events of a response up to its last; an ``error`` or a failed response is raised instead."""
        return self._stream(self._transport.post_response, body, ResponseEventReader(self._errors))

    async def _stream(self, post: _Post, body: bytes, reader: _StreamReader) -> AsyncGenerator[bytes, None]:
        answer = await post(body, "text/event-stream")
        try:
            if not answer.is_event_stream:
                raise self._no_stream(await answer.read_all())
            while not reader.done:
                data = await answer.read()
                for piece in reader.feed(data) if data else reader.end():
                    yield piece
            await answer.drain()
        finally:
            answer.close()  # before the stream's end this drops the connection, and the model server stops working

    def _check_object(self, answer: bytes, key: str, expected: str) -> dict[str, object]:
        """What an answer holds: a JSON object with an array ``key``, or else what it complains of is raised."""
        try:
            found = orjson.loads(answer)
        except orjson.JSONDecodeError as error:
            raise self._garbled("JSON") from error
        if isinstance(found, dict) and isinstance(found.get(key), list):
            return found
        complaint = read_complaint(found)
        raise self._garbled(expected) if complaint is None else self._errors.in_answer(complaint)

    def _no_stream(self, body: bytes) -> UpstreamError:
        try:
            complaint = read_complaint(orjson.loads(body))
        except orjson.JSONDecodeError:
            complaint = None
        return self._garbled("an event stream") if complaint is None else self._errors.in_answer(complaint)

    def _garbled(self, expected: str) -> UpstreamGarbled:
        return UpstreamGarbled(self._errors.provider_id, f"The model server's answer is not {expected}.")


def _secrets(config: RemoteConfig) -> list[str]:
    """What must not reach a caller in a model server's own words, longest first, so that no half of one is left."""
    values = [config.api_key, *config.headers.values()]
    texts = {value.get_secret_value() for value in values if value is not None}
    texts.add(urlsplit(config.base_url).netloc)
    return sorted((text for text in texts if len(text) >= _SHORTEST_SECRET), key=len, reverse=True)
