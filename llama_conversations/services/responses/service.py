"""The Responses API, implemented over stores and models."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace

from llama_conversations.access import AccessScope, current_scope
from llama_conversations.apis.channels import Channel
from llama_conversations.apis.conversations import Order
from llama_conversations.apis.responses import Responses
from llama_conversations.errors import CursorNotFound, InvalidParameter, ModelNotFound
from llama_conversations.ids import RESPONSE_PREFIX, new_id, new_partition, partition_of
from llama_conversations.services.conversations import item_page
from llama_conversations.services.models import ModelRouter, RoutedModel
from llama_conversations.services.pages import list_page, page_query
from llama_conversations.services.responses.background import BackgroundJobs
from llama_conversations.services.responses.checks import check_request, check_wire
from llama_conversations.services.responses.connection import Connection
from llama_conversations.services.responses.context import ContextReader, stored_items
from llama_conversations.services.responses.engine import RunningTurn
from llama_conversations.services.responses.following import follow
from llama_conversations.services.responses.leases import LeaseKeeper
from llama_conversations.services.responses.measures import Measures
from llama_conversations.services.responses.runner import TurnRunner
from llama_conversations.services.responses.secrets import SharedSealer
from llama_conversations.services.responses.snapshot import head_with_status
from llama_conversations.services.responses.surroundings import Surroundings
from llama_conversations.services.responses.turn import Turn
from llama_conversations.services.tools import ToolServers
from llama_conversations.storage.effects import unless_cut_off
from llama_conversations.storage.news import CANCELS, News
from llama_conversations.storage.records import TERMINAL, ItemRecord, Job, now_us
from llama_conversations.storage.stores import ConversationStore, JobStore, PromptStore, ResponseStore, SecretStore
from llama_conversations.wire.answers import EventStream, Json
from llama_conversations.wire.conversations import ItemList
from llama_conversations.wire.include import Include
from llama_conversations.wire.responses import (
    CompactContext,
    CompactedContext,
    CountTokens,
    CreateResponse,
    Response,
    ResponseDeleted,
    ResponseList,
    TokenCounts,
)

CANCEL_POLL_SECONDS = 0.05
CANCEL_POLLS = 40
"""How often, and how many times, a cancelled response is looked at before it is shown as it is."""


@dataclass(frozen=True)
class TurnSettings:
    """How turns are run; times in seconds.

    Attributes:
        lease_seconds: How long a turn's lease lasts unless it is renewed.
        sweep_seconds: How often turns of dead processes are looked for.
        drain_seconds: How long running turns may take at shutdown.
        max_turns: Turns at a time.
        max_background: Of these, turns in the background.
        max_queued: Background turns that may wait, of all processes.
    """

    lease_seconds: float = 30
    sweep_seconds: float = 10
    drain_seconds: float = 25
    max_turns: int = 1000
    max_background: int = 64
    max_queued: int = 10_000


@dataclass(frozen=True)
class TurnStores:
    """The stores that turns work on, and its news; one database, so that a turn commits as one."""

    conversations: ConversationStore
    responses: ResponseStore
    jobs: JobStore
    prompts: PromptStore
    secrets: SecretStore
    news: News


class ResponsesServiceImpl(Responses):
    """Responses: each a turn that is claimed, run and committed as one."""

    def __init__(
        self,
        stores: TurnStores,
        models: ModelRouter,
        tool_servers: ToolServers,
        settings: TurnSettings,
    ) -> None:
        responses = stores.responses
        self._conversations, self._responses, self._jobs = stores.conversations, responses, stores.jobs
        self._news = stores.news
        self._models, self._tool_servers = models, tool_servers
        self._context = ContextReader(stores.conversations, responses)
        self._sealer = SharedSealer(stores.secrets)
        self._around = Surroundings(
            responses, stores.jobs, self._context, stores.prompts, tool_servers, self._sealer, stores.news
        )
        self._measures = Measures(self._around, models)
        self._drain_seconds = settings.drain_seconds
        self._runner = TurnRunner(settings.max_turns)
        self._leases = LeaseKeeper(responses, self._runner.response_ids, settings.lease_seconds, settings.sweep_seconds)
        self._background = BackgroundJobs(
            self._around, self._runner, self._turn_of, settings.max_background, settings.max_queued
        )

    async def initialize(self) -> None:
        """Mend what a crash left, and start to keep leases."""
        await self._sealer.initialize()
        await self._leases.start()
        await self._background.start()

    @property
    def is_draining(self) -> bool:
        """Whether no new turns are taken."""
        return self._runner.is_closed

    async def mend(self) -> None:
        """End the turns of a process that has just died, without waiting for the next sweep."""
        await self._leases.sweep()

    async def drain(self, *, at_once: bool = False) -> None:
        """Take no new turns; let running ones end, as far as time allows, or stop them ``at_once``.

        Those that are stopped have failed, but for those in the background: they are queued again.
        """
        self._runner.close()
        await self._background.stop()
        self._background.give_back()
        await self._runner.drain(0 if at_once else self._drain_seconds)

    async def shutdown(self) -> None:
        """Let running turns end, as far as time allows; those in the background are queued again."""
        await self.drain()
        await self._leases.stop()

    async def create_response(self, request: CreateResponse) -> Json[Response] | EventStream:
        """See ``Responses``."""
        check_request(request, self._tool_servers)
        self._runner.admit()
        turn = await self._turn(request)
        if request.background:
            return await self._create_in_background(turn)
        running = RunningTurn(turn, self._around)
        if request.stream:
            return EventStream(self._runner.stream(running))
        return Json(Response, await self._runner.run(running))

    def connect(self) -> Channel:
        """See ``Responses``."""
        return Connection(self._begin, self._runner)

    async def _begin(
        self, request: CreateResponse, remembered: Sequence[ItemRecord] | None, *, generate: bool
    ) -> RunningTurn:
        check_request(request, self._tool_servers)
        self._runner.admit()
        turn = await self._turn(request, remembered)
        return RunningTurn(replace(turn, generate=generate), self._around)

    async def _create_in_background(self, turn: Turn) -> Json[Response] | EventStream:
        await RunningTurn(turn, self._around).check_context()
        body = await unless_cut_off(self._background.enqueue(turn))
        if turn.request.stream:
            return EventStream(self._background.from_its_beginning(turn, body))
        return Json(Response, body)

    async def list_responses(
        self,
        *,
        limit: int = 20,
        order: Order = "desc",
        after: str | None = None,
        before: str | None = None,
        model: str | None = None,
    ) -> Json[ResponseList]:
        """See ``Responses``. Errors: ``CursorNotFound``, ``MutuallyExclusiveParameters``."""
        page = await self._responses.list(current_scope(), page_query(limit, order, after, before), model)
        return list_page(ResponseList, [r.id for r in page.entries], [r.body for r in page.entries], page.has_more)

    async def get_response(
        self,
        response_id: str,
        *,
        include: list[Include] | None = None,  # noqa: ARG002  (what was generated is shown whole)
        stream: bool | None = None,
        starting_after: int | None = None,
        include_obfuscation: bool | None = None,  # noqa: ARG002  (what was streamed is replayed as it was)
    ) -> Json[Response] | EventStream:
        """See ``Responses``. Errors: ``ResponseNotFound``, ``InvalidParameter``."""
        if stream:
            after = -1 if starting_after is None else starting_after
            return EventStream(follow(self._jobs, self._news, current_scope(), response_id, after))
        if starting_after is not None:
            raise InvalidParameter("'starting_after' is only allowed with 'stream=true'.", param="starting_after")
        response = await self._responses.get(current_scope(), response_id)
        return Json(Response, response.body.encode())

    async def count_input_tokens(self, request: CountTokens) -> Json[TokenCounts]:
        """See ``Responses``."""
        return await self._measures.count(current_scope(), request)

    async def compact_context(self, request: CompactContext) -> Json[CompactedContext]:
        """See ``Responses``."""
        return await self._measures.compact(current_scope(), request)

    async def cancel_response(self, response_id: str) -> Json[Response]:
        """See ``Responses``. Errors: ``ResponseNotFound``, ``NotInBackground``."""
        scope = current_scope()
        response = await self._jobs.request_cancel(scope, response_id, lambda head: head_with_status(head, "cancelled"))
        self._background.cancel(response_id)
        self._news.announce(response_id if response.status in TERMINAL else CANCELS)
        for _ in range(CANCEL_POLLS):
            if response.status in TERMINAL:
                break
            await asyncio.sleep(CANCEL_POLL_SECONDS)
            response = await self._responses.get(scope, response_id)
        return Json(Response, response.body.encode())

    async def delete_response(self, response_id: str) -> Json[ResponseDeleted]:
        """See ``Responses``. Errors: ``ResponseNotFound``."""
        await self._responses.delete(current_scope(), response_id)
        return Json.whole(ResponseDeleted(id=response_id))

    async def list_input_items(
        self,
        response_id: str,
        *,
        limit: int = 20,
        order: Order = "desc",
        after: str | None = None,
        include: list[Include] | None = None,
    ) -> Json[ItemList]:
        """See ``Responses``. Errors: ``ResponseNotFound``, ``CursorNotFound``."""
        items = list(await self._context.of_input(current_scope(), response_id))
        if order == "desc":
            items.reverse()
        start = _start(items, after)
        return item_page(items[start : start + limit], include, has_more=start + limit < len(items))

    async def _turn(self, request: CreateResponse, remembered: Sequence[ItemRecord] | None = None) -> Turn:
        scope = current_scope()
        model = await (self._route(scope, request) if remembered is None else self._models.route(request.model))
        check_wire(request, model.inference.wire_api, self._tool_servers.searches)
        belongs_to = request.conversation_id or request.previous_response_id
        partition = partition_of(belongs_to) if belongs_to else new_partition()
        own = await self._context.input(scope, request, partition)
        await self._tool_servers.admit(request.tools or ())
        return Turn(
            response_id=new_id(RESPONSE_PREFIX, partition),
            partition=partition,
            created_at=now_us(),
            scope=scope,
            request=request,
            model=model,
            input=own,
            remembered=remembered,
        )

    async def _turn_of(self, job: Job) -> Turn:
        """The turn of a job that was queued, maybe by another process."""
        response, request = job.response, self._sealer.unseal_request(job.request)
        return Turn(
            response_id=response.id,
            partition=partition_of(response.id),
            created_at=response.created_at,
            scope=job.scope,
            request=request,
            model=await self._models.route(request.model),
            input=[item._replace(client_id=True) for item in stored_items(response.input)],
        )

    async def _route(self, scope: AccessScope, request: CreateResponse) -> RoutedModel:
        """The model's provider. An unknown model is told last: first whether what the turn continues exists."""
        try:
            return await self._models.route(request.model)
        except ModelNotFound:
            if request.conversation_id is not None:
                await self._conversations.get(scope, request.conversation_id)
            elif request.previous_response_id is not None:
                await self._responses.chain(scope, request.previous_response_id)
            raise


def _start(items: Sequence[ItemRecord], after: str | None) -> int:
    """Where a page begins. Errors: ``CursorNotFound``."""
    if after is None:
        return 0
    for index, item in enumerate(items):
        if item.id == after:
            return index + 1
    raise CursorNotFound("after", after)
