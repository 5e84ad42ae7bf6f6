"""Prompts: their variables and their versions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from llama_conversations.access import AccessScope
from llama_conversations.errors import InvalidParameter, PromptNotFound
from llama_conversations.services.prompts import PromptsServiceImpl, checked_variables
from llama_conversations.storage.records import PromptRecord
from llama_conversations.storage.stores import PromptStore
from llama_conversations.wire.prompts import CreatePrompt, SetDefaultVersion, UpdatePrompt


class MemoryPrompts(PromptStore):
    def __init__(self) -> None:
        self._kept: dict[str, list[PromptRecord]] = {}

    async def create(self, scope: AccessScope, prompt: PromptRecord) -> None:
        self._kept[prompt.id] = [prompt]

    async def list(self, scope: AccessScope) -> Sequence[PromptRecord]:
        return [prompt for versions in reversed(self._kept.values()) for prompt in versions if prompt.is_default]

    async def get(self, scope: AccessScope, prompt_id: str, version: int | None) -> PromptRecord:
        for prompt in self._kept.get(prompt_id, ()):
            if prompt.version == version or (version is None and prompt.is_default):
                return prompt
        raise PromptNotFound(prompt_id, version)

    async def versions(self, scope: AccessScope, prompt_id: str) -> Sequence[PromptRecord]:
        await self.get(scope, prompt_id, None)
        return self._kept[prompt_id]

    async def add_version(self, scope: AccessScope, prompt: PromptRecord) -> bool:
        versions = list(await self.versions(scope, prompt.id))
        if prompt.version != versions[-1].version + 1:
            return False
        if prompt.is_default:
            versions = [replace(earlier, is_default=False) for earlier in versions]
        self._kept[prompt.id] = [*versions, prompt]
        return True

    async def set_default(self, scope: AccessScope, prompt_id: str, version: int) -> PromptRecord:
        await self.get(scope, prompt_id, version)
        versions = [replace(prompt, is_default=prompt.version == version) for prompt in self._kept[prompt_id]]
        self._kept[prompt_id] = versions
        return await self.get(scope, prompt_id, version)

    async def delete(self, scope: AccessScope, prompt_id: str) -> None:
        await self.get(scope, prompt_id, None)
        del self._kept[prompt_id]


@pytest.fixture
def service() -> PromptsServiceImpl:
    return PromptsServiceImpl(MemoryPrompts())


@pytest.mark.parametrize(
    ("text", "variables"),
    [
        ("plain", []),
        ("{{b}} and {{ a }} and {{b}}", ["b", "a"]),
        ("{{_x1}}{{A}}", ["_x1", "A"]),
        ("{{1x}} {{a-b}} {{}} {a} {{ a b }} {{\u00e9}}", []),
        ('{"json": {"a": {"b": 1}}} {{{c}}}', ["c"]),
    ],
)
def test_variables_that_are_not_declared_are_taken_from_the_text(text: str, variables: list[str]) -> None:
    assert list(checked_variables(text, None)) == variables


def test_declared_variables_keep_their_order() -> None:
    assert list(checked_variables("{{b}} {{a}}", ["a", "b"])) == ["a", "b"]


@pytest.mark.parametrize(
    ("text", "declared", "param", "words"),
    [
        ("{{a}} {{b}} {{c}}", ["a"], "variables", "'{{b}}', '{{c}}'"),
        ("{{a}}", [], "variables", "'{{a}}'"),
        ("{{a}}", ["a", "b"], "variables[1]", "'{{b}}' is not in the prompt"),
        ("{{a}}", ["a", "a"], "variables[1]", "twice"),
        ("{{a}}", ["a-b", "a"], "variables[0]", "no name"),
        ("{{a}}", ["a\n"], "variables[0]", "no name"),
    ],
)
def test_variables_that_do_not_fit_the_text_are_refused(text: str, declared: list[str], param: str, words: str) -> None:
    with pytest.raises(InvalidParameter) as caught:
        checked_variables(text, declared)
    assert caught.value.param == param
    assert words in str(caught.value)


async def test_a_prompt_begins_as_version_one_and_the_default(service: PromptsServiceImpl) -> None:
    answer = await service.create_prompt(CreatePrompt(prompt="Hi {{name}}"))
    prompt = answer.parse()
    assert prompt.prompt_id.startswith("pmpt_")
    assert (prompt.version, prompt.is_default, prompt.variables) == (1, True, ["name"])
    assert prompt.created_at > 1_700_000_000
    assert b'"object":"prompt"' in answer.body
    assert (await service.get_prompt(prompt.prompt_id)).parse() == prompt
    assert (await service.list_prompts()).parse().data == [prompt]


async def test_an_update_adds_a_version_and_makes_it_the_default(service: PromptsServiceImpl) -> None:
    first = (await service.create_prompt(CreatePrompt(prompt="one"))).parse()
    await service.update_prompt(first.prompt_id, UpdatePrompt(prompt="two {{x}}", version=1))
    await service.update_prompt(first.prompt_id, UpdatePrompt(prompt="three", version=2, set_as_default=False))
    versions = (await service.list_prompt_versions(first.prompt_id)).parse().data
    assert [(v.version, v.prompt, v.is_default) for v in versions] == [
        (1, "one", False),
        (2, "two {{x}}", True),
        (3, "three", False),
    ]
    assert (await service.get_prompt(first.prompt_id)).parse().version == 2
    assert (await service.get_prompt(first.prompt_id, version=3)).parse().prompt == "three"


@pytest.mark.parametrize("version", [0, 1, 3])
async def test_an_update_must_name_the_latest_version(service: PromptsServiceImpl, version: int) -> None:
    prompt_id = (await service.create_prompt(CreatePrompt(prompt="one"))).parse().prompt_id
    await service.update_prompt(prompt_id, UpdatePrompt(prompt="two", version=1))
    with pytest.raises(InvalidParameter, match="which is 2") as caught:
        await service.update_prompt(prompt_id, UpdatePrompt(prompt="three", version=version))
    assert caught.value.param == "version"
    assert len((await service.list_prompt_versions(prompt_id)).parse().data) == 2


async def test_an_update_s_variables_are_checked(service: PromptsServiceImpl) -> None:
    prompt_id = (await service.create_prompt(CreatePrompt(prompt="one"))).parse().prompt_id
    with pytest.raises(InvalidParameter):
        await service.update_prompt(prompt_id, UpdatePrompt(prompt="{{x}}", version=1, variables=[]))


async def test_the_default_can_be_set_back(service: PromptsServiceImpl) -> None:
    prompt_id = (await service.create_prompt(CreatePrompt(prompt="one"))).parse().prompt_id
    await service.update_prompt(prompt_id, UpdatePrompt(prompt="two", version=1))
    answer = (await service.set_default_version(prompt_id, SetDefaultVersion(version=1))).parse()
    assert (answer.version, answer.is_default) == (1, True)
    assert (await service.get_prompt(prompt_id)).parse().prompt == "one"


async def test_a_deleted_prompt_is_gone(service: PromptsServiceImpl) -> None:
    prompt_id = (await service.create_prompt(CreatePrompt(prompt="one"))).parse().prompt_id
    answer = await service.delete_prompt(prompt_id)
    assert answer.body == f'{{"id":"{prompt_id}","object":"prompt.deleted","deleted":true}}'.encode()
    with pytest.raises(PromptNotFound):
        await service.get_prompt(prompt_id)
