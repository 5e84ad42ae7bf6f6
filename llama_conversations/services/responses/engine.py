"""One turn, from the claim to the last event: a generator that commits before it says that something is done."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from enum import Enum, auto
from functools import partial

import orjson

from llama_conversations.errors import StackError, TurnLost, UpstreamRejected
from llama_conversations.log import get_logger
from llama_conversations.services.items import masked
from llama_conversations.services.responses.chat_messages import after_compaction
from llama_conversations.services.responses.chat_wire import ChatWire
from llama_conversations.services.responses.context import ABOVE_ALL, ContextReader, read_prompt
from llama_conversations.services.responses.context_window import (
    compaction_threshold,
    count_tokens,
    split_for_compaction,
    summarize,
    truncated,
)
from llama_conversations.services.responses.failures import failure_of
from llama_conversations.services.responses.history import NO_HISTORY, Context, read_items
from llama_conversations.services.responses.journal import EventJournal
from llama_conversations.services.responses.model_wire import ModelWire, write_request
from llama_conversations.services.responses.output import Output
from llama_conversations.services.responses.output_items import CompactionItem, ReasoningItem
from llama_conversations.services.responses.responses_wire import ResponsesWire
from llama_conversations.services.responses.secrets import COMPACTION, REASONING, SharedSealer
from llama_conversations.services.responses.snapshot import IN_PROGRESS, QUEUED, Outcome, response_body, response_head
from llama_conversations.services.responses.tasks import uninterrupted
from llama_conversations.services.responses.toolbox import Toolbox
from llama_conversations.services.responses.turn import Turn
from llama_conversations.services.tools import ToolServers
from llama_conversations.storage.records import (
    EventRecord,
    HistoryMark,
    ItemRecord,
    ResponseRecord,
    ResponseStatus,
    TurnClaim,
    TurnCommit,
)
from llama_conversations.storage.stores import JobStore, PromptStore, ResponseStore
from llama_conversations.wire.events import ErrorEvent, Event, ResponseEvent
from llama_conversations.wire.items import INPUT_ITEM, Item
from llama_conversations.wire.responses import IncompleteDetails, ResponseError

logger = get_logger(__name__)

MAX_TOOL_CALLS = 128
"""Calls of the server's own tools in one turn, where the request sets no lower limit."""

_STOPPED = ResponseError(code="server_error", message="The turn was stopped before the model had finished.")


class Stage(Enum):
    """How far a turn has come, as the store knows it."""

    NEW = auto()
    CLAIMED = auto()
    """Leased, and stored as in progress; the caller has been told nothing."""
    SHOWN = auto()
    """The caller knows the response's id."""
    ENDED = auto()


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What turns need of the server around them."""

    responses: ResponseStore
    jobs: JobStore
    context: ContextReader
    prompts: PromptStore
    tool_servers: ToolServers
    sealer: SharedSealer


def model_wire(turn: Turn, around: Surroundings) -> ModelWire:
    """How the turn's model is asked."""
    wire = ResponsesWire if turn.model.inference.wire_api == "responses" else ChatWire
    return wire(turn, around.sealer.unsealer(COMPACTION))


class RunningTurn:
    """A turn on its way.

    Attributes:
        body: The terminal response object, as it is served, once there is one.
        error: What made the turn fail, if it did.
        context: All items of a turn that has ended well: the history, its input, its output. Empty for any other.
    """

    def __init__(self, turn: Turn, around: Surroundings) -> None:
        self.turn = turn
        self.body = b""
        self.error: Exception | None = None
        self.context: Sequence[ItemRecord] = ()
        self._history = NO_HISTORY
        self._begun = response_head(turn, IN_PROGRESS)
        self._first_request = b""
        self._around, self._responses = around, around.responses
        self._wire = model_wire(turn, around)
        self._stage = Stage.NEW
        self._stopped = Outcome("failed", error=_STOPPED)
        self._status: ResponseStatus = "in_progress"

    def cancel(self) -> None:
        """What stops the turn from now on is its cancellation."""
        self._stopped = Outcome("cancelled")

    async def events(self) -> AsyncGenerator[Event, None]:
        """The turn's events; the last is ``response.completed``, ``.incomplete`` or ``.failed``, and is stored by then.

        Errors before the first event: of the claim and of the context; nothing is left behind. Whatever goes wrong
        later is told by events. Closing the generator early (or cancelling its task) ends the turn as failed.
        """
        try:
            async with Toolbox(self.turn.request.tools or (), self._around.tool_servers) as toolbox:
                context = await self._begin(toolbox)
                self._stage = Stage.SHOWN
                begun = response_body(self._begun, IN_PROGRESS)
                yield ResponseEvent("response.created", begun)
                yield ResponseEvent("response.in_progress", begun)
                async for event in _all(self._to_its_end(self._work(context, toolbox))):
                    yield event
        finally:
            await self._clean_up()

    async def check_context(self) -> None:
        """Refuse, before the turn is queued, what could not be sent to the model. Errors: of the context."""
        async with Toolbox(self.turn.request.tools or (), self._around.tool_servers) as toolbox:
            await self._read_context(toolbox, ABOVE_ALL)

    async def _begin(self, toolbox: Toolbox) -> Context:
        """Claim the turn and read its context; what could not be sent to the model is refused now."""
        turn = self.turn
        response = new_response(turn, IN_PROGRESS, self._begun) if turn.stored else None
        reaches = None
        if turn.leaves_trace:
            self._stage = Stage.CLAIMED
            claim = TurnClaim(turn.response_id, turn.conversation_id, response)
            reaches = await uninterrupted(self._responses.claim(turn.scope, claim))
        return await self._read_context(toolbox, reaches)

    async def _read_context(self, toolbox: Toolbox, below: int | HistoryMark | None) -> Context:
        """The items that the model is given, from below a position of the conversation, or from all of it.

        Errors: ``InvalidParameter``, ``UnsupportedParameter`` for a context that could not be sent to the model.
        """
        turn = self.turn
        around, previous = self._around, turn.request.previous_response_id
        reader = around.context
        if turn.conversation_id is not None and below:
            self._history = await reader.of_conversation(turn.scope, turn.conversation_id, below, turn.input)
        elif turn.remembered is not None:
            self._history = reader.of_connection(turn.remembered, turn.input)
        elif previous is not None:
            self._history = await reader.of_chain(turn.scope, previous, turn.input)
        if turn.request.prompt is not None:
            self._wire.prompt = await read_prompt(around.prompts, turn.scope, turn.request.prompt)
        context = Context(self._history, read_items(turn.input))
        self._first_request = await write_request(self._wire, context, toolbox)
        return context

    async def _work(self, context: Context, toolbox: Toolbox) -> AsyncGenerator[Event, None]:
        """Let the model and the tools work, and commit what came of it."""
        turn = self.turn
        output = Output(
            turn.partition,
            turn.model.provider_id,
            toolbox.new_call,
            self._new_reasoning,
            taken_call_ids=context.call_ids,
            taken_ids=context.ids,
        )
        async for event in _all(self._compact(context, toolbox, output), self._rounds(context, toolbox, output)):
            yield event
        outcome = _outcome(output)
        items = [
            _record(str(item["id"]), str(item["type"]), text)
            for item, text in zip(output.items, outcome.output, strict=True)
        ]
        await self._commit(outcome, [*turn.input, *items])
        self.context = [*self._history.records, *turn.input, *items]

    async def _to_its_end(self, work: AsyncGenerator[Event, None]) -> AsyncGenerator[Event, None]:
        """The events of the work, and the terminal one: what goes wrong is told, never raised."""
        try:
            async for event in _all(work):
                yield event
        except Exception as error:
            if not isinstance(error, StackError):
                logger.exception("turn %s failed", self.turn.response_id)
            self.error = error
            self._stopped = Outcome("failed", error=_response_error(error))
            yield _error_event(error)
            await self._stop()
        yield ResponseEvent(terminal_event(self._status), self.body)

    async def _rounds(self, context: Context, toolbox: Toolbox, output: Output) -> AsyncGenerator[Event, None]:
        """The model speaks, the server's tools answer, the model speaks again, until it calls none of them."""
        if not self.turn.generate:
            return
        if toolbox.has_servers:
            async for event in _all(toolbox.list_tools(context, output), toolbox.run_approved(context, output)):
                yield event
        request = self._first_request
        if toolbox.has_servers or output.items or self.turn.request.truncation == "auto":
            request = await self._request(context, toolbox, output)
        left = min(self.turn.request.max_tool_calls or MAX_TOOL_CALLS, MAX_TOOL_CALLS)
        while True:
            async for event in _all(self._round(request, output)):
                yield event
            calls = output.waiting_calls
            if not calls:
                return
            async for event in _all(toolbox.run(calls, left)):
                yield event
            left = max(0, left - len(calls))
            if output.waits_for_client:
                return
            request = await self._request(context, toolbox, output, may_call=left > 0)

    async def _request(self, context: Context, toolbox: Toolbox, output: Output, *, may_call: bool = True) -> bytes:
        """What the model is asked now."""
        now = context.plus(_read(output))
        if self.turn.request.truncation == "auto":
            now = await truncated(self.turn, self._wire, now, toolbox)
        return await write_request(self._wire, now, toolbox, may_call=may_call)

    async def _compact(self, context: Context, toolbox: Toolbox, output: Output) -> AsyncGenerator[Event, None]:
        """Sum up a context that has grown past the threshold of the request, if there is one."""
        threshold = compaction_threshold(self.turn)
        if threshold is None:
            return
        old, _ = split_for_compaction(context)
        if not old:
            return
        if (await count_tokens(self.turn.model, await write_request(self._wire, context, toolbox))).tokens < threshold:
            return
        summary = await summarize(
            self.turn.model, after_compaction(old), self._around.sealer.unsealer(COMPACTION), None
        )
        if summary.usage is not None:
            output.add_usage(summary.usage)
        sealed = self._around.sealer.seal(summary.text, COMPACTION)
        item = output.append(partial(CompactionItem, encrypted_content=sealed), "compaction")
        for event in (*item.open(), *item.close("completed")):
            yield event

    def _new_reasoning(self, item_id: str, index: int) -> ReasoningItem:
        asked, include = self.turn.request.reasoning, self.turn.request.include or ()
        as_summary = asked is not None and (asked.summary or asked.generate_summary) is not None
        seal = (
            partial(self._around.sealer.seal, purpose=REASONING) if "reasoning.encrypted_content" in include else None
        )
        return ReasoningItem(item_id, index, as_summary, seal)

    async def _round(self, request: bytes, output: Output) -> AsyncGenerator[Event, None]:
        """The model speaks once."""
        output.begin_round()
        async with aclosing(self._wire.ask(request)) as deltas:
            async for delta in deltas:
                for event in output.add(delta):
                    yield event
        for event in output.end_round():
            yield event

    async def _stop(self) -> None:
        """Store that the turn was stopped, and why. If even that fails, the lease runs out and the sweep does it."""
        try:
            await self._commit(self._stopped, ())
        except Exception as error:
            if isinstance(error, TurnLost):  # it was deleted, or another process has ended it: nothing is to be mended
                logger.warning("%s", error)
            else:
                logger.exception("the end of %s could not be stored", self.turn.response_id)
            self._ended(self._stopped, response_head(self.turn, self._stopped))

    async def _commit(self, outcome: Outcome, items: Sequence[ItemRecord]) -> None:
        turn, head = self.turn, response_head(self.turn, outcome)
        if turn.leaves_trace:
            commit = TurnCommit(
                response_id=turn.response_id,
                conversation_id=turn.conversation_id,
                stored=turn.stored,
                items=items,
                status=outcome.status,
                head=head,
                output=outcome.output_text,
                events=await self._last_events(),
            )
            await uninterrupted(self._store(commit))
        self._ended(outcome, head)

    async def _store(self, commit: TurnCommit) -> None:
        reaches = await self._responses.commit(self.turn.scope, commit)
        self._stage = Stage.ENDED  # at once: a turn that is cancelled now has ended all the same
        if reaches is not None and commit.conversation_id is not None:
            self._around.context.appended(commit.conversation_id, self._history, commit.items, reaches)

    def _ended(self, outcome: Outcome, head: str) -> None:
        self._stage = Stage.ENDED
        self._status, self.body = outcome.status, response_body(head, outcome)

    async def _last_events(self) -> Sequence[EventRecord]:
        """Events that are to be stored with the end of the turn: none, unless it runs in the background."""
        return ()

    async def _clean_up(self) -> None:
        """However the turn was left: nothing stays in progress, nothing stays locked."""
        if self._stage is Stage.CLAIMED:
            await uninterrupted(
                self._responses.unclaim(self.turn.scope, self.turn.response_id, self.turn.conversation_id)
            )
        elif self._stage is Stage.SHOWN:
            await uninterrupted(self._stop())


class RunningJob(RunningTurn):
    """A turn in the background: claimed when it was queued, and shown to whoever follows its events.

    Args:
        position: Its conversation's next position when it was queued.
        journal: Where its events are kept, if they are.
    """

    def __init__(self, turn: Turn, around: Surroundings, position: int | None, journal: EventJournal | None) -> None:
        super().__init__(turn, around)
        self._position, self._journal = position, journal
        self._stage = Stage.SHOWN
        self._given_back = False

    def give_back(self) -> None:
        """If the turn is stopped from now on, it is queued again."""
        self._given_back = True

    async def events(self) -> AsyncGenerator[Event, None]:
        """The turn's events from ``response.in_progress`` on; whatever goes wrong is told by events."""
        try:
            async with Toolbox(self.turn.request.tools or (), self._around.tool_servers) as toolbox:
                yield ResponseEvent("response.in_progress", response_body(self._begun, IN_PROGRESS))
                async for event in _all(self._to_its_end(self._read_and_work(toolbox))):
                    yield event
        finally:
            await self._clean_up()

    async def _read_and_work(self, toolbox: Toolbox) -> AsyncGenerator[Event, None]:
        context = await self._read_context(toolbox, self._position)
        async for event in _all(self._work(context, toolbox)):
            yield event

    async def _last_events(self) -> Sequence[EventRecord]:
        return () if self._journal is None else await self._journal.last()

    async def _clean_up(self) -> None:
        if self._stage is Stage.SHOWN and self._given_back:
            await self._last_events()
            queued = response_head(self.turn, QUEUED)
            await uninterrupted(self._around.jobs.give_back(self.turn.response_id, queued))
            self._stage = Stage.ENDED
        await super()._clean_up()


def new_response(turn: Turn, outcome: Outcome, head: str) -> ResponseRecord:
    """The response of a turn that has not ended, as it is stored.

    What it continues, where nobody but a connection has that, becomes its own input: it must stand by itself.
    """
    stand_in, previous = turn.remembered, turn.request.previous_response_id
    items = turn.input if stand_in is None else [*stand_in, *turn.input]
    return ResponseRecord(
        id=turn.response_id,
        created_at=turn.created_at,
        status=outcome.status,
        model=turn.model.model_id,
        conversation_id=turn.conversation_id,
        previous_response_id=previous if stand_in is None else None,
        context_position=None,
        input=f"[{','.join(item.data for item in items)}]",
        head=head,
        output=outcome.output_text,
    )


def terminal_event(status: ResponseStatus) -> str:
    """The type of the event that ends a stream; a cancelled response ends as a failed one does (observed)."""
    return f"response.{status}" if status in ("completed", "incomplete") else "response.failed"


def _response_error(error: Exception) -> ResponseError:
    code, message = failure_of(error)
    return ResponseError(code=code, message=message)


def _error_event(error: Exception) -> ErrorEvent:
    code, message = failure_of(error)
    return ErrorEvent(code=code, message=message, param=error.param if isinstance(error, UpstreamRejected) else None)


def _outcome(output: Output) -> Outcome:
    texts = [orjson.dumps(item).decode() for item in output.items]
    reason = output.finished.reason
    if reason == "stop":
        return Outcome("completed", texts, output.usage)
    details = IncompleteDetails(reason="max_output_tokens" if reason == "length" else reason)
    return Outcome("incomplete", texts, output.usage, incomplete=details)


def _record(item_id: str, item_type: str, text: str) -> ItemRecord:
    view = masked(text) if item_type == "message" else text
    return ItemRecord(item_id, item_type, text, None if view == text else view)


async def _all(*generators: AsyncGenerator[Event, None]) -> AsyncGenerator[Event, None]:
    """The events of several steps, one after the other; each is closed when it is left early."""
    for generator in generators:
        async with aclosing(generator) as events:
            async for event in events:
                yield event


def _read(output: Output) -> Sequence[Item]:
    """What a turn has brought forth so far, as items of its own context."""
    items = (INPUT_ITEM.validate_python(item) for item in output.items)
    return [item for item in items if isinstance(item, Item)]
