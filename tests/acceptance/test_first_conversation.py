"""What a new user does first, with the unmodified official client and the model that comes with the starter."""

from __future__ import annotations

import openai
import pytest
from openai import OpenAI

from harness.server import StackServer

MODEL = "smollm2-135m-instruct"
NO_PROVIDERS = dict.fromkeys(("OPENAI_API_KEY", "OLLAMA_URL", "VLLM_URL", "LLAMA_CPP_MODEL"), "")


@pytest.fixture(scope="module")
def starter(tmp_path_factory):
    directory = tmp_path_factory.mktemp("starter")
    server = StackServer(directory, "starter", {"SQLITE_STORE_DIR": str(directory / "store"), **NO_PROVIDERS})
    server.start()
    yield server
    server.close()


def user(text: str) -> dict[str, str]:
    return {"type": "message", "role": "user", "content": text}


def test_the_eight_operations_on_a_conversation(starter):
    client = starter.client()
    conversation = client.conversations.create(metadata={"topic": "demo"}, items=[user("Hello!")])
    assert client.conversations.retrieve(conversation.id).metadata == {"topic": "demo"}
    updated = client.conversations.update(conversation.id, metadata={"topic": "project-x"})
    assert updated.metadata == {"topic": "project-x"}
    added = client.conversations.items.create(conversation.id, items=[user("One"), user("How are you?")])
    assert [item.content[0].text for item in added.data] == ["One", "How are you?"]
    listed = client.conversations.items.list(conversation.id, limit=10, order="asc")
    assert [item.content[0].text for item in listed.data] == ["Hello!", "One", "How are you?"]
    first = listed.data[0].id
    assert client.conversations.items.retrieve(first, conversation_id=conversation.id).id == first
    assert client.conversations.items.delete(first, conversation_id=conversation.id).id == conversation.id
    deleted = client.conversations.delete(conversation.id)
    assert (deleted.id, deleted.deleted) == (conversation.id, True)
    with pytest.raises(openai.NotFoundError):
        client.conversations.retrieve(conversation.id)


def turn(client: OpenAI, conversation: str, text: str) -> str:
    response = client.responses.create(model=MODEL, input=[user(text)], conversation=conversation, max_output_tokens=32)
    return response.output_text


def roles_and_texts(client: OpenAI, conversation: str) -> list[tuple[str, str]]:
    items = client.conversations.items.list(conversation, order="asc")
    return [(item.role, item.content[0].text) for item in items]


def test_a_conversation_of_three_turns_outlives_a_restart(starter):
    client = starter.client(timeout=120)
    conversation = client.conversations.create().id
    questions = ["What are the 5 Ds of dodgeball?", "Repeat what you just said.", "And once more."]
    answers = [turn(client, conversation, question) for question in questions]
    assert all(answers)

    said = roles_and_texts(client, conversation)
    assert [role for role, _ in said] == ["user", "assistant"] * 3
    assert [text for _, text in said] == [text for pair in zip(questions, answers, strict=True) for text in pair]

    assert starter.stop() == 0
    client = starter.start().client(timeout=120)
    assert roles_and_texts(client, conversation) == said


def test_a_response_in_an_unknown_conversation_is_not_found(starter):
    client = starter.client()
    unknown = "conv_" + "0" * 48
    with pytest.raises(openai.NotFoundError, match="not found"):
        client.responses.create(model=MODEL, input="say hello", conversation=unknown)


def test_the_model_streams(starter):
    client = starter.client(timeout=120)
    with client.responses.stream(model=MODEL, input="Count to three.", max_output_tokens=32) as stream:
        kinds = [event.type for event in stream]
        final = stream.get_final_response() if kinds[-1] == "response.completed" else None
    assert kinds[:2] == ["response.created", "response.in_progress"]
    assert kinds.count("response.output_text.delta") > 1
    assert kinds[-1] in ("response.completed", "response.incomplete")
    assert final is None or final.output_text
