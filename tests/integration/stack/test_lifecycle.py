"""A stack opens as one and closes as one."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import pytest

from integration.stack.recording import Journal, fresh_journal, recording_stack, spec
from llama_conversations.apis.catalog import Inspect, Models
from llama_conversations.apis.chat import ChatCompletions
from llama_conversations.apis.conversations import Conversations
from llama_conversations.apis.inference import Inference
from llama_conversations.apis.responses import Responses
from llama_conversations.errors import ConfigError, ConversationNotFound, StorageUnavailable
from llama_conversations.services.conversations import ConversationServiceImpl
from llama_conversations.stack.known_apis import SERVICE_APIS
from llama_conversations.wire.answers import Json
from llama_conversations.wire.conversations import CreateConversation
from llama_conversations.wire.responses import CreateResponse


@pytest.fixture
def journal() -> Journal:
    return fresh_journal()


async def test_providers_open_in_order_and_close_in_reverse(tmp_path: Path, journal: Journal) -> None:
    async with recording_stack(tmp_path, a={}, b={}, c={}) as stack:
        assert journal.entries == ["open a", "open b", "open c"]
        assert [provider.provider_id for provider in stack.providers] == ["a", "b", "c"]
        assert await stack.model_names() == {"a": ["a-model"], "b": ["b-model"], "c": ["c-model"]}
    assert journal.entries[3:] == ["close c", "close b", "close a"]


async def test_a_start_that_fails_closes_what_it_opened_in_reverse_and_says_what_failed(
    tmp_path: Path, journal: Journal
) -> None:
    stack = recording_stack(tmp_path, a={}, b={}, c={"fails_to_open": True}, d={})
    with pytest.raises(OSError, match="c is out of order") as caught:
        await stack.initialize()
    assert journal.entries == ["open a", "open b", "close b", "close a"]
    assert caught.value.__notes__ == ["while provider 'c' (inline::recording) was opened"]


async def test_a_start_that_fails_leaves_the_database_free(tmp_path: Path, journal: Journal) -> None:
    with pytest.raises(OSError, match="out of order"):
        await recording_stack(tmp_path, a={"fails_to_open": True}).initialize()
    with sqlite3.connect(tmp_path / "state.db", timeout=0) as connection:
        connection.execute("BEGIN EXCLUSIVE")
    connection.close()


async def test_a_start_that_is_cancelled_closes_what_it_opened(
    tmp_path: Path, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = asyncio.Event()

    async def hang(_: object) -> None:
        begun.set()
        await asyncio.Event().wait()

    monkeypatch.setattr("llama_conversations.services.models.ModelsServiceImpl.initialize", hang)
    start = asyncio.create_task(recording_stack(tmp_path, a={}).initialize())
    await begun.wait()
    start.cancel()
    with pytest.raises(asyncio.CancelledError):
        await start
    assert journal.entries == ["open a", "close a"]


async def test_a_database_that_cannot_be_opened_is_told_and_no_provider_is_opened(
    tmp_path: Path, journal: Journal
) -> None:
    (tmp_path / "state.db").write_text("no database " * 100)
    with pytest.raises(StorageUnavailable):
        await recording_stack(tmp_path, a={}).initialize()
    assert journal.entries == []


async def test_a_provider_that_fails_or_hangs_when_it_closes_keeps_nothing_from_closing(
    tmp_path: Path, journal: Journal, caplog: pytest.LogCaptureFixture
) -> None:
    providers = {"a": {}, "b": {"fails_to_close": True}, "c": {"never_closes": True}}
    stack = recording_stack(tmp_path, shutdown_seconds=0.5, **providers)
    await stack.initialize()
    async with asyncio.timeout(5):
        await stack.shutdown()
    assert journal.entries[3:] == ["close c", "close b", "close a"]
    assert "provider 'c' did not close within 0.5 seconds" in caplog.text
    assert "provider 'b' failed to close: it is stuck" in caplog.text


async def test_shutting_down_again_or_before_the_start_does_nothing(tmp_path: Path, journal: Journal) -> None:
    stack = recording_stack(tmp_path, a={})
    await stack.shutdown()
    await stack.initialize()
    await asyncio.gather(stack.shutdown(), stack.shutdown())
    await stack.shutdown()
    assert journal.entries == ["open a", "close a"]


async def test_a_stack_opens_once(tmp_path: Path, journal: Journal) -> None:
    async with recording_stack(tmp_path, a={}) as stack:
        with pytest.raises(RuntimeError, match="once"):
            await stack.initialize()
        assert journal.entries == ["open a"]


async def test_running_turns_end_before_their_provider_is_closed(tmp_path: Path, journal: Journal) -> None:
    stack = recording_stack(tmp_path, a={"waits_with_answer": True})
    await stack.initialize()
    conversation = (await stack.get(Conversations).create_conversation()).parse()
    request = CreateResponse.model_validate(
        {"model": "a-model", "input": "hi", "conversation": conversation.id, "store": True}
    )
    turn = asyncio.create_task(stack.get(Responses).create_response(request))
    await journal.called.wait()
    closing = asyncio.create_task(stack.shutdown())
    await asyncio.wait([closing], timeout=0.05)
    assert journal.entries == ["open a", "called a"]
    journal.answer.set()
    await closing
    assert journal.entries == ["open a", "called a", "answered by a", "close a"]
    answer = await turn
    assert isinstance(answer, Json)
    assert b"at last" in answer.body
    async with recording_stack(tmp_path, a={}) as again:
        items = await again.get(Conversations).list_items(conversation.id, order="asc")
        assert [item["role"] for item in items.parse().model_dump()["data"]] == ["user", "assistant"]


async def test_implementations_are_looked_up_by_their_protocol(tmp_path: Path, journal: Journal) -> None:
    async with recording_stack(tmp_path, a={}) as stack:
        conversations: Conversations = stack.get(Conversations)
        assert isinstance(conversations, ConversationServiceImpl)
        with pytest.raises(ConversationNotFound):
            await conversations.get_conversation("conv_x")
        assert dict(stack.bindings()) == {protocol: stack.get(protocol) for protocol in SERVICE_APIS.values()}


async def test_what_is_no_api_of_the_stack_or_not_open_yet_is_not_found(tmp_path: Path, journal: Journal) -> None:
    stack = recording_stack(tmp_path, a={})
    for look_up in (lambda: stack.get(Models), stack.bindings, lambda: stack.location):
        with pytest.raises(LookupError, match="not open"):
            look_up()
    with pytest.raises(LookupError, match="not open"):
        await stack.model_names()
    async with stack:
        assert stack.location == str(tmp_path / "state.db")
        for other in (Inference, int):
            with pytest.raises(LookupError, match="is not an API"):
                stack.get(other)


async def test_a_provider_gets_what_it_depends_on(tmp_path: Path, journal: Journal) -> None:
    async with recording_stack(tmp_path, spec("needy", needs=("conversations", "models")), a={}) as stack:
        [context] = journal.contexts
        assert context.provider_id == "a"
        assert context.dependencies == {"conversations": stack.get(Conversations), "models": stack.get(Models)}


@pytest.mark.parametrize(
    ("factory", "reason"),
    [
        ("nowhere_at_all:make", "cannot be loaded: No module named 'nowhere_at_all'"),
        ("integration.stack.recording:nothing", "has no attribute 'nothing'"),
        ("integration.stack.recording:make_nothing_of_use", "does not implement Inference: NoInference lacks"),
    ],
)
async def test_a_provider_that_does_not_keep_its_spec_s_promise_is_an_error_that_names_its_place(
    tmp_path: Path, journal: Journal, factory: str, reason: str
) -> None:
    with pytest.raises(ConfigError, match=reason) as caught:
        await recording_stack(tmp_path, spec("broken", factory), a={}).initialize()
    assert caught.value.problems[0].path == "providers.inference[0]"


async def test_state_outlives_the_stack(tmp_path: Path, journal: Journal) -> None:
    async with recording_stack(tmp_path, a={}) as stack:
        made = await stack.get(Conversations).create_conversation(CreateConversation(metadata={"k": "v"}))
    async with recording_stack(tmp_path, a={}) as stack:
        kept = await stack.get(Conversations).get_conversation(made.parse().id)
        assert kept.parse().metadata == {"k": "v"}


async def test_a_model_server_that_is_down_at_start_still_has_the_models_it_had(
    tmp_path: Path, journal: Journal
) -> None:
    async with recording_stack(tmp_path, a={}, b={}) as stack:
        await stack.model_names()
    async with recording_stack(tmp_path, a={}, b={"lists_no_models": True}) as stack:
        assert await stack.model_names() == {"a": ["a-model"], "b": ["b-model"]}
    async with recording_stack(tmp_path, a={}) as stack:
        assert await stack.model_names() == {"a": ["a-model"]}


async def test_a_stack_without_providers_serves_conversations(tmp_path: Path) -> None:
    async with recording_stack(tmp_path) as stack:
        assert (await stack.get(Conversations).create_conversation()).parse().id
        assert (await stack.get(Models).list_models()).parse().data == []
        assert (await stack.get(Inspect).health()).body == b'{"status":"ok"}'
        assert stack.get(ChatCompletions)
