"""Follow a background response from anywhere: what is kept is replayed, then what comes is shown as it comes."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from llama_conversations.access import AccessScope
from llama_conversations.errors import InvalidParameter
from llama_conversations.services.responses.snapshot import terminal_event
from llama_conversations.storage.news import News
from llama_conversations.storage.records import TERMINAL, ResponseRecord
from llama_conversations.storage.stores import JobStore
from llama_conversations.wire.events import ErrorEvent, EventWriter, ResponseEvent

POLL_SECONDS = 0.2
"""How often the database is asked for events: once for many, since they are stored in batches."""

HEARING_POLL_SECONDS = 2.0
"""How often it is asked where those that other processes store are announced: not all that ends is."""

_RESTARTED = ErrorEvent(
    code="response_restarted",
    message="The server that ran this response was stopped, and it has begun anew: what was streamed of it is void. "
    "Ask for its events again from the start.",
)


async def follow(
    jobs: JobStore, news: News, scope: AccessScope, response_id: str, after: int
) -> AsyncGenerator[bytes, None]:
    """The events behind a sequence number as server-sent events, until the terminal one; none, if that was the number.

    Who has seen events of a run that was given up (its server was stopped) gets an ``error`` event, and no more.

    Errors before the first frame: ``ResponseNotFound``; ``InvalidParameter`` for a response whose events are not kept.
    """
    asked = after
    with news.bell(response_id) as bell:
        while True:
            job, events = await jobs.events(scope, response_id, after)
            if not job.streamed:
                raise InvalidParameter(
                    "This response cannot be streamed because it was not created with background=true and stream=true.",
                    param="stream",
                    code=None,
                )
            if job.is_void(after):
                yield EventWriter(after + 1).frame(_RESTARTED)
                return
            if events:
                after = events[-1].sequence_number
                yield "".join(event.frame for event in events).encode()
            elif job.response.status in TERMINAL:
                if after == asked and not await _is_kept(jobs, scope, response_id, after):
                    return  # the caller has seen the terminal event
                yield _terminal(job.response, max(after + 1, job.first_event))
                return
            else:
                await bell.wait(HEARING_POLL_SECONDS if news.is_heard else POLL_SECONDS)


def _terminal(response: ResponseRecord, number: int) -> bytes:
    """The last event, made from the response itself."""
    return EventWriter(number).frame(ResponseEvent(terminal_event(response.status), response.body.encode()))


async def _is_kept(jobs: JobStore, scope: AccessScope, response_id: str, number: int) -> bool:
    """Whether an event is among those that are kept: all but the terminal one. What comes before the first counts."""
    if number < 0:
        return True
    _, events = await jobs.events(scope, response_id, number - 1)
    return bool(events)
