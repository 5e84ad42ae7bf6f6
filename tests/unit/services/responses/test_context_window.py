"""Contexts that do not fit: counted, cut, summed up; by the request of a turn, or on their own."""

from __future__ import annotations

import threading

import orjson
import pytest

from harness.event_stream import JsonObject, check_stream
from llama_conversations.access import DEFAULT_SCOPE
from llama_conversations.errors import (
    ConversationNotFound,
    InvalidParameter,
    ModelNotFound,
    MutuallyExclusiveParameters,
    PromptNotFound,
    UpstreamFailed,
)
from llama_conversations.ids import new_id
from llama_conversations.services.responses import model_wire
from llama_conversations.services.responses.chat_parts import SUMMARY
from llama_conversations.services.responses.chat_wire import ChatWire
from llama_conversations.services.responses.context_window import ANSWER_TOKENS, split_for_compaction
from llama_conversations.services.responses.secrets import COMPACTION, REASONING, SharedSealer
from llama_conversations.wire.items import INPUT_ITEM
from llama_conversations.wire.responses import CompactContext, CountTokens
from unit.services.responses.support import (
    MODEL,
    PROVIDER,
    USAGE,
    Desk,
    MemorySecrets,
    chunk,
    echo,
    end,
    request,
    shown,
    text,
)
from unit.storage.support import prompt

THRESHOLD = 1000


def say(role: str, content: str) -> JsonObject:
    return {"type": "message", "role": role, "content": content}


LONG = [say("user", "one"), say("assistant", "two"), say("user", "three"), say("assistant", "four"), say("user", "now")]


def completion(content: str, **fields: object) -> bytes:
    return orjson.dumps({"choices": [{"message": {"content": content}, "finish_reason": "stop"}], **fields})


async def turn(desk: Desk, **fields: object) -> JsonObject:
    return check_stream(await shown(desk.turn(**{"stream": True} | fields)))


async def routed(desk: Desk, **fields: object) -> JsonObject:
    """A turn whose model is looked up, with its context's length."""
    return check_stream(await desk.events(**fields))


def contents(body: JsonObject) -> list[str]:
    return [message["content"] for message in body["messages"]]


@pytest.fixture
def summing(desk: Desk) -> Desk:
    """A desk whose model counts 5000 tokens, and sums up."""
    desk.model.counts = [5000]
    desk.model.answer = completion("<think>hm</think>They counted.", usage=USAGE)
    return desk


class TestTruncation:
    async def test_the_oldest_exchanges_are_left_out_until_it_fits(self, desk: Desk) -> None:
        desk.models.context_length = 1000
        desk.model.counts = [1000 - ANSWER_TOKENS + 1, 900 - ANSWER_TOKENS]
        running = desk.turn(stream=True, input=LONG, truncation="auto")
        object.__setattr__(running.turn, "model", await desk.models.route(MODEL))
        response = check_stream(await shown(running))
        assert response["truncation"] == "auto"
        assert contents(desk.model.bodies[0]) == ["three", "four", "now"]

    async def test_what_a_summary_stands_for_is_not_dropped_for_it(self, desk: Desk) -> None:
        desk.models.context_length = 1000
        desk.model.counts = [1000 - ANSWER_TOKENS + 1, 900 - ANSWER_TOKENS]
        summary = {"type": "compaction", "encrypted_content": desk.service._sealer.seal("They met.", COMPACTION)}
        after = [say("assistant", "six"), say("user", "seven"), say("assistant", "eight"), say("user", "nine")]
        await routed(desk, input=[*LONG[:4], say("user", "five"), summary, *after], truncation="auto")
        assert contents(desk.model.bodies[0]) == [SUMMARY + "They met.", "seven", "eight", "nine"]

    async def test_the_room_is_what_the_answer_may_not_take(self, desk: Desk) -> None:
        desk.models.context_length, desk.model.counts = 1000, [900]
        for limit, kept in ((100, 5), (101, 3)):
            desk.model.counts = [900, 0]
            running = desk.turn(stream=True, input=LONG, truncation="auto", max_output_tokens=limit)
            object.__setattr__(running.turn, "model", await desk.models.route(MODEL))
            check_stream(await shown(running))
            assert len(contents(desk.model.bodies[-1])) == kept

    async def test_what_can_be_made_no_shorter_is_sent_as_it_is(self, desk: Desk) -> None:
        desk.models.context_length, desk.model.counts = 10, [10_000]
        running = desk.turn(stream=True, input=LONG, truncation="auto")
        object.__setattr__(running.turn, "model", await desk.models.route(MODEL))
        check_stream(await shown(running))
        assert contents(desk.model.bodies[0]) == ["now"]

    async def test_without_the_wish_a_context_that_the_model_server_counts_as_too_long_is_refused(
        self, desk: Desk
    ) -> None:
        desk.models.context_length, desk.model.counts = 1000, [1001]
        question = "x" * 8000
        with pytest.raises(InvalidParameter, match="has 1001 tokens, and the model's context takes 1000") as caught:
            await desk.create(input=question)
        assert (caught.value.code, caught.value.param) == ("context_length_exceeded", "input")
        assert [*desk.model.bodies, *await desk.responses()] == []
        desk.model.counts = [1000]
        assert (await routed(desk, input=question))["status"] == "completed"
        desk.model.counts = [10_000]
        for wish in (
            {"truncation": "auto"},
            {"context_management": [{"type": "compaction", "compact_threshold": 100_000}]},
        ):
            await routed(desk, input=question, **wish)
        desk.models.context_length = None
        await routed(desk, input=question)

    async def test_what_is_likely_to_fit_is_not_counted(self, desk: Desk) -> None:
        desk.models.context_length, desk.model.counts = 1000, [1001]
        for question in ("x" * 800, "words " * 500):
            await routed(desk, input=question)
        assert desk.model.counted == []

    async def test_without_the_wish_what_nobody_can_count_is_refused_for_its_words_alone(self, desk: Desk) -> None:
        desk.models.context_length = 10
        words = [say("user", "w " * 6), {"type": "message", "role": "system", "content": "w " * 5}]
        fits = [say("user", "w" * 500), say("assistant", "w " * 500), say("user", "w " * 9)]
        with pytest.raises(InvalidParameter, match="at least 11 tokens"):
            await desk.create(input=words)
        assert (await routed(desk, input=fits))["status"] == "completed"

    async def test_without_a_known_length_or_the_wish_all_is_sent_and_nothing_counted(self, desk: Desk) -> None:
        await turn(desk, input=LONG, truncation="auto")
        desk.models.context_length = 10
        await turn(desk, input=LONG, truncation="disabled")
        assert [len(contents(body)) for body in desk.model.bodies] == [5, 5]
        assert desk.model.counted == []


class TestCompaction:
    async def test_a_context_past_the_threshold_is_summed_up_and_the_last_question_stays(self, summing: Desk) -> None:
        asked = {"context_management": [{"type": "compaction", "compact_threshold": THRESHOLD}]}
        response = await turn(summing, input=LONG, **asked)
        assert [item["type"] for item in response["output"]] == ["compaction", "message"]
        summed, asked_then = summing.model.bodies
        assert contents(summed)[1:-1] == ["one", "two", "three", "four"]
        assert summed["model"] == "upstream/gpt"
        assert "stream" not in summed
        assert contents(asked_then) == [f"{SUMMARY}They counted.", "now"]
        assert response["usage"]["total_tokens"] == 36
        assert "They counted" not in str(response["output"][0])
        summing.model.counts = [1]
        await turn(summing, previous_response_id=response["id"], input="And?", **asked)
        assert contents(summing.model.bodies[-1]) == [f"{SUMMARY}They counted.", "now", "Hello you", "And?"]

    async def test_a_compacted_context_is_compacted_again_from_its_summary(self, summing: Desk) -> None:
        asked = {"context_management": [{"type": "compaction", "compact_threshold": THRESHOLD}]}
        first = await turn(summing, input=LONG, **asked)
        await turn(summing, previous_response_id=first["id"], input="And?", **asked)
        head, *rest, _ = contents(summing.model.bodies[2])
        assert head.endswith(f"\n\n{SUMMARY}They counted.")
        assert rest == ["now", "Hello you"]

    @pytest.mark.parametrize(
        ("count", "fields"),
        [
            (THRESHOLD - 1, {"context_management": [{"type": "compaction", "compact_threshold": THRESHOLD}]}),
            (5000, {"context_management": [{"type": "compaction", "compact_threshold": 100_000}]}),
            (5000, {}),
            (5000, {"input": "Hi", "context_management": [{"type": "compaction", "compact_threshold": THRESHOLD}]}),
        ],
    )
    async def test_below_the_threshold_or_without_one_or_anything_old_nothing_is_summed_up(
        self, summing: Desk, count: int, fields: JsonObject
    ) -> None:
        summing.model.counts = [count]
        response = await turn(summing, **{"input": LONG} | fields)
        assert [item["type"] for item in response["output"]] == ["message"]
        assert len(summing.model.bodies) == 1

    async def test_at_the_threshold_it_is_summed_up_and_the_lowest_one_counts(self, summing: Desk) -> None:
        summing.model.counts = [THRESHOLD]
        thresholds = [{"type": "compaction", "compact_threshold": n} for n in (9000, THRESHOLD)]
        response = await turn(summing, input=LONG, context_management=[*thresholds, {"type": "compaction"}])
        assert response["output"][0]["type"] == "compaction"

    async def test_a_summary_that_fails_fails_the_turn(self, summing: Desk) -> None:
        summing.model.answer = UpstreamFailed(PROVIDER, "It broke.")
        asked = {"context_management": [{"type": "compaction", "compact_threshold": THRESHOLD}]}
        response = check_stream(await shown(summing.turn(stream=True, input=LONG, **asked)))
        assert (response["status"], response["output"]) == ("failed", [])

    def test_what_the_user_said_last_is_not_summed_up(self) -> None:
        for kept in range(3):
            written = [*LONG[:4], *(say("user", str(n)) for n in range(kept))]
            old, new = split_for_compaction([INPUT_ITEM.validate_python(item) for item in written])
            assert (len(old), len(new)) == (4, kept)


class TestCounting:
    async def count(self, desk: Desk, **fields: object) -> tuple[int, bool]:
        answer = await desk.service.count_input_tokens(CountTokens.model_validate({"model": MODEL} | fields))
        body = orjson.loads(answer.body)
        assert body["object"] == "response.input_tokens"
        return body["input_tokens"], bool(answer.headers)

    async def test_the_model_servers_count_is_told_and_an_estimate_as_such(self, desk: Desk) -> None:
        counted, estimated = await self.count(desk, input="Hi", instructions="Be kind.")
        assert counted > 5
        assert estimated
        desk.model.counts = [42]
        assert await self.count(desk, input="Hi", instructions="Be kind.") == (42, False)
        assert contents(desk.model.counted[-1]) == ["Be kind.", "Hi"]

    async def test_what_is_counted_is_what_a_turn_would_send(self, desk: Desk) -> None:
        conversation_id = await desk.conversation(say("user", "Earlier"), say("assistant", "Said"))
        tools = [{"type": "function", "name": "look"}]
        schema = {"format": {"type": "json_schema", "name": "a", "schema": {"type": "object"}}}
        fields = {"input": "Hi", "conversation": conversation_id, "tools": tools, "text": schema}
        await self.count(desk, **fields)
        response = await turn(desk, **fields)
        sent = {key: value for key, value in desk.model.bodies[0].items() if not key.startswith("stream")}
        assert desk.model.counted[0] == sent
        await self.count(desk, previous_response_id=response["id"])
        assert contents(desk.model.counted[1]) == ["Earlier", "Said", "Hi", "Hello you"]

    async def test_what_cannot_be_counted_is_refused(self, desk: Desk) -> None:
        with pytest.raises(InvalidParameter) as found:
            await desk.service.count_input_tokens(CountTokens(input="Hi"))
        assert found.value.param == "model"
        with pytest.raises(ConversationNotFound):
            await self.count(desk, conversation=new_id("conv"))
        with pytest.raises(MutuallyExclusiveParameters):
            await self.count(desk, conversation=new_id("conv"), previous_response_id=new_id("resp"))
        desk.models.unknown = {"gone"}
        with pytest.raises(ModelNotFound):
            await self.count(desk, model="gone")


class TestCompactingOnRequest:
    async def compact(self, desk: Desk, **fields: object) -> JsonObject:
        answer = await desk.service.compact_context(CompactContext.model_validate({"model": MODEL} | fields))
        body: JsonObject = orjson.loads(answer.body)
        assert answer.parse().id == body["id"]
        return body

    async def test_the_answer_is_a_context_that_a_turn_goes_on_from(self, summing: Desk) -> None:
        body = await self.compact(summing, input=LONG, instructions="Keep names.")
        assert [item["type"] for item in body["output"]] == ["message", "compaction"]
        assert body["output"][0]["content"][0]["text"] == "now"
        assert body["usage"]["total_tokens"] == 18
        assert contents(summing.model.bodies[0])[0].endswith("Keep names.")
        await turn(summing, input=[*body["output"], say("user", "And?")])
        assert contents(summing.model.bodies[-1]) == [f"{SUMMARY}They counted.", "now", "And?"]

    async def test_a_response_is_compacted_with_all_before_it(self, summing: Desk) -> None:
        response = await turn(summing, input=LONG)
        body = await self.compact(summing, previous_response_id=response["id"])
        assert contents(summing.model.bodies[-1])[1:-1] == ["one", "two", "three", "four", "now", "Hello you"]
        assert [item["type"] for item in body["output"]] == ["compaction"]

    async def test_questions_alone_are_summed_up_and_stay(self, summing: Desk) -> None:
        body = await self.compact(summing, input="Why?")
        assert contents(summing.model.bodies[0])[1:-1] == ["Why?"]
        assert [item["type"] for item in body["output"]] == ["message", "compaction"]

    async def test_a_server_that_counts_nothing_costs_nothing(self, summing: Desk) -> None:
        summing.model.answer = completion("Short.")
        assert (await self.compact(summing, input="Why?"))["usage"]["total_tokens"] == 0

    async def test_nothing_cannot_be_compacted(self, summing: Desk) -> None:
        for empty in ("", [], None):
            with pytest.raises(InvalidParameter) as found:
                await self.compact(summing, input=empty)
            assert found.value.param == "input"


class TestSealing:
    async def test_processes_of_one_stack_read_what_either_sealed_and_no_other_does(self) -> None:
        store = MemorySecrets()
        one, two, stranger = SharedSealer(store), SharedSealer(store), SharedSealer(MemorySecrets())
        for sealer in (one, two, stranger):
            await sealer.initialize()
        token = one.seal("größe", COMPACTION)
        assert two.unsealer(COMPACTION)(token) == "größe"
        assert stranger.unsealer(COMPACTION)(token) is None
        assert two.unsealer(REASONING)(token) is None

    def test_a_sealer_without_its_key_is_a_fault_of_ours(self) -> None:
        with pytest.raises(RuntimeError, match="before it is initialized"):
            SharedSealer(MemorySecrets()).seal("a", COMPACTION)

    async def test_a_request_is_kept_as_it_is_unless_it_holds_credentials(self) -> None:
        sealer = SharedSealer(MemorySecrets())
        await sealer.initialize()
        server = {"type": "mcp", "server_label": "x", "server_url": "http://t"}
        for secret, tools in (
            (False, None),
            (False, [server, {"type": "function", "name": "f"}]),
            (True, [server | {"authorization": "token"}]),
            (True, [server | {"headers": {"X-Key": "token"}}]),
        ):
            asked = request(tools=tools)
            kept = sealer.seal_request(asked)
            assert ("token" in kept, "http://t" in kept) == (False, not secret and tools is not None)
            assert sealer.unseal_request(kept) == asked

    async def test_thoughts_are_sealed_where_that_is_asked_for_and_shown_alike_in_events_and_output(
        self, desk: Desk
    ) -> None:
        desk.model.script = [chunk(reasoning="hm"), text("a"), end()]
        include = ["reasoning.encrypted_content"]
        for reasoning in ({}, {"summary": "auto"}):
            response = await turn(
                desk, include=include, reasoning=reasoning
            )  # the stream is checked against the output
            sealed = response["output"][0]["encrypted_content"]
            assert desk.service._sealer.unsealer(REASONING)(sealed) == "hm"
        assert "encrypted_content" not in (await turn(desk))["output"][0]

    async def test_a_compaction_that_this_stack_did_not_seal_is_left_out(self, desk: Desk) -> None:
        await turn(desk, input=[{"type": "compaction", "encrypted_content": "gAAA"}, say("user", "Hi")])
        assert contents(desk.model.bodies[0]) == ["Hi"]


class TestPrompts:
    async def test_a_stored_prompt_speaks_before_the_instructions(self, desk: Desk) -> None:
        await desk.storage.prompts.create(DEFAULT_SCOPE, prompt("pmpt_1"))
        asked = {"id": "pmpt_1", "variables": {"name": "Ann"}}
        response = await turn(desk, prompt=asked, instructions="Be kind.")
        assert contents(desk.model.bodies[0]) == ["v1 Ann\n\nBe kind.", "Hi"]
        assert response["prompt"] == asked

    async def test_a_prompt_with_an_image_is_a_users_message(self, desk: Desk) -> None:
        await desk.storage.prompts.create(DEFAULT_SCOPE, prompt("pmpt_1"))
        image = {"type": "input_image", "image_url": "https://x/y.png"}
        await turn(desk, prompt={"id": "pmpt_1", "version": "1", "variables": {"name": image}}, input=[])
        [message] = desk.model.bodies[0]["messages"]
        assert message["role"] == "user"
        assert [part["type"] for part in message["content"]] == ["text", "image_url"]

    @pytest.mark.parametrize(
        ("asked", "param"),
        [
            ({"id": "pmpt_1", "version": "x", "variables": {"name": "a"}}, "prompt.version"),
            ({"id": "pmpt_1"}, "prompt.variables.name"),
            ({"id": "pmpt_1", "variables": {"name": "a", "other": "b"}}, "prompt.variables.other"),
        ],
    )
    async def test_a_prompt_that_cannot_be_filled_is_refused_before_any_event(
        self, desk: Desk, asked: JsonObject, param: str
    ) -> None:
        await desk.storage.prompts.create(DEFAULT_SCOPE, prompt("pmpt_1"))
        with pytest.raises(InvalidParameter) as found:
            await turn(desk, prompt=asked)
        assert found.value.param == param
        assert await desk.responses() == []

    async def test_an_unknown_prompt_or_version_is_refused_before_any_event(self, desk: Desk) -> None:
        await desk.storage.prompts.create(DEFAULT_SCOPE, prompt("pmpt_1"))
        for asked in ({"id": "pmpt_2"}, {"id": "pmpt_1", "version": "2", "variables": {"name": "a"}}):
            with pytest.raises(PromptNotFound):
                await turn(desk, prompt=asked)


async def test_files_are_read_off_the_loop_and_other_contexts_on_it(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[bool] = []
    wire = ChatWire
    write = wire.request

    def noted(*arguments: object, **options: object) -> bytes:
        threads.append(threading.current_thread() is threading.main_thread())
        return write(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(wire, "request", noted)
    file = {"type": "input_file", "filename": "a.txt", "file_data": "data:text/plain;base64,SGVsbG8="}
    await turn(desk, input="Hi")
    assert threads == [True]  # what was written to see whether it can be sent is what is sent
    for item in (
        {"type": "message", "role": "user", "content": [file]},
        {"type": "function_call_output", "call_id": "a", "output": [file]},
    ):
        threads.clear()
        called = {"type": "function_call", "call_id": "a", "name": "f", "arguments": "{}"}
        await turn(desk, input=[called, item] if item["type"] != "message" else [item])
        assert threads == [False]
        assert "Hello" in str(desk.model.bodies[-1]["messages"])
    assert model_wire._FILE_READERS._max_workers == 2


async def test_to_count_a_context_no_tool_server_is_asked(desk: Desk) -> None:
    desk.tools.add("echo", echo)
    tool = {"type": "mcp", "server_label": "box", "server_url": "http://t"}
    await desk.service.count_input_tokens(CountTokens.model_validate({"model": MODEL, "input": "Hi", "tools": [tool]}))
    assert desk.tools.seen == []
