"""A server records what its model server says; another says the same without one."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest

from harness.answers import ok, refused
from harness.server import UPSTREAM_KEY
from harness.tools import mcp, script
from harness.turns import TIME, WEATHER, Stream, post, stream, text_of, turn
from integration.recording.conftest import serving
from scripted_mcp import ScriptedMcp
from scripted_model import ScriptedModel
from scripted_model.answers import text

NOWHERE = "http://127.0.0.1:9/v1"
OWN_TO_A_RUN = {"id", "item_id", "created_at", "completed_at", "conversation", "previous_response_id"}
MADE_CALL_ID = re.compile(r"call_[0-9a-f]{24}")


def same(value: Any) -> Any:
    """What must be the same in every run: all but ids and times that the server makes."""
    if isinstance(value, dict):
        return {key: same(entry) for key, entry in value.items() if key not in OWN_TO_A_RUN}
    if isinstance(value, list):
        return [same(entry) for entry in value]
    return MADE_CALL_ID.sub("call_made", value) if isinstance(value, str) else value


def said(streamed: Stream) -> Any:
    return same([dict(event) for event in streamed.events])


def tool_loop(http: httpx2.Client, model: str, *, streamed: bool) -> list[Any]:
    """Calls, then an answer to what the tools said; in a conversation, which is listed at the end."""
    conversation = ok(http.post("/conversations", json={}))["id"]
    items: Any = "Weather in Paris?"
    shown: list[Any] = []
    for _ in range(2):
        fields = {"conversation": conversation, "tools": [WEATHER, TIME]}
        if streamed:
            one = stream(http, model, items, **fields)
            shown.append(said(one))
            response = one.response
        else:
            response = turn(http, model, items, **fields)
            shown.append(same(response))
        calls = [item for item in response["output"] if item["type"] == "function_call"]
        items = [{"type": "function_call_output", "call_id": call["call_id"], "output": "22°"} for call in calls]
    listed = ok(http.get(f"/conversations/{conversation}/items", params={"order": "asc"}))["data"]
    assert listed[-1]["content"][0]["text"].startswith("The tools said: 22°")
    return [*shown, same(listed)]


def refusal(http: httpx2.Client, model: str) -> Any:
    answer = post(http, model, "Hello")
    headers = {name: answer.headers.get(name) for name in ("retry-after", "x-should-retry")}
    return answer.status_code, answer.json(), headers


def chat(http: httpx2.Client, model: str, **fields: Any) -> Any:
    body = {"model": model, "messages": [{"role": "user", "content": "Hello there"}], **fields}
    return http.post("/chat/completions", json=body)


def everything(http: httpx2.Client) -> dict[str, Any]:
    """All kinds of turns, each once."""
    return {
        "models": [model["id"] for model in ok(http.get("/models"))["data"]],
        "text": same(turn(http, "echo", "Hello")),
        "stream": said(stream(http, "unicode", "Hello")),
        "tools": tool_loop(http, "tool", streamed=False),
        "tools, streamed": tool_loop(http, "parallel-tools", streamed=True),
        "calls without ids": tool_loop(http, "tool-no-id", streamed=True),
        "reasoning": said(stream(http, "reasoning", "Hello")),
        "logprobs": same(turn(http, "logprobs", "Hello", top_logprobs=1, include=["message.output_text.logprobs"])),
        "cut off": same(turn(http, "length", "Hello", user="somebody", prompt_cache_key="a key")),
        "refusals": [refusal(http, f"status-{status}") for status in (400, 401, 429, 500)],
        "garbled": refusal(http, "garbage"),
        "stream that fails": said(stream(http, "error-mid", "Hello")),
        "stream that breaks off": said(stream(http, "drop-mid", "Hello")),
        "stream of garbage": said(stream(http, "garbage-mid", "Hello")),
        "chat": ok(chat(http, "echo")),
        "chat, streamed": chat(http, "echo", stream=True).text.replace(" ", ""),
    }


SAME = "The same words tag=in-order"
AT_ONCE = "The same words tag=at-once"
COUNT = 8


def ask_at_once(http: httpx2.Client) -> list[str]:
    with ThreadPoolExecutor(COUNT) as threads:
        asked = [threads.submit(stream, http, "scripted", AT_ONCE) for _ in range(COUNT)]
    return sorted(text_of(one.result().response) for one in asked)


@dataclass(frozen=True)
class Recorded:
    """What one run said, and where it was recorded to; its model server is gone."""

    live: dict[str, Any]
    directory: Path
    model_url: str


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    """A run that records."""
    directory = tmp_path_factory.mktemp("recordings")
    with ScriptedModel() as model:
        model.script(text("one"), text("two"), text("three"), tag="in-order")
        model.script(*(text("number ", str(number)) for number in range(COUNT)), tag="at-once")
        run = tmp_path_factory.mktemp("recording") / "run"
        with serving(run, model.base_url, "record", directory) as http:
            live = everything(http)
            assert [text_of(turn(http, "scripted", SAME)) for _ in range(3)] == ["one", "two", "three"]
            assert ask_at_once(http) == [f"number {number}" for number in range(COUNT)]
            turn(http, "echo", "What is the weather in Rome?")
            turn(http, "echo", "To be spoilt")
        return Recorded(live, directory, model.base_url)


@pytest.fixture(scope="module")
def replay(recorded: Recorded, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx2.Client]:
    """A server that replays it, on another database."""
    run = tmp_path_factory.mktemp("replay") / "run"
    with serving(run, recorded.model_url, "replay", recorded.directory) as http:
        yield http


def test_everything_is_replayed_without_a_model_server(recorded: Recorded, replay: httpx2.Client) -> None:
    replayed = everything(replay)
    assert replayed.keys() == recorded.live.keys()
    for kind, shown in recorded.live.items():
        assert replayed[kind] == shown, kind


def test_a_provider_that_is_replayed_is_well(replay: httpx2.Client) -> None:
    [provider] = ok(replay.get("/providers"))["data"]
    assert provider["health"] == {"status": "ok", "message": None}


def test_a_recording_is_a_file_of_its_provider_and_holds_no_secrets(recorded: Recorded) -> None:
    files = list(recorded.directory.rglob("*"))
    assert [file for file in files if file.is_dir()] == [recorded.directory / "scripted"]
    names = {file.name for file in files if file.is_file()}
    assert all(
        re.fullmatch(r"(chat_completion|stream_chat_completion|list_models)-[0-9a-f]{16}\.json", name) for name in names
    )
    texts = [file.read_text(encoding="utf-8") for file in files if file.is_file()]
    assert not [text for text in texts if UPSTREAM_KEY in text or "authorization" in text.lower()]


def test_several_answers_to_one_request_come_in_their_order(replay: httpx2.Client) -> None:
    assert [text_of(turn(replay, "scripted", SAME)) for _ in range(4)] == ["one", "two", "three", "three"]


def test_equal_requests_at_the_same_time_get_all_answers(replay: httpx2.Client) -> None:
    assert ask_at_once(replay) == [f"number {number}" for number in range(COUNT)]


def test_what_is_missing_is_told_with_the_difference_to_the_nearest(recorded: Recorded, replay: httpx2.Client) -> None:
    answer = post(replay, "echo", "What is the weather in Paris?")
    message = refused(answer, 424, "recording_missing", kind="upstream_error")
    assert f"there is no {recorded.directory}/scripted/chat_completion-" in message
    difference = message.split("\n")
    removed = difference.index('-      "content": "What is the weather in Rome?",')
    assert difference[removed + 1] == '+      "content": "What is the weather in Paris?",'
    turn(replay, "echo", "What is the weather in Rome?")


def test_a_stream_that_is_missing_fails(replay: httpx2.Client) -> None:
    failed = stream(replay, "echo", "What is the weather in Rome?").response
    assert failed["status"] == "failed"
    assert '+  "stream": true' in failed["error"]["message"]


def test_a_chat_completion_that_is_missing_is_told_streamed_or_not(replay: httpx2.Client) -> None:
    for fields in ({}, {"stream": True}):
        refused(chat(replay, "reasoning", **fields), 424, "recording_missing", kind="upstream_error")


def test_a_model_that_was_not_listed_is_unknown(replay: httpx2.Client) -> None:
    refused(post(replay, "no-such-model", "Hello"), 400, "model_not_found", "model")


def test_a_file_that_is_no_recording_is_told(recorded: Recorded, replay: httpx2.Client) -> None:
    [file] = [file for file in recorded.directory.rglob("chat_*.json") if "To be spoilt" in file.read_text()]
    file.write_text(json.dumps({**json.loads(file.read_text()), "format": 2}))
    message = refused(post(replay, "echo", "To be spoilt"), 424, "recording_unreadable", kind="upstream_error")
    assert message == f"The recording {file} cannot be used: format must be 1, not 2"


def test_record_if_missing_asks_for_what_is_missing_alone(recorded: Recorded, tmp_path: Path) -> None:
    directory = tmp_path / "recordings"
    shutil.copytree(recorded.directory, directory)
    with ScriptedModel() as model, serving(tmp_path / "one", model.base_url, "record-if-missing", directory) as http:
        assert everything(http) == recorded.live
        assert model.requests() == []
        assert text_of(turn(http, "echo", "New")) == "seen=1 last=New"
        assert len(model.requests()) == 1
    with serving(tmp_path / "two", recorded.model_url, "replay", directory) as http:
        assert text_of(turn(http, "echo", "New")) == "seen=1 last=New"


def worked(http: httpx2.Client, said: str, tools: list[dict[str, Any]]) -> dict[str, Any]:
    """Turns over upstreams of either wire: reasoning, hosted tools, tools of the client's and of the server's."""
    shown: dict[str, Any] = {}
    for wire in ("chat", "responses"):
        fields: dict[str, Any] = {"tools": tools, "conversation": ok(http.post("/conversations", json={}))["id"]}
        for number in range(2):
            shown[f"{wire}, tools of a server {number}"] = same(turn(http, f"{wire}/scripted", said, **fields))
    shown["reasoning"] = twice_said(http, "reasoning", "Think", include=["reasoning.encrypted_content"])
    shown["hosted"] = twice_said(http, "hosted", "Search", tools=[{"type": "web_search"}])
    shown["tools"] = tool_loop(http, "responses/parallel-tools", streamed=True)
    shown["refusal"] = refusal(http, "responses/status-429")
    return shown


def twice_said(http: httpx2.Client, model: str, words: str, **fields: Any) -> Any:
    conversation = ok(http.post("/conversations", json={}))["id"]
    return [said(stream(http, f"responses/{model}", words, conversation=conversation, **fields)) for _ in range(2)]


def test_an_upstream_that_speaks_responses_and_tools_of_a_server_are_replayed(tmp_path: Path) -> None:
    recordings = tmp_path / "recordings"
    with ScriptedMcp() as tool_server:
        tools = [mcp(tool_server.url(), allowed_tools=["add"])]

        def sections(model_url: str) -> dict[str, Any]:
            config = {"base_url": model_url, "api_key": UPSTREAM_KEY, "max_retries": 0}
            inference = [
                {"provider_id": wire, "provider_type": "remote::openai", "config": {**config, "wire_api": wire}}
                for wire in ("chat", "responses")
            ]
            policy = {"policy": {"allow": ["127.0.0.1"]}}
            runtime = [{"provider_id": "mcp", "provider_type": "inline::mcp", "config": policy}]
            return {"providers": {"inference": inference, "tool_runtime": runtime}}

        with ScriptedModel() as model:
            add = ("add", {"a": 2, "b": 3})
            question = script(model, "mcp", *([add], "5", [add], "5 again") * 2)
            with serving(tmp_path / "one", model.base_url, "record", recordings, **sections(model.base_url)) as http:
                live = worked(http, question, tools)
        assert {path.name.partition("-")[0] for path in (recordings / "responses").iterdir()} >= {
            "create_response",
            "stream_response",
        }
        with serving(tmp_path / "two", NOWHERE, "replay", recordings, **sections(NOWHERE)) as http:
            replayed = worked(http, question, tools)
            for kind, shown in live.items():
                assert replayed[kind] == shown, kind
            answer = post(http, "responses/echo", "Never asked")
            message = refused(answer, 424, "recording_missing", kind="upstream_error")
            assert "create_response-" in message
