"""Operations answered as the mode says: by the provider, by the provider and kept, or by what was kept."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing

from llama_conversations.config.run_config import RecordingMode
from llama_conversations.errors import RecordingMissing, RecordingUnreadable, UpstreamError
from llama_conversations.stack.recording.answers import Answer, Failure
from llama_conversations.stack.recording.difference import difference_to_nearest
from llama_conversations.stack.recording.folder import NotARecording, Recording, RecordingFolder
from llama_conversations.stack.recording.normal_form import NormalRequest, normal_request

Ask = Callable[[], Awaitable[bytes]]
AskForStream = Callable[[], AsyncGenerator[bytes, None]]

_NO_REQUEST = b"{}"


class Playback:
    """Answers in the order in which they were asked for; the last one again and again."""

    def __init__(self, answers: Sequence[Answer]) -> None:
        self._answers = answers
        self._played = 0

    def next(self) -> Answer:
        """The answer to the next who asks."""
        answer = self._answers[min(self._played, len(self._answers) - 1)]
        self._played += 1
        return answer


class Take:
    """Records one request: each answer is written when it is whole, in the order in which they were asked for.

    The first that is written takes the place of what an earlier run recorded.
    """

    def __init__(self, folder: RecordingFolder, name: str, operation: str, request: NormalRequest) -> None:
        self._folder, self._name, self._operation, self._form = folder, name, operation, request.form
        self._answers: list[Answer | None] = []

    def begin(self) -> int:
        """Keep a place for an answer that is on its way. One that never comes leaves no gap."""
        self._answers.append(None)
        return len(self._answers) - 1

    def keep(self, place: int, answer: Answer) -> None:
        """Write an answer. Errors: ``OSError``."""
        self._answers[place] = answer
        self._write([kept for kept in self._answers if kept is not None])

    def keep_alone(self, answer: Answer) -> None:
        """Write an answer, and none but it. Errors: ``OSError``."""
        self._write([answer])

    def _write(self, answers: Sequence[Answer]) -> None:
        self._folder.write(self._name, Recording(self._operation, self._form, answers))


class Recorder:
    """One provider's operations. What is asked first decides for a run: a request is replayed throughout, or recorded.

    So requests that are the same may run at the same time, and ``record-if-missing`` is ``record`` in an empty folder
    and ``replay`` in a full one.

    Args:
        mode: Any but ``live``.
    """

    def __init__(self, provider_id: str, mode: RecordingMode, folder: RecordingFolder) -> None:
        self._provider_id, self._folder = provider_id, folder
        self._replays, self.asks = mode != "record", mode != "replay"
        self._requests: dict[str, Playback | Take] = {}

    async def answer(self, operation: str, request: bytes, ask: Ask) -> bytes:
        """The answer to a request.

        Args:
            operation: Its name; files are called by it.
            request: JSON.
            ask: Asks the provider.

        Errors: ``UpstreamError``, the provider's own or a recorded one; ``RecordingMissing``, ``RecordingUnreadable``.
        """
        found = await self._open(operation, normal_request(request))
        if isinstance(found, Playback):
            return self._sole_chunk(found.next())
        place = found.begin()
        try:
            body = await ask()
        except UpstreamError as error:
            self._keep_failure(found, place, (), error)
            raise
        found.keep(place, Answer((body,)))
        return body

    async def stream(self, operation: str, request: bytes, ask: AskForStream) -> AsyncGenerator[bytes, None]:
        """The chunks that answer a request; args and errors as of ``answer``. A stream that is left is not recorded."""
        found = await self._open(operation, normal_request(request))
        if isinstance(found, Playback):
            answer = found.next()
            for chunk in answer.chunks:
                await asyncio.sleep(0)  # as a network would: others get their turn between two chunks
                yield chunk
            if answer.failure is not None:
                raise answer.failure.raised_by(self._provider_id)
            return
        place = found.begin()
        chunks: list[bytes] = []
        try:
            async with aclosing(ask()) as asked:
                async for chunk in asked:
                    chunks.append(chunk)
                    yield chunk
        except UpstreamError as error:
            self._keep_failure(found, place, chunks, error)
            raise
        found.keep(place, Answer(chunks))

    async def newest(self, operation: str, ask: Ask) -> bytes:
        """The answer to what has no request and is asked again and again: the newest good one is recorded.

        Errors: as of ``answer``.
        """
        found = await self._open(operation, normal_request(_NO_REQUEST))
        if isinstance(found, Playback):
            return self._sole_chunk(found.next())
        body = await ask()
        found.keep_alone(Answer((body,)))
        return body

    def _keep_failure(self, take: Take, place: int, chunks: Sequence[bytes], error: UpstreamError) -> None:
        """``record-if-missing`` keeps none of this machine's set-up: it is not what was meant to be recorded."""
        failure = Failure.of(error)
        if not (self._replays and failure.of_set_up):
            take.keep(place, Answer(chunks, failure))

    async def _open(self, operation: str, request: NormalRequest) -> Playback | Take:
        name = f"{operation}-{request.digest}.json"
        found = self._requests.get(name) or self._begin(name, operation, request)
        if found is None:
            file = str(self._folder.path / name)
            raise RecordingMissing(self._provider_id, operation, file, await self._difference(request))
        self._requests[name] = found
        return found

    def _begin(self, name: str, operation: str, request: NormalRequest) -> Playback | Take | None:
        try:
            recorded = self._folder.read(name) if self._replays else None
        except NotARecording as error:
            raise RecordingUnreadable(self._provider_id, str(self._folder.path / name), str(error)) from error
        if recorded is not None:
            return Playback(recorded.answers)
        return Take(self._folder, name, operation, request) if self.asks else None

    async def _difference(self, request: NormalRequest) -> str:
        """Reads every recording of the provider, so it does that elsewhere. To no request at all, nothing is near."""
        if not request.form:
            return ""
        return await asyncio.to_thread(lambda: difference_to_nearest(request.form, self._folder.all()))

    def _sole_chunk(self, answer: Answer) -> bytes:
        if answer.failure is not None:
            raise answer.failure.raised_by(self._provider_id)
        return b"".join(answer.chunks)
