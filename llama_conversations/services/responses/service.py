"""The Responses API, implemented over stores and models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from llama_conversations.access import AccessScope, current_scope
from llama_conversations.apis.conversations import Order
from llama_conversations.apis.responses import Responses
from llama_conversations.errors import CursorNotFound, ModelNotFound, UnsupportedParameter
from llama_conversations.ids import RESPONSE_PREFIX, new_id, new_partition, partition_of
from llama_conversations.services.conversations import item_page
from llama_conversations.services.models import ModelRouter, RoutedModel
from llama_conversations.services.pages import list_page, page_query
from llama_conversations.services.responses.checks import check_request
from llama_conversations.services.responses.context import ContextReader
from llama_conversations.services.responses.engine import RunningTurn
from llama_conversations.services.responses.leases import LeaseKeeper
from llama_conversations.services.responses.runner import TurnRunner
from llama_conversations.services.responses.turn import Turn
from llama_conversations.storage.records import ItemRecord, now_us
from llama_conversations.storage.stores import ConversationStore, ResponseStore
from llama_conversations.wire.answers import EventStream, Json
from llama_conversations.wire.conversations import ItemList
from llama_conversations.wire.include import Include
from llama_conversations.wire.responses import CreateResponse, Response, ResponseDeleted, ResponseList


@dataclass(frozen=True)
class TurnSettings:
    """How turns are run; times in seconds.

    Attributes:
        lease_seconds: How long a turn's lease lasts unless it is renewed.
        sweep_seconds: How often turns of dead processes are looked for.
        drain_seconds: How long running turns may take at shutdown.
        max_turns: Turns at a time.
    """

    lease_seconds: float = 30
    sweep_seconds: float = 10
    drain_seconds: float = 25
    max_turns: int = 1000


class ResponsesServiceImpl(Responses):
    """Responses: each a turn that is claimed, run and committed as one."""

    def __init__(
        self,
        conversations: ConversationStore,
        responses: ResponseStore,
        models: ModelRouter,
        settings: TurnSettings,
    ) -> None:
        self._conversations, self._responses, self._models = conversations, responses, models
        self._context = ContextReader(conversations, responses)
        self._drain_seconds = settings.drain_seconds
        self._runner = TurnRunner(settings.max_turns)
        self._leases = LeaseKeeper(responses, self._runner.response_ids, settings.lease_seconds, settings.sweep_seconds)

    async def initialize(self) -> None:
        """Mend what a crash left, and start to keep leases."""
        await self._leases.start()

    async def drain(self, *, at_once: bool = False) -> None:
        """Take no new turns; let running ones end, as far as time allows, or end them as failed ``at_once``."""
        await self._runner.drain(0 if at_once else self._drain_seconds)

    async def shutdown(self) -> None:
        """Let running turns end, as far as time allows."""
        await self.drain()
        await self._leases.stop()

    async def create_response(self, request: CreateResponse) -> Json[Response] | EventStream:
        """See ``Responses``."""
        check_request(request)
        self._runner.admit()
        running = RunningTurn(await self._turn(request), self._responses, self._context)
        if request.stream:
            return EventStream(self._runner.stream(running))
        return Json(Response, await self._runner.run(running))

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
    ) -> Json[Response]:
        """See ``Responses``. Errors: ``ResponseNotFound``."""
        if stream:
            raise UnsupportedParameter("stream")
        response = await self._responses.get(current_scope(), response_id)
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

    async def _turn(self, request: CreateResponse) -> Turn:
        scope = current_scope()
        model = await self._route(scope, request)
        belongs_to = request.conversation_id or request.previous_response_id
        partition = partition_of(belongs_to) if belongs_to else new_partition()
        return Turn(
            response_id=new_id(RESPONSE_PREFIX, partition),
            partition=partition,
            created_at=now_us(),
            scope=scope,
            request=request,
            model=model,
            input=await self._context.input(scope, request, partition),
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
