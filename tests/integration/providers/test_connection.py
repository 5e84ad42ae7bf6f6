"""Addresses, headers, certificates, proxies; models and health."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from llama_conversations.apis.inference import Inference, ProviderModel
from llama_conversations.errors import ConfigError, UpstreamError, UpstreamGarbled, UpstreamUnreachable
from llama_conversations.stack.provider_spec import ProviderContext
from llama_conversations_providers.inference.openai_wire.config import OpenAIConfig
from llama_conversations_providers.inference.openai_wire.provider import OpenAIInference, create
from scripted_model import ScriptedModel
from scripted_model.bodies import chat
from scripted_model.raw import RawServer, http
from scripted_model.server import ALL_MODELS

Connect = Callable[..., Awaitable[OpenAIInference]]
RawServers = Callable[..., Awaitable[tuple[str, RawServer]]]

CERTIFICATES = Path(__file__).parent / "certificates"
COMPLETION = http(b'{"choices": []}')


def server_tls(*, client_authority: str | None = None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATES / "server.pem")
    if client_authority is not None:
        context.load_verify_locations(CERTIFICATES / client_authority)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


async def ask(provider: OpenAIInference) -> UpstreamError | None:
    try:
        await provider.chat_completion(chat("any"))
    except UpstreamError as error:
        return error
    return None


async def test_it_is_an_inference_provider(provider: OpenAIInference) -> None:
    assert isinstance(provider, Inference)


async def test_key_and_headers_are_sent_with_every_request(
    connect: Connect, model_server: ScriptedModel, tag: str
) -> None:
    provider = await connect(api_key="sk-x", headers={"X-Team": "blue", "user-agent": "mine"})
    await provider.chat_completion(chat("echo", f"tag={tag}"))
    [request] = model_server.requests(tag=tag)
    assert request.header("Authorization") == "Bearer sk-x"
    assert request.header("X-Team") == "blue"
    assert request.header("User-Agent") == "mine"
    assert request.header("Content-Type") == "application/json"
    assert request.header("Cookie") is None


async def test_a_configured_authorization_replaces_the_key(
    connect: Connect, model_server: ScriptedModel, tag: str
) -> None:
    provider = await connect(api_key="sk-x", headers={"authorization": "Basic abc"})
    await provider.chat_completion(chat("echo", f"tag={tag}"))
    [request] = model_server.requests(tag=tag)
    assert [value for name, value in request.headers.items() if name.lower() == "authorization"] == ["Basic abc"]


async def test_without_key_no_authorization_is_sent(connect: Connect, model_server: ScriptedModel, tag: str) -> None:
    provider = await connect(api_key=None)
    await provider.chat_completion(chat("echo", f"tag={tag}"))
    [request] = model_server.requests(tag=tag)
    assert request.header("Authorization") is None
    assert request.header(
        "User-Agent",
    ).startswith("llama-conversations/")


async def test_cookies_are_not_kept(connect: Connect, raw_server: RawServers) -> None:
    address, raw = await raw_server(http(b'{"choices": []}', "200 OK", "application/json", "Set-Cookie: a=b"))
    provider = await connect(base_url=address)
    for _ in range(2):
        await provider.chat_completion(chat("any"))
    assert not any(b"cookie" in request.lower() for request in raw.requests)


async def test_one_connection_serves_turn_after_turn(connect: Connect, raw_server: RawServers) -> None:
    address, raw = await raw_server(COMPLETION)
    provider = await connect(base_url=address)
    for _ in range(10):
        await provider.chat_completion(chat("any"))
    assert raw.connections == 1


async def test_paths_and_query_of_the_base_url_are_kept(connect: Connect, raw_server: RawServers) -> None:
    address, raw = await raw_server(COMPLETION)
    provider = await connect(base_url=address.removesuffix("/v1") + "/openai/deploy%20ment/?api-version=1")
    await provider.chat_completion(chat("any"))
    assert raw.requests[0].startswith(b"POST /openai/deploy%20ment/chat/completions?api-version=1 HTTP/1.1")


async def test_a_closed_port_is_unreachable(connect: Connect) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: refused
        provider = await connect(base_url=f"http://127.0.0.1:{taken.getsockname()[1]}/v1", max_retries=0)
        error = await ask(provider)
    assert isinstance(error, UpstreamUnreachable)
    assert "127.0.0.1" not in error.message


async def test_a_name_that_does_not_exist_is_unreachable(connect: Connect) -> None:
    provider = await connect(base_url="http://no-such-host.invalid/v1", max_retries=0)
    error = await ask(provider)
    assert isinstance(error, UpstreamUnreachable)
    assert "invalid" not in error.message


async def test_a_port_that_does_not_answer_is_unreachable_in_time(connect: Connect) -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        queued = []
        for _ in range(8):  # fill the queue of connections that nobody accepts
            client = socket.socket()
            client.setblocking(False)
            client.connect_ex(full.getsockname())
            queued.append(client)
        address = f"http://127.0.0.1:{full.getsockname()[1]}/v1"
        provider = await connect(base_url=address, max_retries=0, timeouts={"connect_seconds": 0.2})
        error = await ask(provider)
        for client in queued:
            client.close()
    assert isinstance(error, UpstreamUnreachable)


async def test_an_untrusted_certificate_is_refused_and_not_tried_again(
    connect: Connect, raw_server: RawServers
) -> None:
    address, raw = await raw_server(COMPLETION, tls=server_tls())
    error = await ask(await connect(base_url=address))
    assert isinstance(error, UpstreamUnreachable)
    assert "TLS" in error.message
    assert raw.requests == []


async def test_a_certificate_of_a_given_authority_is_trusted(connect: Connect, raw_server: RawServers) -> None:
    address, _ = await raw_server(COMPLETION, tls=server_tls())
    assert await ask(await connect(base_url=address, tls={"ca_file": CERTIFICATES / "authority.pem"})) is None


async def test_a_given_authority_replaces_all_others(connect: Connect, raw_server: RawServers) -> None:
    address, _ = await raw_server(COMPLETION, tls=server_tls())
    provider = await connect(base_url=address, tls={"ca_file": CERTIFICATES / "client_authority.pem"})
    assert isinstance(await ask(provider), UpstreamUnreachable)


@pytest.mark.parametrize("more", [{}, {"client_cert": CERTIFICATES / "client.pem"}])
async def test_checking_can_be_switched_off(connect: Connect, raw_server: RawServers, more: dict[str, Path]) -> None:
    address, _ = await raw_server(COMPLETION, tls=server_tls())
    assert await ask(await connect(base_url=address, tls={"verify": "false", **more})) is None


async def test_a_client_certificate_is_shown_where_one_is_asked_for(connect: Connect, raw_server: RawServers) -> None:
    address, _ = await raw_server(COMPLETION, tls=server_tls(client_authority="client_authority.pem"))
    trusting = {"ca_file": CERTIFICATES / "authority.pem"}
    assert await ask(await connect(base_url=address, tls=trusting, max_retries=0)) is not None
    showing = trusting | {"client_cert": CERTIFICATES / "client.pem"}
    assert await ask(await connect(base_url=address, tls=showing)) is None


@pytest.mark.parametrize("key", ["ca_file", "client_cert"])
@pytest.mark.parametrize("content", [None, "no certificate at all"])
def test_a_certificate_file_that_cannot_be_used_is_named(key: str, content: str | None, tmp_path: Path) -> None:
    path = tmp_path / "file.pem"
    if content is not None:
        path.write_text(content)
    config = OpenAIConfig.model_validate({"tls": {key: path}})
    with pytest.raises(ConfigError) as caught:
        create(ProviderContext("gpu", config, {}))
    [problem] = caught.value.problems
    assert (caught.value.source, problem.path) == ("provider 'gpu'", f"tls.{key}")
    assert str(path) in problem.message


async def test_a_proxy_of_the_environment_is_used(
    connect: Connect, raw_server: RawServers, monkeypatch: pytest.MonkeyPatch
) -> None:
    address, raw = await raw_server(COMPLETION)
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(name, address.removesuffix("/v1"))
    monkeypatch.setenv("no_proxy", "elsewhere.example")
    assert await ask(await connect(base_url="http://models.example/v1")) is None
    assert raw.requests[0].startswith(b"POST http://models.example/v1/chat/completions")


@pytest.mark.parametrize("excepted", ["127.0.0.1", "localhost", "models.localhost", "models.example"])
async def test_this_machine_and_exceptions_need_no_proxy(
    connect: Connect, monkeypatch: pytest.MonkeyPatch, excepted: str
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("no_proxy", "models.example")
    provider = await connect(base_url=f"http://{excepted}/v1")
    assert provider._transport._session._default_proxy is None


async def test_all_models_of_the_server_are_listed(connect: Connect) -> None:
    models = await (await connect()).list_models()
    assert [model.id for model in models] == list(ALL_MODELS)
    assert models[0] == ProviderModel("echo", 1_700_000_000, "scripted", None)


async def test_only_configured_models_are_listed(connect: Connect) -> None:
    models = await (await connect(models=["tool", "echo", "unknown"])).list_models()
    assert [model.id for model in models] == ["echo", "tool"]


async def test_without_discovery_the_configured_models_are_taken_on_trust(connect: Connect) -> None:
    provider = await connect(base_url="http://127.0.0.1:1/v1", discover_models=False, models="a,b")
    assert await provider.list_models() == [ProviderModel("a"), ProviderModel("b")]
    assert await (await connect(discover_models=False)).list_models() == []


async def test_a_list_that_is_none_is_garbled(connect: Connect, raw_server: RawServers) -> None:
    address, _ = await raw_server(http(b"<html></html>", "200 OK", "text/html"))
    with pytest.raises(UpstreamGarbled):
        await (await connect(base_url=address)).list_models()


async def test_a_server_that_answers_is_healthy(provider: OpenAIInference) -> None:
    assert (await provider.health()).status == "ok"


async def test_a_server_that_is_away_is_not_healthy_and_health_does_not_raise(connect: Connect) -> None:
    health = await (await connect(base_url="http://127.0.0.1:1/v1")).health()
    assert (health.status, health.message) == ("error", "The model server could not be reached.")


@pytest.mark.parametrize("status", ["401 Unauthorized", "404 Not Found", "503 Unavailable", "302 Found"])
async def test_a_server_that_refuses_is_not_healthy(connect: Connect, raw_server: RawServers, status: str) -> None:
    address, raw = await raw_server(http(b"{}", status))
    health = await (await connect(base_url=address)).health()
    assert health.status == "error"
    assert status[:3] in str(health.message)
    assert len(raw.requests) == 1


async def test_without_discovery_any_answer_but_a_denial_is_healthy(connect: Connect, raw_server: RawServers) -> None:
    address, _ = await raw_server(http(b"{}", "404 Not Found"), http(b"{}", "401 Unauthorized"))
    provider = await connect(base_url=address, discover_models=False)
    assert (await provider.health()).status == "ok"
    assert (await provider.health()).status == "error"


async def test_a_server_that_keeps_silent_is_not_healthy(
    connect: Connect, raw_server: RawServers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llama_conversations_providers.inference.openai_wire.provider.HEALTH_SECONDS", 0.1)
    address, _ = await raw_server(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n")
    health = await (await connect(base_url=address)).health()
    assert (health.status, health.message) == ("error", "The model server did not answer in time.")


async def test_health_does_not_raise_whatever_happens(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    provider = await connect()

    async def probe(seconds: float) -> None:
        raise RuntimeError("a fault of our own")

    monkeypatch.setattr(provider._transport, "probe", probe)
    health = await provider.health()
    assert (health.status, health.message) == ("error", "the check itself failed: RuntimeError")
