"""A third party's provider package is found, resolved and served like the built-in ones."""

from __future__ import annotations

from pathlib import Path

import pytest

import llama_conversations
from integration.stack.conftest import EchoConfig
from llama_conversations import Stack, client_for, open_client
from llama_conversations.errors import ConfigError
from llama_conversations.stack.loading import check_config
from llama_conversations.stack.registry import provider_specs

pytestmark = pytest.mark.usefixtures("echo_installed")


def test_its_providers_are_found() -> None:
    assert provider_specs()["inference", "inline::echo"].description == "Says what it was told"


def test_its_settings_are_checked_without_its_factory(echo_config: EchoConfig) -> None:
    echo = {"provider_id": "echo", "provider_type": "inline::echo", "config": {"greetin": "x"}}
    problems = check_config(echo_config(providers={"inference": [echo]}), {}, provider_specs())
    assert sorted(problem.path for problem in problems) == [
        "providers.inference[0].config.greetin",
        "providers.inference[0].config.greeting",
    ]


async def test_a_client_without_a_server_holds_a_conversation_with_it(echo_config: EchoConfig) -> None:
    async with open_client(echo_config()) as client:
        conversation = await client.conversations.create(metadata={"topic": "echo"})
        for text in ("hello", "again"):
            response = await client.responses.create(model="parrot", input=text, conversation=conversation.id)
            assert response.output_text.strip() == f"You said: {text}"
        items = [item async for item in client.conversations.items.list(conversation.id, order="asc")]
        assert [item.role for item in items] == ["user", "assistant"] * 2


async def test_an_open_stack_gives_a_client_and_its_implementations(echo_config: EchoConfig) -> None:
    async with Stack.from_config(echo_config()) as stack, client_for(stack) as client:
        assert [model.id async for model in client.models.list()] == ["parrot"]
        message = {"role": "user", "content": "a b"}
        stream = await client.chat.completions.create(model="echo/parrot", messages=[message], stream=True)
        words = [chunk.choices[0].delta.content or "" async for chunk in stream]
        assert words == ["You ", "said: ", "a ", "b ", ""]


async def test_an_alias_of_the_run_yaml_is_served(echo_config: EchoConfig) -> None:
    alias = {"model_id": "gpt-4.1", "provider_id": "echo", "provider_model_id": "parrot", "metadata": {"fast": True}}
    async with open_client(echo_config(registered_resources={"models": [alias]})) as client:
        assert [model.id async for model in client.models.list()] == ["gpt-4.1", "parrot"]
        assert (await client.responses.create(model="gpt-4.1", input="x")).model == "gpt-4.1"
        assert (await client.models.retrieve("gpt-4.1")).to_dict()["metadata"] == {"fast": True}


async def test_an_ad_hoc_line_takes_its_sample_settings(tmp_path: Path) -> None:
    environ = {"SQLITE_STORE_DIR": str(tmp_path), "ECHO_GREETING": "So: "}
    for line in ("inference=echo", "inference=inline::echo;"):
        async with open_client(line, environ) as client:
            assert (await client.responses.create(model="parrot", input="x")).output_text.strip() == "So: x"
    assert (tmp_path / "state.db").exists()


def test_an_ad_hoc_line_that_names_nothing_known_is_refused() -> None:
    with pytest.raises(ConfigError, match="inference=ech: unknown provider 'ech'"):
        Stack.from_config("inference=ech", {})


def test_the_public_names_are_all_there() -> None:
    for name in llama_conversations.__all__:
        assert getattr(llama_conversations, name)
    with pytest.raises(AttributeError, match="nothing"):
        llama_conversations.nothing  # noqa: B018
