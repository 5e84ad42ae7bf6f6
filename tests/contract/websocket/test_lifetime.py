"""How connections begin and end: handshakes, hang-ups, reconnecting, the longest time, shutdown, bounds."""

from __future__ import annotations

import json
import socket
from typing import Any

import httpx2
import pytest
from openai import OpenAI
from openai.resources.responses.responses import ResponsesConnection
from openai.types.websocket_reconnection import ReconnectingEvent
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from contract.websocket.test_connections import answered, ask, said, turn
from harness.background import settled
from harness.server import StackServer
from scripted_model import ScriptedModel

HANDSHAKE = (
    "GET /v1/responses HTTP/1.1\r\nhost: localhost\r\nconnection: upgrade\r\nupgrade: websocket\r\n"
    "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 13\r\n\r\n"
)


def url(server: StackServer, path: str = "/responses") -> str:
    return server.base_url.replace("http://", "ws://") + path


def limited(**limits: object) -> dict[str, Any]:
    """The section ``server`` of a run.yaml."""
    return {"port": 0, "shutdown_timeout_seconds": 10, "limits": limits}


def until_closed(connection: ResponsesConnection) -> tuple[list[dict[str, Any]], int]:
    """The events up to the end of the connection, and the code that the server closed it with."""
    events = []
    with pytest.raises(ConnectionClosed) as closed:
        events.extend(connection.recv().to_dict() for _ in iter(int, 1))
    assert closed.value.rcvd is not None
    return events, closed.value.rcvd.code


def test_a_handshake_elsewhere_is_answered_as_http_is(server: StackServer) -> None:
    with pytest.raises(InvalidStatus) as refused, connect(url(server, "/nowhere")):
        pass
    answer = refused.value.response
    assert answer.status_code == 404
    assert answer.headers["x-request-id"].startswith("req_")
    assert b'"invalid_request_error"' in (answer.body or b"")


def test_the_pages_of_others_cannot_connect(server: StackServer) -> None:
    headers = {"origin": "http://evil.example"}
    with pytest.raises(InvalidStatus) as refused, connect(url(server), additional_headers=headers):
        pass
    assert refused.value.response.status_code == 403


def test_a_foreign_name_of_the_machine_is_refused(server: StackServer) -> None:
    with pytest.raises(InvalidStatus) as refused, connect(
        url(server).replace("127.0.0.1", "localhost"), additional_headers={"host": "evil.example"}
    ):  # fmt: skip
        pass
    assert refused.value.response.status_code in {400, 403}


def test_the_handshake_has_a_request_id(server: StackServer) -> None:
    with connect(url(server)) as socket:
        assert socket.response is not None
        assert socket.response.headers["x-request-id"].startswith("req_")


def test_an_offer_of_anything_else_is_passed_over(http: httpx2.Client) -> None:
    headers = {"connection": "Upgrade", "upgrade": "websocket"}
    assert http.post("/responses", json={"model": "echo", "input": "Hi"}, headers=headers).status_code == 200


def test_a_stored_turn_goes_on_when_the_client_is_gone(
    client: OpenAI, http: httpx2.Client, model: ScriptedModel, tag: str
) -> None:
    with client.responses.connect() as connection:
        ask(connection, f"gate={tag}", model="slow")
        response_id = connection.recv().to_dict()["response"]["id"]
        model.wait_until_reached(tag)
    model.open_gate(tag)
    assert settled(http, response_id)["status"] == "completed"


def test_a_turn_that_is_not_stored_ends_with_its_client(client: OpenAI, model: ScriptedModel, tag: str) -> None:
    with client.responses.connect() as connection:
        ask(connection, f"gate={tag} tag={tag}", model="slow", store=False)
        model.wait_until_reached(tag)
    [request] = model.requests(tag=tag, count=1, ended=True)
    assert request.outcome == "disconnected"


def test_a_stored_response_is_continued_after_reconnecting(client: OpenAI) -> None:
    with client.responses.connect() as connection:
        first = turn(connection, "one")
    with client.responses.connect() as connection:
        second = turn(connection, "two", previous_response_id=first["id"])
    assert said(second) == "seen=3 last=two"


def test_a_connection_that_is_too_old_ends_with_an_error_and_the_client_reconnects(new_server: Any) -> None:
    server: StackServer = new_server(server=limited(websocket_seconds=1)).start()
    codes: list[int] = []

    def go_on(event: ReconnectingEvent) -> None:
        codes.append(event.close_code)
        ask(connection, "two", previous_response_id=first["id"])  # sent when the new connection is there

    with server.client() as client, client.responses.connect(on_reconnecting=go_on) as connection:
        first = turn(connection, "one")
        events = (event.to_dict() for event in connection)
        error = next(events)
        assert (error["status"], error["error"]["code"]) == (400, "websocket_connection_limit_reached")
        last = next(event for event in events if event["type"] == "response.completed")
    assert codes == [1001]
    assert said(last["response"]) == "seen=3 last=two"


def test_a_turn_that_runs_when_the_connection_is_too_old_ends_first(
    new_server: Any, model: ScriptedModel, tag: str
) -> None:
    server: StackServer = new_server(server=limited(websocket_seconds=0.5)).start()
    with server.client() as client, client.responses.connect() as connection:
        ask(connection, f"gate={tag}", model="slow")
        ask(connection, "too late")
        model.wait_until_reached(tag)
        while True:  # until the server says that it takes no more
            connection.send_raw("{")
            event = connection.recv().to_dict()
            if event.get("error", {}).get("code") == "websocket_connection_limit_reached":
                break
        model.open_gate(tag)
        events, code = until_closed(connection)
    kinds = [event["type"] for event in events]
    assert "response.completed" in kinds
    assert kinds[-1] == "error"
    assert code == 1001


def test_a_server_that_shuts_down_ends_running_turns_and_closes(
    new_server: Any, model: ScriptedModel, tag: str
) -> None:
    server: StackServer = new_server().start()
    with server.client() as client, client.responses.connect() as connection, client.responses.connect() as idle:
        ask(connection, f"gate={tag}", model="slow")
        model.wait_until_reached(tag)
        server.ask_to_stop()
        _, code = until_closed(idle)
        assert code == 1012
        model.open_gate(tag)
        assert answered(connection)[-1]["type"] == "response.completed"
        with pytest.raises(ConnectionClosed):
            connection.recv()
    assert server.wait() == 0
    assert "Traceback" not in server.log


def test_a_server_whose_patience_is_over_closes_what_runs(new_server: Any, model: ScriptedModel, tag: str) -> None:
    server: StackServer = new_server(server={"port": 0, "shutdown_timeout_seconds": 1}).start()
    with server.client() as client, client.responses.connect() as connection:
        ask(connection, f"gate={tag}", model="slow")
        model.wait_until_reached(tag)
        server.ask_to_stop()
        _, code = until_closed(connection)
    assert code == 1012
    model.open_gate(tag)
    assert server.wait() == 0
    assert "Traceback" not in server.log


def test_a_message_that_is_too_large_closes_the_connection(new_server: Any) -> None:
    server: StackServer = new_server(server=limited(max_body_bytes=10_000)).start()
    with server.client() as client, client.responses.connect() as connection:
        turn(connection, "x" * 5_000)
        ask(connection, "x" * 10_000)
        _, code = until_closed(connection)
    assert code == 1009


def test_what_waits_is_bounded(new_server: Any, model: ScriptedModel, tag: str) -> None:
    server: StackServer = new_server(server=limited(max_body_bytes=10_000)).start()
    with server.client() as client, client.responses.connect() as connection:
        ask(connection, f"gate={tag}", model="slow", stream_id="a")
        model.wait_until_reached(tag)
        for _ in range(3):
            ask(connection, "x" * 4_500, stream_id="a")
        event = connection.recv().to_dict()
        while event["type"] != "error":
            event = connection.recv().to_dict()
        assert (event["status"], event["error"]["code"]) == (429, "rate_limit_exceeded")
        model.open_gate(tag)
        assert [answered(connection)[-1]["type"] for _ in range(3)] == ["response.completed"] * 3


@pytest.mark.parametrize(
    "head",
    [
        HANDSHAKE.replace("13", "12"),
        HANDSHAKE.replace("dGhlIHNhbXBsZSBub25jZQ==", "short"),
        HANDSHAKE.replace("connection", "x-filler: y\r\n" * 200 + "connection"),
    ],
    ids=["another version", "a bad key", "too many fields"],
)
def test_a_handshake_that_is_none_ends_the_connection(server: StackServer, head: str) -> None:
    _, _, port = server.root_url.rpartition(":")
    with socket.create_connection(("127.0.0.1", int(port)), timeout=10) as raw:
        raw.sendall(head.encode())
        answer = b"".join(iter(lambda: raw.recv(65536), b""))
    assert not answer or b" 4" in answer.partition(b"\r\n")[0]


def test_a_message_may_be_binary(server: StackServer) -> None:
    with connect(url(server)) as raw:
        raw.send(b'{"type": "response.create", "model": "echo", "input": "Hi"}')
        assert json.loads(raw.recv())["type"] == "response.created"


def test_text_that_is_no_utf_8_is_an_error_event(server: StackServer) -> None:
    with connect(url(server)) as raw:
        raw.send(b"\xff\xfe", text=True)
        assert json.loads(raw.recv())["error"]["code"] == "invalid_json"


def test_refused_handshakes_are_no_faults_of_the_server(new_server: Any) -> None:
    server: StackServer = new_server().start()
    with pytest.raises(InvalidStatus), connect(url(server, "/nowhere")):
        pass
    server.stop()
    assert "ERROR" not in server.log
