"""Plain and streamed chat completions of every kind pass through unchanged."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import orjson
import pytest

from llama_conversations_providers.inference.openai_wire.provider import OpenAIInference
from scripted_model import Answer, ScriptedModel
from scripted_model.answers import Step, text
from scripted_model.bodies import chat
from scripted_model.modes import UNICODE_TEXT

TOOLS = [{"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object"}}}]


async def message(provider: OpenAIInference, body: bytes) -> dict[str, object]:
    completion = orjson.loads(await provider.chat_completion(body))
    return completion["choices"][0]["message"]


async def stream(provider: OpenAIInference, body: bytes) -> list[dict[str, object]]:
    return [orjson.loads(chunk) async for chunk in provider.stream_chat_completion(body)]


def streamed(model: str, words: str = "Hello", **more: object) -> bytes:
    return chat(model, words, stream=True, **more)


def texts(chunks: list[dict[str, object]], key: str = "content") -> str:
    return "".join(chunk["choices"][0]["delta"].get(key) or "" for chunk in chunks if chunk["choices"])


def last_finish(chunks: list[dict[str, object]]) -> str:
    return [chunk["choices"][0]["finish_reason"] for chunk in chunks if chunk["choices"]][-1]


async def test_a_plain_completion_is_the_model_servers_own_bytes(provider: OpenAIInference) -> None:
    completion = orjson.loads(await provider.chat_completion(chat("echo", "How are you?")))
    assert completion["object"] == "chat.completion"
    assert completion["choices"][0]["message"]["content"] == "seen=1 last=How are you?"
    assert completion["usage"]["total_tokens"] > 0


async def test_the_body_reaches_the_model_server_byte_for_byte(
    provider: OpenAIInference, model_server: ScriptedModel, tag: str
) -> None:
    body = (
        b' {"messages" : [{"content":"caf\\u00e9 \xe6\xbc\xa2 tag=%b","role":"user"}],\n"model":"echo"} ' % tag.encode()
    )
    await provider.chat_completion(body)
    [request] = model_server.requests(tag=tag)
    assert request.raw.encode() == body


async def test_a_stream_is_the_model_servers_chunks_without_framing(provider: OpenAIInference) -> None:
    chunks = await stream(provider, streamed("echo", "How are you?"))
    assert texts(chunks) == "seen=1 last=How are you?"
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    assert last_finish(chunks) == "stop"


@pytest.mark.parametrize(("asked", "told"), [({"include_usage": True}, True), ({"include_usage": False}, False)])
async def test_usage_comes_last_when_it_is_asked_for(provider: OpenAIInference, asked: object, told: bool) -> None:
    chunks = await stream(provider, streamed("echo", stream_options=asked))
    assert ("usage" in chunks[-1] and chunks[-1]["choices"] == []) is told


async def test_a_model_server_that_tells_no_usage_is_no_error(provider: OpenAIInference) -> None:
    assert "usage" not in orjson.loads(await provider.chat_completion(chat("no-usage")))
    chunks = await stream(provider, streamed("no-usage", stream_options={"include_usage": True}))
    assert all(chunk.get("usage") is None for chunk in chunks)


@pytest.mark.parametrize(
    ("model", "names"),
    [
        ("tool", ["call_paris"]),
        ("parallel-tools", ["call_paris", "call_rome"]),
        ("text-and-tool", ["call_paris"]),
        ("reasoning-tool", ["call_paris"]),
        ("tool-whole", ["call_whole"]),
        ("tool-no-id", [None]),
        ("tool-bad-arguments", ["call_bad"]),
    ],
)
async def test_tool_calls_pass_through(provider: OpenAIInference, model: str, names: list[str | None]) -> None:
    answer = await message(provider, chat(model, tools=TOOLS))
    calls = answer["tool_calls"]
    assert [call.get("id") for call in calls] == names
    chunks = await stream(provider, streamed(model, tools=TOOLS))
    deltas = [call for chunk in chunks for call in chunk["choices"][0]["delta"].get("tool_calls", ())]
    assert [call["id"] for call in deltas if "id" in call] == [name for name in names if name]
    assert last_finish(chunks) == "tool_calls"


async def test_parallel_calls_come_interleaved_as_they_were_sent(provider: OpenAIInference) -> None:
    chunks = await stream(provider, streamed("parallel-tools", tools=TOOLS))
    order = [call["index"] for chunk in chunks for call in chunk["choices"][0]["delta"].get("tool_calls", ())]
    assert order == [0, 1] * 4


async def test_a_call_is_followed_by_words_once_it_has_its_output(provider: OpenAIInference) -> None:
    call = {"id": "call_paris", "type": "function", "function": {"name": "get_weather", "arguments": "{}"}}
    messages = [
        {"role": "user", "content": "Weather?"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_paris", "content": "sunny"},
    ]
    body = orjson.dumps({"model": "tool", "messages": messages, "tools": TOOLS})
    assert (await message(provider, body))["content"] == "The tools said: sunny"


@pytest.mark.parametrize(
    ("model", "key", "words"),
    [
        ("reasoning", "reasoning_content", "Let me think."),
        ("reasoning-alt", "reasoning", "Let me think."),
        ("refusal", "refusal", "I'm sorry, I can't help with that."),
        ("json", "content", '{"city":"Paris","n":1}'),
        ("unicode", "content", UNICODE_TEXT),
        ("length", "content", "Once upon "),
        ("content-filter", "content", "Once upon "),
        ("logprobs", "content", "Hello there"),
        ("no-done", "content", "All said."),
    ],
)
async def test_every_kind_of_output_passes_through(provider: OpenAIInference, model: str, key: str, words: str) -> None:
    assert (await message(provider, chat(model)))[key] == words
    assert texts(await stream(provider, streamed(model)), key) == words


@pytest.mark.parametrize(
    ("model", "reason"), [("length", "length"), ("content-filter", "content_filter"), ("empty", "stop")]
)
async def test_the_reason_to_finish_passes_through(provider: OpenAIInference, model: str, reason: str) -> None:
    completion = orjson.loads(await provider.chat_completion(chat(model)))
    assert completion["choices"][0]["finish_reason"] == reason
    assert last_finish(await stream(provider, streamed(model))) == reason


async def test_chunks_come_as_soon_as_they_are_sent(
    provider: OpenAIInference, model_server: ScriptedModel, tag: str
) -> None:
    chunks = provider.stream_chat_completion(streamed("slow", f"gate={tag}"))
    before = [orjson.loads(await anext(chunks)) for _ in range(2)]
    assert texts(before) == "before "
    model_server.open_gate(tag)
    assert texts([orjson.loads(chunk) async for chunk in chunks]) == "after"


async def test_many_turns_run_at_once(provider: OpenAIInference, model_server: ScriptedModel, tag: str) -> None:
    turns = [asyncio.create_task(message(provider, chat("slow", f"gate={tag} tag={tag}"))) for _ in range(150)]
    await asyncio.to_thread(model_server.requests, tag=tag, count=150)
    model_server.open_gate(tag)
    assert {answer["content"] for answer in await asyncio.gather(*turns)} == {"before after"}


async def test_a_history_of_megabytes_is_sent_whole(
    provider: OpenAIInference, model_server: ScriptedModel, tag: str
) -> None:
    body = chat("json", f"{'long ' * 800_000}tag={tag}")
    await provider.chat_completion(body)
    [request] = model_server.requests(tag=tag)
    assert request.raw.encode() == body


async def test_a_stream_of_thousands_of_chunks_is_whole_however_it_is_cut(
    provider: OpenAIInference, model_server: ScriptedModel, tag: str
) -> None:
    pieces = [f"{number}é " for number in range(3000)]
    model_server.script(Answer(text(*pieces), write_bytes=1009), tag=tag)
    assert texts(await stream(provider, streamed("scripted", f"tag={tag}"))) == "".join(pieces)


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
async def test_any_line_end_and_comments_between_are_understood(
    provider: OpenAIInference, model_server: ScriptedModel, tag: str, line_end: str
) -> None:
    chunk = '{"choices":[{"index":0,"delta":{"content":"hi"},"finish_reason":"stop"}]}'
    lines = [": ping", "", "event: message", "id: 1", f"data: {chunk}", "", "data: [DONE]", "", ""]
    model_server.script(Answer((Step("raw", line_end.join(lines)),), done=False, write_bytes=3), tag=tag)
    assert texts(await stream(provider, streamed("scripted", f"tag={tag}"))) == "hi"


async def test_turns_one_after_another_keep_order_on_one_connection(provider: OpenAIInference) -> None:
    answers = [texts(await stream(provider, streamed("echo", f"number {number}"))) for number in range(20)]
    assert answers == [f"seen=1 last=number {number}" for number in range(20)]
    assert all(earlier != later for earlier, later in pairwise(answers))
