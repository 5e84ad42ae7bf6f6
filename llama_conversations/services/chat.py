"""Chat completions, passed through to the model's provider; nothing is stored."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

import orjson

from llama_conversations.apis.chat import ChatCompletions
from llama_conversations.errors import UpstreamError
from llama_conversations.log import get_logger
from llama_conversations.services.models import ModelRouter
from llama_conversations.wire.answers import EventStream, Json
from llama_conversations.wire.chat import ChatCompletion, ChatCompletionRequest

log = get_logger(__name__)

DONE = b"data: [DONE]\n\n"


class ChatCompletionsServiceImpl(ChatCompletions):
    """Sends a request on as it came, save for the model's name, and the answer back as it came."""

    def __init__(self, models: ModelRouter) -> None:
        self._models = models

    async def create_chat_completion(self, request: ChatCompletionRequest) -> Json[ChatCompletion] | EventStream:
        """See ``ChatCompletions``. Errors: ``ModelNotFound``, ``UpstreamError``.

        A stream is answered once its first chunk is there, so that what goes wrong before is an ordinary error.
        """
        routed = await self._models.route(request.model)
        body = _upstream_body(request, routed.provider_model_id)
        if not request.stream:
            return Json(ChatCompletion, await routed.inference.chat_completion(body))
        frames = _frames(routed.inference.stream_chat_completion(body))
        await anext(frames)
        return EventStream(frames)


def _upstream_body(request: ChatCompletionRequest, provider_model_id: str) -> bytes:
    exclude = None if request.stream else {"stream"}
    upstream = request.model_copy(update={"model": provider_model_id})
    return upstream.model_dump_json(exclude_unset=True, exclude=exclude).encode()


async def _frames(chunks: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    """Frames of server-sent events.

    The first one is empty: it comes when the first chunk is there, or fails as that does. From then on, closing this
    generator closes the upstream's, even if no frame was ever sent.
    """
    async with aclosing(chunks):
        chunk = await anext(chunks, None)
        yield b""
        try:
            while chunk is not None:
                yield b"data: " + chunk + b"\n\n"
                chunk = await anext(chunks, None)
            yield DONE
        except UpstreamError as error:
            log.warning("Provider '%s' failed in the middle of a stream: %s", error.provider_id, error.message)
            yield _error_frame(error)


def _error_frame(error: UpstreamError) -> bytes:
    """The error in the shape that the API's errors have; the status is out already."""
    body = {"error": {"message": error.message, "type": "server_error", "param": None, "code": "server_error"}}
    return b"data: " + orjson.dumps(body) + b"\n\n"
