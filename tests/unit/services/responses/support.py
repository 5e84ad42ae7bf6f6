"""What the tests of the Responses engine share: a model whose chunks a test chooses, real stores, whole streams."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from harness.event_stream import JsonObject, read_frames
from harness.sqlite import make_database
from llama_conversations.access import DEFAULT_SCOPE
from llama_conversations.apis.inference import Inference, ProviderModel
from llama_conversations.apis.tools import ToolDefinition, ToolResult, ToolRuntime, ToolServer, ToolSession
from llama_conversations.config.run_config import StorageConfig
from llama_conversations.errors import ConversationLocked, ModelNotFound
from llama_conversations.ids import new_id, new_partition
from llama_conversations.services.items import prepare_item
from llama_conversations.services.models import ModelRouter, RoutedModel
from llama_conversations.services.responses.context import input_items
from llama_conversations.services.responses.engine import RunningTurn
from llama_conversations.services.responses.secrets import SharedSealer
from llama_conversations.services.responses.service import ResponsesServiceImpl, TurnSettings, TurnStores
from llama_conversations.services.responses.surroundings import Surroundings
from llama_conversations.services.responses.toolbox import Toolbox
from llama_conversations.services.responses.turn import Turn
from llama_conversations.services.tools import ToolGroup, ToolServers
from llama_conversations.storage.news import LocalNews
from llama_conversations.storage.open import Storage, open_storage
from llama_conversations.storage.records import ConversationRecord, TurnClaim, now_us
from llama_conversations.storage.stores import SecretStore
from llama_conversations.wire.base import JsonValue
from llama_conversations.wire.catalog import Health
from llama_conversations.wire.events import Event, EventWriter
from llama_conversations.wire.responses import CreateResponse

PROVIDER = "scripted"
MODEL = "gpt"

Say = bytes | Exception | Callable[[], object]
"""What a scripted model does next: send a chunk, fail, or whatever a function does (its awaitable is awaited)."""


def chunk(finish_reason: str | None = None, usage: JsonObject | None = None, **delta: object) -> bytes:
    """One ``chat.completion.chunk``."""
    written: JsonObject = {"choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}]}
    return orjson.dumps(written | ({} if usage is None else {"usage": usage}))


def text(content: str) -> bytes:
    return chunk(content=content)


def call(index: int | None = 0, call_id: str | None = None, name: str | None = None, arguments: str = "") -> bytes:
    """A chunk with a piece of one tool call; what is None is left out."""
    function = {"arguments": arguments} | ({} if name is None else {"name": name})
    piece: JsonObject = {"type": "function", "function": function}
    if index is not None:
        piece["index"] = index
    if call_id is not None:
        piece["id"] = call_id
    return chunk(tool_calls=[piece])


def end(reason: str = "stop", usage: JsonObject | None = None) -> bytes:
    return chunk(finish_reason=reason, usage=usage)


USAGE: JsonObject = {
    "prompt_tokens": 11,
    "completion_tokens": 7,
    "total_tokens": 18,
    "prompt_tokens_details": {"cached_tokens": 3},
    "completion_tokens_details": {"reasoning_tokens": 2},
}

ANSWER: Sequence[Say] = (text("Hello"), text(" you"), end("stop", USAGE))


class ScriptedModel(Inference):
    """Says what it is told to; remembers what it was asked, and whether its stream was dropped in the middle.

    Attributes:
        script: What it does for a request that streams; taken anew by each.
        rounds: Scripts for the next requests that stream, before ``script``: one for each.
        answer: What it answers with to a request that does not stream.
        counts: Tokens that it counts, for one request after the other; the last for all that follow. Empty: it cannot.
    """

    def __init__(self, *script: Say, answer: Say = b"") -> None:
        self.script: Sequence[Say] = script
        self.rounds: list[Sequence[Say]] = []
        self.answer = answer
        self.counts: list[int] = []
        self.counted: list[JsonObject] = []
        self.bodies: list[JsonObject] = []
        self.asked = asyncio.Event()
        self.dropped = asyncio.Event()

    async def initialize(self) -> None: ...

    async def shutdown(self) -> None: ...

    async def health(self) -> Health:
        return Health(status="ok")

    async def list_models(self) -> Sequence[ProviderModel]:
        return [ProviderModel(MODEL)]

    async def count_tokens(self, body: bytes) -> int | None:
        self.counted.append(orjson.loads(body))
        if not self.counts:
            return None
        return self.counts.pop(0) if len(self.counts) > 1 else self.counts[0]

    async def chat_completion(self, body: bytes) -> bytes:
        self._note(body)
        said = await self._do(self.answer)
        assert said is not None
        return said

    async def stream_chat_completion(self, body: bytes) -> AsyncGenerator[bytes, None]:
        self._note(body)
        try:
            for step in self.rounds.pop(0) if self.rounds else self.script:
                said = await self._do(step)
                if said is not None:
                    yield said
        except (GeneratorExit, asyncio.CancelledError):
            self.dropped.set()
            raise

    def _note(self, body: bytes) -> None:
        self.bodies.append(orjson.loads(body))
        self.asked.set()

    @staticmethod
    async def _do(step: Say) -> bytes | None:
        if isinstance(step, Exception):
            raise step
        if isinstance(step, bytes):
            return step
        waiting = step()
        if waiting is not None:
            await waiting  # type: ignore[misc]
        return None


class OneModel(ModelRouter):
    """Routes every name to one model, but those in ``unknown``."""

    def __init__(self, inference: Inference) -> None:
        self._inference = inference
        self.context_length: int | None = None
        self.unknown: set[str] = set()

    async def route(self, model: str) -> RoutedModel:
        if model in self.unknown:
            raise ModelNotFound(model)
        return routed(self._inference, model, self.context_length)


def routed(inference: Inference, model: str = MODEL, context_length: int | None = None) -> RoutedModel:
    return RoutedModel(model, PROVIDER, f"upstream/{model}", inference, context_length)


Tool = Callable[[Mapping[str, JsonValue]], Awaitable[ToolResult]]


class Tools(ToolRuntime, ToolSession):
    """A tool server that every address leads to: its tools are functions of a test.

    Attributes:
        definitions: What it lists; an exception is raised instead.
        unreachable: Raised when a session is opened.
        seen: What was done with it, in order.
    """

    def __init__(self) -> None:
        self.definitions: Sequence[ToolDefinition] | Exception = ()
        self.tools: dict[str, Tool] = {}
        self.unreachable: Exception | None = None
        self.seen: list[tuple[str, object]] = []

    def add(self, name: str, tool: Tool, **described: Any) -> None:
        """Offer one more tool."""
        assert not isinstance(self.definitions, Exception)
        definition = ToolDefinition(
            **{"name": name, "description": None, "input_schema": {"type": "object"}} | described
        )
        self.definitions, self.tools[name] = [*self.definitions, definition], tool

    async def initialize(self) -> None: ...

    async def shutdown(self) -> None: ...

    async def health(self) -> Health:
        return Health(status="ok")

    def open_server(self, server: ToolServer) -> AbstractAsyncContextManager[ToolSession]:
        return self._session(server)

    def open_group(
        self, tool_group_id: str, arguments: Mapping[str, JsonValue]
    ) -> AbstractAsyncContextManager[ToolSession]:
        return self._session((tool_group_id, arguments))

    @asynccontextmanager
    async def _session(self, server: object) -> AsyncIterator[ToolSession]:
        self.seen.append(("open", server))
        if self.unreachable is not None:
            raise self.unreachable
        yield self
        self.seen.append(("close", server))

    async def list_tools(self) -> Sequence[ToolDefinition]:
        self.seen.append(("list", None))
        if isinstance(self.definitions, Exception):
            raise self.definitions
        return self.definitions

    async def call_tool(self, name: str, arguments: Mapping[str, JsonValue]) -> ToolResult:
        self.seen.append((name, arguments))
        return await self.tools[name](arguments)


async def echo(arguments: Mapping[str, JsonValue]) -> ToolResult:
    """A tool that says its arguments."""
    return ToolResult(orjson.dumps(arguments).decode())


class MemorySecrets(SecretStore):
    """Secrets in memory."""

    def __init__(self) -> None:
        self.kept: dict[str, str] = {}

    async def keep(self, name: str, secret: str) -> str:
        return self.kept.setdefault(name, secret)


NO_TOOLS = ToolServers({}, {})


def toolbox(*tools: JsonObject, runtime: Tools | None = None) -> Toolbox:
    """A box of these tools."""
    servers = ToolServers({} if runtime is None else {"tools": runtime}, {})
    return Toolbox(request(tools=list(tools)).tools or (), servers)


def bare() -> Surroundings:
    """Of a turn that keeps nothing and reads nothing."""
    sealer = SharedSealer(MemorySecrets())
    asyncio.run(sealer.initialize())
    return Surroundings(None, None, None, None, NO_TOOLS, sealer, LocalNews())  # type: ignore[arg-type]


def request(**fields: object) -> CreateResponse:
    return CreateResponse.model_validate({"model": MODEL, "input": "Hi", **fields})


def turn_of(inference: Inference, **fields: object) -> Turn:
    """A turn as the service makes it, but for references, which it does not resolve."""
    asked = request(**fields)
    partition = new_partition()
    return Turn(
        response_id=new_id("resp", partition),
        partition=partition,
        created_at=now_us(),
        scope=DEFAULT_SCOPE,
        request=asked,
        model=routed(inference, asked.model),
        input=[prepare_item(item, partition) for item in input_items(asked)],
    )


@dataclass
class Desk:
    """Stores, a model, and the turns that are taken with them."""

    storage: Storage
    path: Path
    model: ScriptedModel
    models: OneModel
    tools: Tools
    service: ResponsesServiceImpl

    def turn(self, **fields: object) -> RunningTurn:
        return RunningTurn(turn_of(self.model, **fields), self.service._around)

    async def conversation(self, *items: JsonObject) -> str:
        """A new conversation that holds these items."""
        record = ConversationRecord(new_id("conv"), now_us(), "{}")
        asked = request(input=list(items))
        held = [prepare_item(item, record.id[5:13]) for item in input_items(asked)]
        await self.storage.conversations.create(DEFAULT_SCOPE, record, held)
        return record.id

    async def held(self, conversation_id: str) -> list[JsonObject]:
        """The items of a conversation, oldest first."""
        items = await self.storage.conversations.history(DEFAULT_SCOPE, conversation_id, 1 << 60)
        return [orjson.loads(entry.data) for entry in items]

    async def retrieved(self, response_id: str) -> JsonObject:
        """A response as it is stored."""
        record = await self.storage.responses.get(DEFAULT_SCOPE, response_id)
        body: JsonObject = orjson.loads(record.body)
        assert body["status"] == record.status
        return body

    async def responses(self) -> list[JsonObject]:
        """Every stored response, oldest first."""
        page = await self.service.list_responses(limit=100, order="asc")
        found: list[JsonObject] = orjson.loads(page.body)["data"]
        return found

    async def create(self, **fields: object) -> JsonObject:
        """A turn through the service, not streamed: the response."""
        answer = await self.service.create_response(request(**fields))
        body: JsonObject = orjson.loads(answer.body)  # type: ignore[union-attr]
        return body

    async def settled(self) -> None:
        """No turn runs any more."""
        while running := list(self.service._runner._tasks):
            await asyncio.wait(running)

    async def unlocked(self, conversation_id: str) -> bool:
        """Whether a turn could begin in a conversation."""
        claim = TurnClaim(new_id("resp"), conversation_id, None)
        try:
            await self.storage.responses.claim(DEFAULT_SCOPE, claim)
        except ConversationLocked:
            return False
        await self.storage.responses.unclaim(DEFAULT_SCOPE, claim.response_id, conversation_id)
        return True

    def expire_leases(self) -> None:
        """Let every lease run out, as the time would."""
        with closing(sqlite3.connect(self.path)) as connection:
            for table in ("conversations", "responses"):
                connection.execute(f"UPDATE {table} SET lease_expires_at = 1 WHERE lease_node IS NOT NULL")
            connection.commit()

    async def sweep(self) -> None:
        """What the service does now and then."""
        await self.service.mend()

    async def frames(self, **fields: object) -> AsyncGenerator[bytes, None]:
        """A turn through the service, streamed."""
        answer = await self.service.create_response(request(stream=True, **fields))
        return answer.frames  # type: ignore[union-attr]

    async def events(self, **fields: object) -> list[JsonObject]:
        """A turn through the service, streamed to its end."""
        return read_frames(b"".join([frame async for frame in await self.frames(**fields)]))


def stores_of(storage: Storage) -> TurnStores:
    return TurnStores(
        storage.conversations, storage.responses, storage.jobs, storage.prompts, storage.secrets, storage.news
    )


@asynccontextmanager
async def open_desk(
    directory: Path, *script: Say, settings: TurnSettings | None = None, **backend: Any
) -> AsyncIterator[Desk]:
    if not (path := directory / "state.db").exists():
        make_database(path)
    config = StorageConfig.model_validate(
        {"backends": {"default": {"type": "sql_sqlite", "path": str(path), "synchronous": "normal", **backend}}}
    )
    settings = settings or TurnSettings()
    async with open_storage(config, settings.lease_seconds) as storage:
        model, tools = ScriptedModel(*script), Tools()
        models, servers = OneModel(model), ToolServers({"tools": tools}, {"docs": ToolGroup("tools", {"a": 1})})
        service = ResponsesServiceImpl(stores_of(storage), models, servers, settings)
        await service.initialize()
        try:
            yield Desk(storage, path, model, models, tools, service)
        finally:
            await service.shutdown()


async def shown(running: RunningTurn) -> list[JsonObject]:
    """All events of a turn, as a reader gets them."""
    return written([event async for event in running.events()])


def written(events: Sequence[Event]) -> list[JsonObject]:
    """Events as a reader gets them."""
    writer = EventWriter()
    return read_frames(b"".join(writer.frame(event) for event in events))


def types(events: Sequence[JsonObject]) -> list[str]:
    """The events' types without ``response.``."""
    return [str(event["type"]).removeprefix("response.") for event in events]
