"""One turn, from the claim to the last event: a generator that commits before it says that something is done."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from enum import Enum, auto

import orjson

from llama_conversations.errors import StackError, TurnLost, UpstreamRejected
from llama_conversations.log import get_logger
from llama_conversations.services.items import masked
from llama_conversations.services.responses.context import ABOVE_ALL
from llama_conversations.services.responses.failures import failure_of
from llama_conversations.services.responses.history import Context
from llama_conversations.services.responses.model_rounds import ModelRounds
from llama_conversations.services.responses.output import Output
from llama_conversations.services.responses.snapshot import (
    IN_PROGRESS,
    Outcome,
    new_response,
    response_body,
    response_head,
    terminal_event,
)
from llama_conversations.services.responses.surroundings import Surroundings
from llama_conversations.services.responses.tasks import uninterrupted
from llama_conversations.services.responses.toolbox import Toolbox
from llama_conversations.services.responses.turn import Turn
from llama_conversations.storage.records import (
    EventRecord,
    ItemRecord,
    ResponseStatus,
    TurnClaim,
    TurnCommit,
)
from llama_conversations.wire.events import ErrorEvent, Event, ResponseEvent
from llama_conversations.wire.responses import IncompleteDetails, ResponseError

logger = get_logger(__name__)

_STOPPED = ResponseError(code="server_error", message="The turn was stopped before the model had finished.")


class Stage(Enum):
    """How far a turn has come, as the store knows it."""

    NEW = auto()
    CLAIMED = auto()
    """Leased, and stored as in progress; the caller has been told nothing."""
    SHOWN = auto()
    """The caller knows the response's id."""
    ENDED = auto()


class RunningTurn:
    """A turn on its way.

    Attributes:
        body: The terminal response object, as it is served, once there is one.
        last_event: The event that tells it, from then on.
        error: What made the turn fail, if it did.
        context: All items of a turn that has ended well: the history, its input, its output. Empty for any other.
    """

    def __init__(self, turn: Turn, around: Surroundings) -> None:
        self.turn = turn
        self.body = b""
        self.last_event: ResponseEvent | None = None
        self.error: Exception | None = None
        self.context: Sequence[ItemRecord] = ()
        self._around, self._responses = around, around.responses
        self._rounds = ModelRounds(turn, around)
        self._begun = response_head(turn, IN_PROGRESS)
        self._stage = Stage.NEW
        self._stopped = Outcome("failed", error=_STOPPED)
        self._status: ResponseStatus = "in_progress"

    @property
    def ended_well(self) -> bool:
        """Whether the turn is stored as completed or incomplete: from then on nothing can stop it."""
        return self._status in ("completed", "incomplete")

    def cancel(self) -> None:
        """What stops the turn from now on is its cancellation."""
        self._stopped = Outcome("cancelled")

    async def events(self) -> AsyncGenerator[Event, None]:
        """The turn's events; the last is ``response.completed``, ``.incomplete`` or ``.failed``, and is stored by then.

        Errors before the first event: of the claim and of the context; nothing is left behind. Whatever goes wrong
        later is told by events. Closing the generator early (or cancelling its task) ends the turn as failed.
        """
        try:
            async with self._new_toolbox() as toolbox:
                context = await self._begin(toolbox)
                self._stage = Stage.SHOWN
                begun = response_body(self._begun, IN_PROGRESS)
                yield ResponseEvent("response.created", begun)
                yield ResponseEvent("response.in_progress", begun)
                async with aclosing(self._to_its_end(self._work(context, toolbox))) as events:
                    async for event in events:
                        yield event
        finally:
            await self._clean_up()

    async def check_context(self) -> None:
        """Refuse, before the turn is queued, what could not be sent to the model. Errors: of the context."""
        async with self._new_toolbox() as toolbox:
            await self._rounds.read_context(toolbox, ABOVE_ALL)

    def _new_toolbox(self) -> Toolbox:
        request = self.turn.request
        return Toolbox(request.tools or (), self._around.tool_servers, request.include or ())

    async def _begin(self, toolbox: Toolbox) -> Context:
        """Claim the turn and read its context; what could not be sent to the model is refused now."""
        turn = self.turn
        response = new_response(turn, IN_PROGRESS, self._begun) if turn.stored else None
        reaches = None
        if turn.leaves_trace:
            self._stage = Stage.CLAIMED
            claim = TurnClaim(turn.response_id, turn.conversation_id, response, told=bool(turn.request.stream))
            reaches = await uninterrupted(self._responses.claim(turn.scope, claim))
        return await self._rounds.read_context(toolbox, reaches)

    async def _work(self, context: Context, toolbox: Toolbox) -> AsyncGenerator[Event, None]:
        """Let the model and the tools work, and commit what came of it."""
        turn = self.turn
        output = self._rounds.new_output(context, toolbox)
        async with aclosing(self._rounds.events(context, toolbox, output)) as events:
            async for event in events:
                yield event
        outcome = _outcome(output)
        items = [
            _record(str(item["id"]), str(item["type"]), text)
            for item, text in zip(output.items, outcome.output, strict=True)
        ]
        await self._commit(outcome, [*turn.input, *items])
        self.context = [*self._rounds.history.records, *turn.input, *items]

    async def _to_its_end(self, work: AsyncGenerator[Event, None]) -> AsyncGenerator[Event, None]:
        """The events of the work, and the terminal one: what goes wrong is told, never raised."""
        try:
            async with aclosing(work) as events:
                async for event in events:
                    yield event
        except Exception as error:
            if not isinstance(error, StackError):
                logger.exception("turn %s failed", self.turn.response_id)
            self.error = error
            self._stopped = Outcome("failed", error=_response_error(error))
            yield _error_event(error)
            await self._stop()
        if self.last_event is not None:  # there is one, now that the turn has ended
            yield self.last_event

    async def _stop(self) -> None:
        """Store that the turn was stopped, and why. If even that fails, the lease runs out and the sweep does it."""
        try:
            await self._commit(self._stopped, ())
        except Exception as error:
            if isinstance(error, TurnLost):  # it was deleted, or another process has ended it: nothing is to be mended
                logger.warning("%s", error)
            elif isinstance(error, StackError):
                logger.error("the end of %s could not be stored: %s", self.turn.response_id, error)  # noqa: TRY400
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
            await uninterrupted(self._store(commit, outcome))
        else:
            self._ended(outcome, head)

    async def _store(self, commit: TurnCommit, outcome: Outcome) -> None:
        reaches = await self._responses.commit(self.turn.scope, commit)
        self._ended(outcome, commit.head)  # at once: a turn that is cancelled now has ended all the same
        history, previous = self._rounds.history, self.turn.request.previous_response_id
        if reaches is not None and commit.conversation_id is not None:
            self._around.context.appended(commit.conversation_id, history, commit.items, reaches)
        elif previous is not None and commit.stored and self.ended_well:
            self._around.context.chained(commit.response_id, previous, history, commit.items)

    def _ended(self, outcome: Outcome, head: str) -> None:
        self._stage = Stage.ENDED
        self._status, self.body = outcome.status, response_body(head, outcome)
        self.last_event = ResponseEvent(terminal_event(outcome.status), self.body)

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
