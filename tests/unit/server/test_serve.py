from __future__ import annotations

import asyncio
import signal
import socket
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2
import pytest

from llama_conversations.server.serve import CannotListen, new_event_loop, serve

PROCESS = Path(__file__).with_name("served_process.py")


class Served:
    """A server process."""

    def __init__(self, process: asyncio.subprocess.Process, port: int, loop: str) -> None:
        self.process, self.port, self.loop = process, port, loop

    async def told(self) -> str:
        return (await asyncio.wait_for(self.process.stdout.readline(), 20)).decode().strip()

    async def get(self) -> httpx2.Response:
        async with httpx2.AsyncClient(timeout=30) as client:
            return await client.get(f"http://127.0.0.1:{self.port}/v1/slow")


@asynccontextmanager
async def served(shutdown_timeout: float, seconds: float) -> AsyncIterator[Served]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(PROCESS), str(shutdown_timeout), str(seconds),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        loop = (await process.stdout.readline()).decode().strip()
        yield Served(process, int(await process.stdout.readline()), loop)
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def test_it_serves_on_uvloop_and_tells_the_real_port():
    async with served(5, 0) as server:
        assert server.loop.startswith("uvloop")
        assert (await server.get()).json() == {"done": True}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_lets_running_requests_end_takes_no_more_and_returns(number):
    async with served(20, 1) as server:
        running = asyncio.create_task(server.get())
        assert await server.told() == "called"
        server.process.send_signal(number)
        answer = await running
        assert (answer.status_code, answer.headers["connection"]) == (200, "close")
        assert await server.told() == "returned"
        assert await server.process.wait() == 0
        with pytest.raises(httpx2.ConnectError):
            await server.get()
        assert await server.process.stderr.read() == b""


async def test_a_second_signal_cancels_the_running_requests_which_are_told_so():
    async with served(60, 60) as server:
        running = asyncio.create_task(server.get())
        assert await server.told() == "called"
        server.process.send_signal(signal.SIGINT)
        await _no_longer_listening(server.port)
        server.process.send_signal(signal.SIGINT)
        answer = await running
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert answer.json()["error"]["message"] == "The server is shutting down. Please retry."
        assert await server.told() == "returned"
        assert await server.process.wait() == 0


async def _no_longer_listening(port: int) -> None:
    while True:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            return
        writer.close()
        await writer.wait_closed()


async def test_requests_that_take_longer_than_the_shutdown_may_are_cancelled():
    async with served(1, 60) as server:
        running = asyncio.create_task(server.get())
        assert await server.told() == "called"
        server.process.send_signal(signal.SIGTERM)
        assert (await running).status_code == 503
        assert await server.told() == "returned"
        assert await server.process.wait() == 0


async def test_a_port_in_use_is_a_clear_error(app, serving):
    async with serving(app) as port:
        with pytest.raises(
            CannotListen, match=f"Cannot listen on 127.0.0.1 port {port}: address already in use"
        ) as caught:
            await serve(app, host="127.0.0.1", port=port, shutdown_timeout=1)
        assert (caught.value.host, caught.value.port) == ("127.0.0.1", port)


async def test_a_number_that_is_no_port_is_a_clear_error(app):
    with pytest.raises(CannotListen, match="a port is a number from 0 to 65535"):
        await serve(app, host="127.0.0.1", port=80000, shutdown_timeout=1)


@pytest.mark.parametrize("host", ["203.0.113.7", "no-such-host.invalid"])
async def test_a_host_that_is_not_of_this_machine_is_a_clear_error(app, host):
    with pytest.raises(CannotListen, match=f"Cannot listen on {host} port 0: "):
        await serve(app, host=host, port=0, shutdown_timeout=1)


@pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6 here")
@pytest.mark.parametrize("host", ["::1", "::"])
async def test_it_listens_on_ipv6_too(app, host):
    started = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(serve(app, host=host, port=0, shutdown_timeout=1, on_started=started.set_result))
    port = await started
    async with httpx2.AsyncClient() as client:
        assert (await client.get(f"http://[::1]:{port}/v1/toys")).status_code == 200
        if host == "::":
            assert (await client.get(f"http://127.0.0.1:{port}/v1/toys")).status_code == 200
    task.cancel()
    await asyncio.wait((task,))


async def test_cancelling_it_frees_the_port_and_ends_the_running_requests(app, toybox, serving):
    async with httpx2.AsyncClient() as client:
        async with serving(app) as port:
            running = asyncio.create_task(client.post(f"http://127.0.0.1:{port}/v1/play", json={"text": "x"}))
            await toybox.called.wait()
        assert toybox.cancelled.is_set()
        assert (await running).status_code == 503
    with socket.create_server(("127.0.0.1", port)):
        pass


def test_it_serves_from_another_thread_than_the_main_one(monkeypatch):
    handlers = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    ports: list[int] = []
    started = threading.Event()

    async def run() -> None:
        def on_started(port: int) -> None:
            ports.append(port)
            started.set()

        task = asyncio.create_task(serve(app, host="127.0.0.1", port=0, shutdown_timeout=1, on_started=on_started))
        stop.add_done_callback(lambda _: task.cancel())
        await asyncio.wait((task,))

    loop = new_event_loop()
    stop = loop.create_future()
    thread = threading.Thread(target=loop.run_until_complete, args=(run(),))
    thread.start()
    try:
        assert started.wait(20)
        assert httpx2.get(f"http://127.0.0.1:{ports[0]}/").status_code == 204
        assert handlers == (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM))
    finally:
        loop.call_soon_threadsafe(stop.set_result, None)
        thread.join(20)
        loop.close()


def test_without_uvloop_it_serves_on_the_standard_loop(monkeypatch):
    monkeypatch.setitem(sys.modules, "uvloop", None)
    loop = new_event_loop()
    loop.close()
    assert isinstance(loop, asyncio.SelectorEventLoop)


def test_clients_that_come_at_once_are_all_served_in_a_few_turns_of_the_loop():
    clients, served = 300, []

    async def app(scope, receive, send):
        served.append(scope)
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    async def turns_for_all() -> int:
        port = asyncio.get_running_loop().create_future()
        serving = asyncio.create_task(
            serve(app, host="127.0.0.1", port=0, shutdown_timeout=1, on_started=port.set_result)
        )
        address = ("127.0.0.1", await port)
        sockets = [socket.create_connection(address) for _ in range(clients)]
        for each in sockets:
            each.sendall(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n")
        turns = 0
        while len(served) < clients:
            turns += 1
            await asyncio.sleep(0)
        for each in sockets:
            each.close()
        serving.cancel()
        await asyncio.wait([serving])
        return turns

    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        assert runner.run(turns_for_all()) < clients / 5


async def test_a_request_does_not_inherit_the_scope_of_one_before_it_on_the_connection(serving):
    from llama_conversations.access import AccessScope, current_scope, enter_scope

    seen: list[str] = []

    async def app(scope, receive, send):
        seen.append(current_scope().owner)
        enter_scope(AccessScope(owner="somebody"))
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body"})

    async with serving(app) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n" * 3)  # pipelined
        for _ in range(3):
            await reader.readuntil(b"\r\n\r\n")
        writer.close()
    assert seen == ["default"] * 3
