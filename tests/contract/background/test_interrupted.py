"""Servers that end while responses in the background wait or run: none is forgotten, none is stuck."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest

from harness.answers import ok, refused
from harness.background import begin_stream, follow, followed, queue, settled
from harness.conversations import create, items_of, texts_of
from harness.event_stream import read_frames
from harness.server import StackServer
from harness.turns import post, sent, text_of, turn
from scripted_model import ScriptedModel
from scripted_model.answers import Answer, Step, delta, text

DIED = {"code": "server_error", "message": "The server stopped before the turn had ended."}
RESTARTED = "response_restarted"
STREAMED = pytest.mark.parametrize("streamed", [False, True], ids=["plain", "streamed"])


def begin(http: httpx2.Client, streamed: bool, model: str, said: str, **fields: Any) -> str:
    """Begin a response in the background; its id."""
    if streamed:
        return begin_stream(http, model, said, **fields)
    response_id: str = queue(http, model, said, **fields)["id"]
    return response_id


@STREAMED
def test_after_a_kill_what_waited_runs_and_what_ran_has_failed(
    new_server: Any, model: ScriptedModel, tag: str, gate: str, streamed: bool
) -> None:
    server: StackServer = new_server(server={"port": 0, "limits": {"max_background_turns": 1}}).start()
    with server.http() as http:
        conversations = [create(http), create(http)]
        running = begin(http, streamed, "slow", gate, conversation=conversations[0])
        model.wait_until_reached(tag)
        waiting = begin(http, streamed, "echo", "Hello", conversation=conversations[1])
        server.kill()
    server.start()
    with server.http() as http:
        died = ok(http.get(f"/responses/{running}"))
        assert (died["status"], died["error"], died["output"]) == ("failed", DIED, [])
        assert items_of(http, conversations[0]) == []
        assert text_of(turn(http, "echo", "Next", conversation=conversations[0])) == "seen=1 last=Next"
        assert text_of(settled(http, waiting)) == "seen=1 last=Hello"
        assert texts_of(items_of(http, conversations[1])) == ["Hello", "seen=1 last=Hello"]
        refused(http.post(f"/responses/{running}/cancel"), 400)
        if streamed:
            assert follow(http, running)[-1]["response"] == died
            assert followed(http, waiting).types[-1] == "completed"


@STREAMED
def test_what_runs_when_the_server_is_asked_to_end_is_queued_again_and_completed_after_the_next_start(
    new_server: Any, model: ScriptedModel, tag: str, streamed: bool
) -> None:
    stuck = Answer((delta(content="half "), Step("hang", tag)))
    model.script(stuck, Answer(text("All ", "of it.")), tag=tag)
    server: StackServer = new_server(server={"port": 0, "shutdown_timeout_seconds": 0.5}).start()
    with server.http() as http:
        conversation_id = create(http)
        response_id = begin(http, streamed, "scripted", f"tag={tag}", conversation=conversation_id)
        model.wait_until_reached(tag)
        assert server.stop() == 0
    server.start()
    with server.http() as http:
        done = settled(http, response_id)
        assert text_of(done) == "All of it."
        assert texts_of(items_of(http, conversation_id)) == [f"tag={tag}", "All of it."]
        assert [asked.outcome for asked in sent(model, tag, 2)] == ["disconnected", "complete"]
        if streamed:
            again = followed(http, response_id, begun_anew=True)
            assert again.types[:3] == ["created", "queued", "in_progress"]
    assert "Traceback" not in server.log, server.log


def test_what_ends_in_the_time_to_shut_down_is_kept(new_server: Any, model: ScriptedModel, tag: str, gate: str) -> None:
    server: StackServer = new_server(server={"port": 0, "shutdown_timeout_seconds": 20}).start()
    with server.http() as http:
        response_id = queue(http, "slow", gate)["id"]
        model.wait_until_reached(tag)
        server.ask_to_stop()
        model.open_gate(tag)
        assert server.wait() == 0
    server.start()
    with server.http() as http:
        assert text_of(ok(http.get(f"/responses/{response_id}"))) == "before after"


def test_another_process_takes_up_what_a_dead_one_left(
    new_server: Any, tmp_path: Any, model: ScriptedModel, tag: str, gate: str
) -> None:
    quick = {"turns": {"lease_seconds": 0.6, "sweep_seconds": 0.1}}
    limited = {"server": {"port": 0, "limits": {"max_background_turns": 1}}}
    one: StackServer = new_server(tmp_path / "shared", **quick, **limited).start()
    with one.http() as http:
        running = queue(http, "slow", gate)["id"]
        model.wait_until_reached(tag)
        waiting = queue(http)["id"]
        assert post(http).status_code == 200
        one.kill()
    other: StackServer = new_server(tmp_path / "shared", **quick).start()
    with other.http() as others:
        assert settled(others, running)["error"] == DIED
        assert text_of(settled(others, waiting)) == "seen=1 last=Hello"


def test_who_has_seen_a_run_that_another_process_began_anew_is_told_to_ask_again(
    new_server: Any, tmp_path: Any, model: ScriptedModel, tag: str
) -> None:
    model.script(Answer((delta(content="half "), Step("hang", tag))), Answer(text("All ", "of it.")), tag=tag)
    one: StackServer = new_server(tmp_path / "shared", server={"port": 0, "shutdown_timeout_seconds": 0.5}).start()
    with one.http() as http:
        response_id = begin_stream(http, "scripted", f"tag={tag}")
        model.wait_until_reached(tag)
    other: StackServer = new_server(tmp_path / "shared").start()
    with other.http() as http, http.stream("GET", f"/responses/{response_id}", params={"stream": "true"}) as live:
        pieces = live.iter_raw()
        received = b""
        while b'"delta":"half "' not in received:
            received += next(pieces)
        assert one.stop() == 0
        seen = read_frames(received + b"".join(pieces))
        last = seen[-2]["sequence_number"]
        assert (seen[-2]["type"], seen[-1]["type"]) == ("response.output_text.delta", "error")
        assert (seen[-1]["code"], seen[-1]["sequence_number"], seen[-1]["param"]) == (RESTARTED, last + 1, None)
        whole = followed(http, response_id, begun_anew=True)
        assert text_of(whole.response) == "All of it."
        assert whole.events[2]["sequence_number"] == last + 1
        for void in (2, last):
            [told] = follow(http, response_id, after=void)
            assert (told["type"], told["code"], told["sequence_number"]) == ("error", RESTARTED, void + 1)
        assert follow(http, response_id, after=1) == whole.events[2:]
        assert follow(http, response_id, after=last + 1) == whole.events[3:]
