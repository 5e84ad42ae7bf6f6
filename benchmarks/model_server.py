"""A model server that answers at once: chat completions, plain and streamed. ``python -m benchmarks.model_server PORT``

A streamed answer has ``TOKENS`` tokens, one chunk each. ``/echo`` gives back what it is sent: the bare cost of HTTP.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator

import orjson
import uvicorn
from starlette.types import Receive, Scope, Send

TOKENS = 20

_USAGE = {"prompt_tokens": 10, "completion_tokens": TOKENS, "total_tokens": 10 + TOKENS}
_ANSWER = orjson.dumps(
    {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "bench",
        "choices": [
            {"index": 0, "message": {"role": "assistant", "content": "word " * TOKENS}, "finish_reason": "stop"}
        ],
        "usage": _USAGE,
    }
)
_MODELS = orjson.dumps({"object": "list", "data": [{"id": "bench", "object": "model", "created": 1, "owned_by": "me"}]})


def _chunks() -> Iterator[bytes]:
    for number in range(TOKENS + 1):
        last = number == TOKENS
        chunk = {
            "id": "chatcmpl-1",
            "object": "chat.completion.chunk",
            "created": 1,
            "model": "bench",
            "choices": [
                {"index": 0, "delta": {} if last else {"content": "word "}, "finish_reason": "stop" if last else None}
            ],
        }
        yield b"data: %b\n\n" % orjson.dumps(chunk | ({"usage": _USAGE} if last else {}))
    yield b"data: [DONE]\n\n"


_CHUNKS = list(_chunks())


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer a request."""
    if scope["type"] != "http":
        return
    body = await _body(receive)
    if scope["path"] == "/echo":
        await _whole(send, body)
    elif scope["path"].endswith("/models"):
        await _whole(send, _MODELS)
    elif b'"stream":true' in body[-400:]:
        await _stream(send)
    else:
        await _whole(send, _ANSWER)


async def _body(receive: Receive) -> bytes:
    parts, more = [], True
    while more:
        message = await receive()
        parts.append(message.get("body", b""))
        more = message.get("more_body", False)
    return b"".join(parts)


async def _whole(send: Send, body: bytes) -> None:
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _stream(send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
    for chunk in _CHUNKS:
        await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await asyncio.sleep(0)  # a chunk of its own on the wire, as models send them
    await send({"type": "http.response.body", "body": b""})


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="warning", access_log=False, lifespan="off")
