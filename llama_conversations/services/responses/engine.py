"""One turn, from the claim to the last event: a generator that commits before it says that something is done."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from enum import Enum, auto

import orjson

from llama_conversations.errors import StackError, UpstreamRejected
from llama_conversations.log import get_logger
from llama_conversations.services.items import masked
from llama_conversations.services.responses.chat_deltas import Delta, read_chunk, read_completion
from llama_conversations.services.responses.chat_messages import chat_messages
from llama_conversations.services.responses.chat_request import chat_request
from llama_conversations.services.responses.context import ContextReader, read_items
from llama_conversations.services.responses.failures import failure_of
from llama_conversations.services.responses.output import Output
from llama_conversations.services.responses.snapshot import IN_PROGRESS, Outcome, response_body, response_head
from llama_conversations.services.responses.tasks import uninterrupted
from llama_conversations.services.responses.turn import Turn
from llama_conversations.storage.records import ItemRecord, ResponseRecord, TurnClaim, TurnCommit
from llama_conversations.storage.stores import ResponseStore
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
        error: What made the turn fail, if it did.
    """

    def __init__(self, turn: Turn, responses: ResponseStore, context: ContextReader) -> None:
        self.turn = turn
        self.body = b""
        self.error: Exception | None = None
        self._responses, self._context = responses, context
        self._stage = Stage.NEW

    async def events(self) -> AsyncGenerator[Event, None]:
        """The turn's events; the last is ``response.completed``, ``.incomplete`` or ``.failed``, and is stored by then.

        Errors before the first event: of the claim and of the context; nothing is left behind. Whatever goes wrong
        later is told by events. Closing the generator early (or cancelling its task) ends the turn as failed.
        """
        try:
            request = await self._begin()
            self._stage = Stage.SHOWN
            begun = response_body(response_head(self.turn, IN_PROGRESS), IN_PROGRESS)
            yield ResponseEvent("response.created", begun)
            yield ResponseEvent("response.in_progress", begun)
            async with aclosing(self._generate(request)) as events:
                async for event in events:
                    yield event
        finally:
            await self._clean_up()

    async def _begin(self) -> bytes:
        """Claim the turn, read its context, and write the model's request."""
        turn = self.turn
        claim = TurnClaim(turn.response_id, turn.conversation_id, self._new_response() if turn.stored else None)
        position = None
        if turn.leaves_trace:
            self._stage = Stage.CLAIMED
            position = await uninterrupted(self._responses.claim(turn.scope, claim))
        history: Sequence[ItemRecord] = ()
        if turn.conversation_id is not None and position:
            history = await self._context.of_conversation(turn.scope, turn.conversation_id, position, turn.input)
        elif turn.request.previous_response_id is not None:
            history = await self._context.of_chain(turn.scope, turn.request.previous_response_id, turn.input)
        messages = chat_messages(turn.request.instructions, read_items([*history, *turn.input]))
        return chat_request(turn, messages)

    async def _generate(self, request: bytes) -> AsyncGenerator[Event, None]:
        """Ask the model, show what it says, commit, and show the end."""
        turn = self.turn
        output = Output(turn.partition, turn.model.provider_id, reasoning_as_summary=_wants_summary(turn))
        try:
            async with aclosing(self._deltas(request)) as deltas:
                async for delta in deltas:
                    for event in output.add(delta):
                        yield event
            for event in output.close():
                yield event
            outcome = await self._end(_outcome(output), output)
        except Exception as error:
            if not isinstance(error, StackError):
                logger.exception("turn %s failed", turn.response_id)
            self.error = error
            outcome = await self._fail(_response_error(error))
            yield _error_event(error)
        yield ResponseEvent(f"response.{outcome.status}", self.body)

    async def _deltas(self, request: bytes) -> AsyncGenerator[Delta, None]:
        model = self.turn.model
        if not self.turn.request.stream:
            for delta in read_completion(model.provider_id, await model.inference.chat_completion(request)):
                yield delta
            return
        async with aclosing(model.inference.stream_chat_completion(request)) as chunks:
            async for chunk in chunks:
                for delta in read_chunk(model.provider_id, chunk):
                    yield delta

    async def _end(self, outcome: Outcome, output: Output) -> Outcome:
        items = [
            _record(str(item["id"]), str(item["type"]), text)
            for item, text in zip(output.items, outcome.output, strict=True)
        ]
        await self._commit(outcome, [*self.turn.input, *items])
        return outcome

    async def _fail(self, error: ResponseError) -> Outcome:
        """Store a failure. If even that fails, the lease runs out and the sweep does it."""
        outcome = Outcome("failed", error=error)
        try:
            await self._commit(outcome, ())
        except Exception:
            logger.exception("the failure of %s could not be stored", self.turn.response_id)
            self._stage = Stage.ENDED
            self.body = response_body(response_head(self.turn, outcome), outcome)
        return outcome

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
            )
            await uninterrupted(self._store(commit))
        self._stage = Stage.ENDED
        self.body = response_body(head, outcome)

    async def _store(self, commit: TurnCommit) -> None:
        await self._responses.commit(self.turn.scope, commit)
        self._stage = Stage.ENDED  # at once: a turn that is cancelled now has ended all the same

    async def _clean_up(self) -> None:
        """However the turn was left: nothing stays in progress, nothing stays locked."""
        if self._stage is Stage.CLAIMED:
            await uninterrupted(
                self._responses.unclaim(self.turn.scope, self.turn.response_id, self.turn.conversation_id)
            )
        elif self._stage is Stage.SHOWN:
            await uninterrupted(self._fail(_STOPPED))

    def _new_response(self) -> ResponseRecord:
        turn = self.turn
        return ResponseRecord(
            id=turn.response_id,
            created_at=turn.created_at,
            status="in_progress",
            model=turn.model.model_id,
            conversation_id=turn.conversation_id,
            previous_response_id=turn.request.previous_response_id,
            context_position=None,
            input=f"[{','.join(item.data for item in turn.input)}]",
            head=response_head(turn, IN_PROGRESS),
            output=IN_PROGRESS.output_text,
        )


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


def _wants_summary(turn: Turn) -> bool:
    asked = turn.request.reasoning
    return asked is not None and (asked.summary or asked.generate_summary) is not None
