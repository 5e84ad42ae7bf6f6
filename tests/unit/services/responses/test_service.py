"""The Responses API over its engine: create, retrieve, list, delete."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from llama_conversations.errors import (
    ConversationNotFound,
    CursorNotFound,
    ModelNotFound,
    MutuallyExclusiveParameters,
    PreviousResponseNotFound,
    ResponseNotFound,
    UpstreamGarbled,
)
from llama_conversations.ids import new_id, partition_in
from llama_conversations.services.models import ModelRouter, RoutedModel
from llama_conversations.services.responses.service import ResponsesServiceImpl, TurnSettings
from llama_conversations.wire.answers import EventStream, Json
from unit.services.responses.support import (
    MODEL,
    NO_TOOLS,
    Desk,
    OneModel,
    ScriptedModel,
    open_desk,
    request,
    stores_of,
)


class NoModel(ModelRouter):
    async def route(self, model: str) -> RoutedModel:
        raise ModelNotFound(model)


def completion(**message: object) -> bytes:
    return orjson.dumps({"choices": [{"message": {"content": "Hello you", **message}, "finish_reason": "stop"}]})


@pytest.fixture
def answering(desk: Desk) -> Desk:
    desk.model.answer = completion()
    return desk


async def test_an_answer_is_a_response_or_a_stream_as_was_asked(answering: Desk) -> None:
    for stream in (None, False):
        answer = await answering.service.create_response(request(stream=stream))
        assert isinstance(answer, Json)
        assert answer.parse().status == "completed"
    streamed = await answering.service.create_response(request(stream=True))
    assert isinstance(streamed, EventStream)
    await streamed.frames.aclose()


async def test_what_was_created_is_what_is_retrieved(answering: Desk) -> None:
    created = await answering.create()
    found = await answering.service.get_response(created["id"])
    assert orjson.loads(found.body) == created


async def test_a_null_store_means_true(answering: Desk) -> None:
    created = await answering.create(store=None)
    assert created["store"] is True
    assert await answering.retrieved(created["id"]) == created


async def test_a_deleted_response_is_gone(answering: Desk) -> None:
    created = await answering.create()
    deleted = await answering.service.delete_response(created["id"])
    assert orjson.loads(deleted.body) == {"id": created["id"], "object": "response.deleted", "deleted": True}
    for call in (answering.service.delete_response, answering.service.get_response):
        with pytest.raises(ResponseNotFound):
            await call(created["id"])


async def test_responses_are_listed_with_their_output(answering: Desk) -> None:
    created = [await answering.create(model=model) for model in ("a", "b", "a")]
    page = orjson.loads((await answering.service.list_responses(limit=2)).body)
    assert page["data"] == created[:0:-1]
    assert (page["first_id"], page["last_id"], page["has_more"]) == (created[2]["id"], created[1]["id"], True)
    of_a = orjson.loads((await answering.service.list_responses(model="a", order="asc")).body)
    assert of_a["data"] == [created[0], created[2]]
    with pytest.raises(MutuallyExclusiveParameters):
        await answering.service.list_responses(after="a", before="b")
    with pytest.raises(CursorNotFound):
        await answering.service.list_responses(after=new_id("resp"))


async def test_a_response_belongs_to_the_partition_of_what_it_continues(answering: Desk) -> None:
    conversation_id = await answering.conversation()
    within = await answering.create(conversation=conversation_id)
    assert partition_in(within["id"]) == partition_in(conversation_id) == partition_in(within["output"][0]["id"])
    alone = await answering.create()
    assert partition_in(alone["id"]) != partition_in(conversation_id)
    after = await answering.create(previous_response_id=alone["id"])
    assert partition_in(after["id"]) == partition_in(alone["id"])


async def test_an_unknown_model_is_told_after_what_the_turn_would_continue(desk: Desk) -> None:
    service = ResponsesServiceImpl(stores_of(desk.storage), NoModel(), NO_TOOLS, TurnSettings())
    for error, fields in (
        (ModelNotFound, {}),
        (ConversationNotFound, {"conversation": new_id("conv")}),
        (ModelNotFound, {"conversation": await desk.conversation()}),
        (PreviousResponseNotFound, {"previous_response_id": new_id("resp")}),
    ):
        with pytest.raises(error):
            await service.create_response(request(**fields))


@pytest.mark.parametrize("answer", [b"", b"[]", b'{"choices":[]}', b"<html>", b'{"choices":[{"message":"hi"}]}'])
async def test_an_answer_that_is_no_completion_is_an_error_and_a_failed_response(desk: Desk, answer: bytes) -> None:
    desk.model.answer = answer
    with pytest.raises(UpstreamGarbled):
        await desk.create()
    assert [response["status"] for response in await desk.responses()] == ["failed"]


async def test_a_service_that_was_never_started_can_be_shut_down(tmp_path: Path) -> None:
    async with open_desk(tmp_path) as desk:
        models = OneModel(ScriptedModel())
        await ResponsesServiceImpl(stores_of(desk.storage), models, NO_TOOLS, TurnSettings()).shutdown()


async def test_responses_survive_a_restart(tmp_path: Path) -> None:
    async with open_desk(tmp_path) as desk:
        desk.model.answer = completion()
        created = await desk.create(metadata={"größe": "1"})
    async with open_desk(tmp_path) as desk:
        assert await desk.retrieved(created["id"]) == created
        assert created["model"] == MODEL
