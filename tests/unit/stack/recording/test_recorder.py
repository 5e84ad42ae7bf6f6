"""Operations in each mode: what is asked, what is kept, what is replayed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path

import pytest

from llama_conversations.config.run_config import RecordingMode
from llama_conversations.errors import (
    RecordingMissing,
    RecordingUnreadable,
    UpstreamDenied,
    UpstreamDisconnected,
    UpstreamError,
    UpstreamFailed,
    UpstreamRateLimited,
    UpstreamUnreachable,
)
from llama_conversations.stack.recording.folder import RecordingFolder
from llama_conversations.stack.recording.recorder import Recorder

ONE, OTHER = b'{"messages":["one"],"model":"m"}', b'{"messages":["other"],"model":"m"}'


class Upstream:
    """Answers with numbers, fails where it is told to, and waits where a gate is shut."""

    def __init__(self) -> None:
        self.asked = 0
        self.failure: UpstreamError | None = None
        self.begun, self.gate = asyncio.Event(), asyncio.Event()
        self.gate.set()
        self.left = False

    async def answer(self) -> bytes:
        self.asked += 1
        number = self.asked
        self.begun.set()
        await self.gate.wait()
        if self.failure is not None:
            raise self.failure
        return b'{"n":%d}' % number

    async def stream(self) -> AsyncGenerator[bytes, None]:
        self.asked += 1
        number = self.asked
        try:
            yield b'{"n":%d,"chunk":1}' % number
            await self.gate.wait()
            if self.failure is not None:
                raise self.failure
            yield b'{"n":%d,"chunk":2}' % number
        except GeneratorExit:
            self.left = True
            raise


@pytest.fixture
def upstream() -> Upstream:
    return Upstream()


class Run:
    """One run of a recorder; runs of one test share a directory."""

    def __init__(self, path: Path, upstream: Upstream, mode: RecordingMode) -> None:
        self.recorder = Recorder("p", mode, RecordingFolder(path))
        self._upstream = upstream

    async def answer(self, request: bytes = ONE) -> bytes:
        return await self.recorder.answer("op", request, self._upstream.answer)

    async def stream(self, request: bytes = ONE) -> list[bytes]:
        return [chunk async for chunk in self.recorder.stream("stream_op", request, self._upstream.stream)]

    async def newest(self) -> bytes:
        return await self.recorder.newest("list", self._upstream.answer)


def run(path: Path, upstream: Upstream, mode: RecordingMode) -> Run:
    return Run(path, upstream, mode)


def files(path: Path) -> list[str]:
    return sorted(file.name.partition("-")[0] for file in path.iterdir()) if path.exists() else []


def only_file(path: Path) -> Path:
    [file] = path.iterdir()
    return file


async def test_what_was_recorded_is_replayed_and_nothing_is_asked(tmp_path: Path, upstream: Upstream) -> None:
    recording = run(tmp_path, upstream, "record")
    live = [await recording.answer(), await recording.stream(), await recording.answer(OTHER)]
    assert upstream.asked == 3
    replay = run(tmp_path, upstream, "replay")
    assert [await replay.answer(), await replay.stream(), await replay.answer(OTHER)] == live
    assert upstream.asked == 3
    assert files(tmp_path) == ["op", "op", "stream_op"]


async def test_several_answers_to_one_request_are_replayed_in_order_the_last_one_again_and_again(
    tmp_path: Path, upstream: Upstream
) -> None:
    recording = run(tmp_path, upstream, "record")
    live = [await recording.answer() for _ in range(3)]
    assert len(set(live)) == 3
    replay = run(tmp_path, upstream, "replay")
    assert [await replay.answer() for _ in range(5)] == [*live, live[2], live[2]]


async def test_recording_anew_replaces_what_an_earlier_run_recorded(tmp_path: Path, upstream: Upstream) -> None:
    first, second = run(tmp_path, upstream, "record"), run(tmp_path, upstream, "record")
    await first.answer()
    await first.answer()
    kept = await second.answer()
    replay = run(tmp_path, upstream, "replay")
    assert [await replay.answer(), await replay.answer()] == [kept, kept]


@pytest.mark.parametrize("mode", ["record", "replay", "record-if-missing"])
async def test_failures_are_raised_and_replayed(tmp_path: Path, upstream: Upstream, mode: RecordingMode) -> None:
    recording = run(tmp_path, upstream, "record")
    upstream.failure = UpstreamRateLimited("p", "Slow down.", retry_after="7")
    with pytest.raises(UpstreamRateLimited):
        await recording.answer()
    upstream.failure = None
    good = await recording.answer()
    again = run(tmp_path, upstream, mode)
    if mode == "record":
        upstream.failure = UpstreamRateLimited("p", "Slow down.", retry_after="7")
    for _ in range(2):  # each time a new error, its own traceback
        with pytest.raises(UpstreamRateLimited) as caught:
            await run(tmp_path, upstream, mode).answer()
        assert (caught.value.message, caught.value.retry_after) == ("Slow down.", "7")
    if mode != "record":
        with pytest.raises(UpstreamRateLimited):
            await again.answer()
        assert await again.answer() == good


async def test_a_stream_that_breaks_off_is_replayed_as_far_as_it_came(tmp_path: Path, upstream: Upstream) -> None:
    upstream.failure = UpstreamDisconnected("p", "Halfway.")
    for mode in ("record", "replay"):
        chunks = run(tmp_path, upstream, mode).recorder.stream("stream_op", ONE, upstream.stream)
        assert await anext(chunks) == b'{"n":1,"chunk":1}'
        with pytest.raises(UpstreamDisconnected, match="Halfway"):
            await anext(chunks)
    assert upstream.asked == 1


async def test_a_stream_that_is_left_is_closed_and_not_recorded(tmp_path: Path, upstream: Upstream) -> None:
    recording = run(tmp_path, upstream, "record")
    async with aclosing(recording.recorder.stream("stream_op", ONE, upstream.stream)) as chunks:
        assert await anext(chunks) == b'{"n":1,"chunk":1}'
    assert upstream.left
    assert files(tmp_path) == []
    whole = await recording.stream()
    assert await run(tmp_path, upstream, "replay").stream() == whole


async def test_an_answer_that_is_cancelled_is_not_recorded(tmp_path: Path, upstream: Upstream) -> None:
    recording = run(tmp_path, upstream, "record")
    upstream.gate.clear()
    task = asyncio.create_task(recording.answer())
    await upstream.begun.wait()
    assert upstream.asked == 1
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert files(tmp_path) == []
    upstream.gate.set()
    assert await recording.answer() == await run(tmp_path, upstream, "replay").answer()


async def test_equal_requests_at_the_same_time_are_kept_in_the_order_in_which_they_were_made(
    tmp_path: Path, upstream: Upstream
) -> None:
    recording = run(tmp_path, upstream, "record-if-missing")
    upstream.gate.clear()
    slow = asyncio.create_task(recording.answer())
    await upstream.begun.wait()
    upstream.gate.set()
    quick = asyncio.create_task(recording.answer())
    others = [asyncio.create_task(recording.stream()) for _ in range(20)]
    live = await asyncio.gather(slow, quick)
    streams = await asyncio.gather(*others)
    assert live == [b'{"n":1}', b'{"n":2}']
    replay = run(tmp_path, upstream, "replay")
    assert await asyncio.gather(replay.answer(), replay.answer()) == live
    assert await asyncio.gather(*(replay.stream() for _ in range(20))) == streams


async def test_streams_are_replayed_chunk_by_chunk(tmp_path: Path, upstream: Upstream) -> None:
    whole = await run(tmp_path, upstream, "record").stream()
    replay = run(tmp_path, upstream, "replay")
    order: list[tuple[str, bytes]] = []

    async def read(name: str) -> None:
        async with aclosing(replay.recorder.stream("stream_op", ONE, upstream.stream)) as chunks:
            while chunk := await anext(chunks, None):
                order.append((name, chunk))

    await asyncio.gather(read("a"), read("b"))
    assert order == [(name, chunk) for chunk in whole for name in ("a", "b")]


async def test_record_if_missing_replays_what_was_there_and_records_the_rest(
    tmp_path: Path, upstream: Upstream
) -> None:
    kept = await run(tmp_path, upstream, "record").answer()
    mixed = run(tmp_path, upstream, "record-if-missing")
    assert [await mixed.answer(), await mixed.answer()] == [kept, kept]
    assert upstream.asked == 1
    recorded = [await mixed.answer(OTHER), await mixed.answer(OTHER)]
    assert upstream.asked == 3
    replay = run(tmp_path, upstream, "replay")
    assert [await replay.answer(OTHER), await replay.answer(OTHER), await replay.answer()] == [*recorded, kept]


@pytest.mark.parametrize("kind", [UpstreamUnreachable, UpstreamDenied])
async def test_that_there_is_no_model_server_or_no_key_is_recorded_only_where_everything_is(
    tmp_path: Path, upstream: Upstream, kind: type[UpstreamError]
) -> None:
    upstream.failure = kind("p", "Not set up.")
    mixed = run(tmp_path, upstream, "record-if-missing")
    for ask in (mixed.answer, mixed.stream):
        with pytest.raises(kind):
            await ask()
    assert files(tmp_path) == []
    with pytest.raises(kind):
        await run(tmp_path, upstream, "record").answer()
    upstream.failure = None
    for mode in ("replay", "record-if-missing"):
        with pytest.raises(kind, match="Not set up"):
            await run(tmp_path, upstream, mode).answer()


async def test_a_missing_recording_is_an_error_that_shows_the_nearest(tmp_path: Path, upstream: Upstream) -> None:
    await run(tmp_path, upstream, "record").stream()
    replay = run(tmp_path, upstream, "replay")
    with pytest.raises(RecordingMissing) as caught:
        await replay.answer(OTHER)
    error = caught.value
    assert (error.provider_id, error.operation) == ("p", "op")
    assert error.file.startswith(str(tmp_path / "op-"))
    assert '-    "one"' in error.difference
    assert '+    "other"' in error.difference
    assert "--- stream_op-" in error.message
    with pytest.raises(RecordingMissing, match="--- stream_op-"):
        await replay.stream(OTHER)
    assert upstream.asked == 1


async def test_where_nothing_is_recorded_that_is_said(tmp_path: Path, upstream: Upstream) -> None:
    replay = run(tmp_path / "p", upstream, "replay")
    with pytest.raises(RecordingMissing, match="Nothing like it is recorded"):
        await replay.answer()
    with pytest.raises(RecordingMissing, match="Nothing like it is recorded"):
        await replay.newest()
    assert not (tmp_path / "p").exists()


async def test_a_recording_that_comes_later_is_found(tmp_path: Path, upstream: Upstream) -> None:
    replay = run(tmp_path, upstream, "replay")
    with pytest.raises(RecordingMissing):
        await replay.answer()
    kept = await run(tmp_path, upstream, "record").answer()
    assert await replay.answer() == kept


@pytest.mark.parametrize("mode", ["replay", "record-if-missing"])
async def test_a_file_that_is_no_recording_is_an_error_that_names_it(
    tmp_path: Path, upstream: Upstream, mode: RecordingMode
) -> None:
    await run(tmp_path, upstream, "record").answer()
    file = only_file(tmp_path)
    file.write_text("{}")
    with pytest.raises(RecordingUnreadable, match="format is required") as caught:
        await run(tmp_path, upstream, mode).answer()
    assert caught.value.file == str(file)
    assert upstream.asked == 1


async def test_an_answer_that_a_person_has_changed_is_replayed_so(tmp_path: Path, upstream: Upstream) -> None:
    await run(tmp_path, upstream, "record").answer()
    file = only_file(tmp_path)
    document = json.loads(file.read_text())
    document["answers"][0]["chunks"] = [{"n": "changed"}]
    file.write_text(json.dumps(document))
    assert await run(tmp_path, upstream, "replay").answer() == b'{"n":"changed"}'


async def test_of_what_is_asked_again_and_again_the_newest_good_answer_is_kept(
    tmp_path: Path, upstream: Upstream
) -> None:
    recording = run(tmp_path, upstream, "record")
    await recording.newest()
    newest = await recording.newest()
    upstream.failure = UpstreamFailed("p", "Down.")
    with pytest.raises(UpstreamFailed):
        await recording.newest()
    replay = run(tmp_path, upstream, "replay")
    assert [await replay.newest(), await replay.newest()] == [newest, newest]
