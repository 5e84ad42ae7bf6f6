"""The API as a client sees it."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager

import aiohttp
import orjson

MODEL = "bench"

_WORDS = (
    *("the", "quick", "brown", "fox", "jumps", "over", "the", "lazy", "dog"),
    *("while", "seven", "wizards", "quietly", "brew", "hot", "jasmine", "tea"),
)


class RequestFailed(Exception):
    """An answer other than 2xx.

    Attributes:
        retry_after: What its ``Retry-After`` says.
    """

    def __init__(self, status: int, body: bytes, retry_after: str | None) -> None:
        super().__init__(f"{status}: {body[:200].decode(errors='replace')}")
        self.status, self.retry_after = status, retry_after


class Client:
    """Requests over one pool of connections."""

    def __init__(self, session: aiohttp.ClientSession, base_url: str) -> None:
        self._session, self._base = session, base_url

    async def post(self, path: str, body: object = None) -> bytes:
        """The body of the answer. Raises ``RequestFailed``."""
        data = body if isinstance(body, bytes) else orjson.dumps({} if body is None else body)
        headers = {"content-type": "application/json"}
        async with self._session.post(self._base + path, data=data, headers=headers) as answer:
            return await _checked(answer)

    async def get(self, path: str) -> bytes:
        """The body of the answer. Raises ``RequestFailed``."""
        async with self._session.get(self._base + path) as answer:
            return await _checked(answer)

    async def create(self) -> str:
        """A new conversation's id."""
        return str(orjson.loads(await self.post("/conversations", {"metadata": {"topic": "bench"}}))["id"])

    async def append(self, conversation_id: str, items: Sequence[object]) -> None:
        """Add items."""
        await self.post(f"/conversations/{conversation_id}/items", {"items": items})

    async def filled(self, count: int) -> str:
        """A new conversation of so many items."""
        conversation_id = await self.create()
        for start in range(0, count, 20):
            await self.append(conversation_id, messages(start, min(start + 20, count)))
        return conversation_id

    async def page(self, conversation_id: str, order: str = "desc") -> bytes:
        """A hundred items."""
        return await self.get(f"/conversations/{conversation_id}/items?limit=100&order={order}")

    async def turn(self, conversation_id: str) -> None:
        """A turn, not streamed."""
        asked = {"model": MODEL, "input": "And then?", "conversation": conversation_id}
        answer = orjson.loads(await self.post("/responses", asked))
        if answer["status"] != "completed":
            raise RuntimeError(f"the turn ended as {answer['status']}")

    async def stream(self, conversation_id: str) -> float:
        """A streamed turn; the seconds to its first token. Raises when it does not end well."""
        asked = orjson.dumps({"model": MODEL, "input": "And then?", "conversation": conversation_id, "stream": True})
        began, first, last = time.perf_counter(), 0.0, b""
        async with self._session.post(f"{self._base}/responses", data=asked) as answer:
            if answer.status >= 300:
                await _checked(answer)
            async for data in answer.content.iter_any():
                if not first and b"output_text.delta" in data:
                    first = time.perf_counter() - began
                last = (last + data)[-20_000:]
        if b"event: response.completed" not in last:
            raise RuntimeError(f"the stream has no proper end: …{last[-500:].decode(errors='replace')}")
        return first


class Idle:
    """Conversations in which no turn runs: each has one at a time, or the second one is refused."""

    def __init__(self, conversation_ids: Iterable[str]) -> None:
        self._ids = deque(conversation_ids)

    def add(self, conversation_ids: Iterable[str]) -> None:
        """More of them."""
        self._ids.extend(conversation_ids)

    @contextmanager
    def one(self) -> Iterator[str]:
        """The one that has been idle for longest."""
        conversation_id = self._ids.popleft()
        try:
            yield conversation_id
        finally:
            self._ids.append(conversation_id)


@asynccontextmanager
async def connected(base_url: str) -> AsyncIterator[Client]:
    """A client with as many connections as it needs."""
    connector = aiohttp.TCPConnector(limit=0)
    timeout = aiohttp.ClientTimeout(total=120)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        yield Client(session, base_url)


def messages(start: int, end: int) -> list[object]:
    """Users' messages of about 200 characters, none like another."""
    return [{"type": "message", "role": "user", "content": _text(number)} for number in range(start, end)]


def _text(number: int) -> str:
    return " ".join([f"item {number:06}", *(_WORDS[(number * 7 + n * 3) % len(_WORDS)] for n in range(36))])


async def _checked(answer: aiohttp.ClientResponse) -> bytes:
    body = await answer.read()
    if answer.status >= 300:
        raise RequestFailed(answer.status, body, answer.headers.get("retry-after"))
    return body
