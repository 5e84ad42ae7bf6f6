"""Inference by a model server that speaks OpenAI's chat completions."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from urllib.parse import urlsplit

import orjson

from llama_conversations.apis.inference import Inference, ProviderModel
from llama_conversations.errors import StackError, UpstreamError, UpstreamGarbled
from llama_conversations.log import get_logger
from llama_conversations.stack.provider_spec import ProviderContext
from llama_conversations.wire.catalog import Health
from llama_conversations_providers.inference.openai_wire.chunks import ChunkReader
from llama_conversations_providers.inference.openai_wire.config import RemoteConfig
from llama_conversations_providers.inference.openai_wire.connection import tls_context
from llama_conversations_providers.inference.openai_wire.errors import ErrorWriter, read_complaint
from llama_conversations_providers.inference.openai_wire.models import NotAModelList, choose, read_models
from llama_conversations_providers.inference.openai_wire.transport import Transport

log = get_logger(__name__)

HEALTH_SECONDS = 5.0

_SHORTEST_SECRET = 8
"""Placeholders such as ``EMPTY`` or ``ollama`` are no secrets, and would be struck out of innocent words."""


def create(context: ProviderContext) -> OpenAIInference:
    """The factory of ``remote::openai`` and its variants. Raises ``ConfigError`` for TLS files that cannot be used."""
    if not isinstance(context.config, RemoteConfig):
        raise TypeError(f"expected a RemoteConfig, got {type(context.config).__name__}")
    return OpenAIInference(context.provider_id, context.config)


class OpenAIInference(Inference):
    """Chat completions from one model server; see ``RemoteConfig`` for what can be set."""

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

    async def chat_completion(self, body: bytes) -> bytes:
        """One chat completion, as the model server wrote it, checked to be a JSON object with ``choices``."""
        answer = await (await self._transport.post_chat(body, "application/json")).read_all()
        try:
            found = orjson.loads(answer)
        except orjson.JSONDecodeError as error:
            raise self._garbled("JSON") from error
        if isinstance(found, dict) and isinstance(found.get("choices"), list):
            return answer
        complaint = read_complaint(found)
        raise self._garbled("a chat completion") if complaint is None else self._errors.in_answer(complaint)

    async def stream_chat_completion(self, body: bytes) -> AsyncGenerator[bytes, None]:
        """The chunks of a chat completion, not parsed: each begins and ends as a JSON object does."""
        answer = await self._transport.post_chat(body, "text/event-stream")
        try:
            if not answer.is_event_stream:
                raise self._no_stream(await answer.read_all())
            chunks = ChunkReader(self._errors)
            while not chunks.done:
                data = await answer.read()
                for chunk in chunks.feed(data) if data else chunks.end():
                    yield chunk
            await answer.drain()
        finally:
            answer.close()  # before the stream's end this drops the connection, and the model server stops working

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
