"""Prompts in versions; a ``{{variable}}`` is a place that a request fills in."""

from __future__ import annotations

import re
from collections.abc import Sequence

from llama_conversations.access import current_scope
from llama_conversations.apis.prompts import Prompts
from llama_conversations.errors import InvalidParameter
from llama_conversations.ids import PROMPT_PREFIX, new_id
from llama_conversations.storage.effects import answered
from llama_conversations.storage.records import MICROSECONDS, PromptRecord, now_us
from llama_conversations.storage.stores import PromptStore
from llama_conversations.wire.answers import Json
from llama_conversations.wire.prompts import (
    CreatePrompt,
    Prompt,
    PromptDeleted,
    PromptList,
    SetDefaultVersion,
    UpdatePrompt,
)

_NAME = r"[A-Za-z_][A-Za-z0-9_]*"
_VARIABLE_NAME = re.compile(_NAME)
PLACE = re.compile(r"\{\{\s*(" + _NAME + r")\s*\}\}")


class PromptsServiceImpl(Prompts):
    """Prompts over their store."""

    def __init__(self, prompts: PromptStore) -> None:
        self._prompts = prompts

    async def create_prompt(self, request: CreatePrompt) -> Json[Prompt]:
        """See ``Prompts``. Errors: ``InvalidParameter`` when the variables are not those of the text."""
        record = PromptRecord(
            id=new_id(PROMPT_PREFIX),
            version=1,
            text=request.prompt,
            variables=checked_variables(request.prompt, request.variables),
            is_default=True,
            created_at=now_us(),
        )
        return await answered(self._prompts.create(current_scope(), record), lambda _: _shown(record))

    async def list_prompts(self) -> Json[PromptList]:
        """See ``Prompts``."""
        return _wire_list(await self._prompts.list(current_scope()))

    async def get_prompt(self, prompt_id: str, *, version: int | None = None) -> Json[Prompt]:
        """See ``Prompts``. Errors: ``PromptNotFound``."""
        return _shown(await self._prompts.get(current_scope(), prompt_id, version))

    async def update_prompt(self, prompt_id: str, request: UpdatePrompt) -> Json[Prompt]:
        """See ``Prompts``. Errors: ``PromptNotFound``; ``InvalidParameter`` also when ``version`` is not the latest."""
        record = PromptRecord(
            id=prompt_id,
            version=request.version + 1,
            text=request.prompt,
            variables=checked_variables(request.prompt, request.variables),
            is_default=request.set_as_default,
            created_at=now_us(),
        )
        answer = await answered(
            self._prompts.add_version(current_scope(), record), lambda added: _shown(record) if added else None
        )
        if answer is None:
            latest = (await self._prompts.versions(current_scope(), prompt_id))[-1].version
            raise InvalidParameter(
                f"Version {request.version} is not the latest version of prompt '{prompt_id}', which is {latest}.",
                param="version",
            )
        return answer

    async def delete_prompt(self, prompt_id: str) -> Json[PromptDeleted]:
        """See ``Prompts``. Errors: ``PromptNotFound``."""
        await self._prompts.delete(current_scope(), prompt_id)
        return Json.whole(PromptDeleted(id=prompt_id))

    async def list_prompt_versions(self, prompt_id: str) -> Json[PromptList]:
        """See ``Prompts``. Errors: ``PromptNotFound``."""
        return _wire_list(await self._prompts.versions(current_scope(), prompt_id))

    async def set_default_version(self, prompt_id: str, request: SetDefaultVersion) -> Json[Prompt]:
        """See ``Prompts``. Errors: ``PromptNotFound``, also for a version that does not exist."""
        return await answered(self._prompts.set_default(current_scope(), prompt_id, request.version), _shown)


def checked_variables(text: str, declared: Sequence[str] | None) -> Sequence[str]:
    """The variables of a prompt: as declared, or those of the text in the order in which they first appear.

    Errors: ``InvalidParameter`` when a declared one is no name, stands twice or is not in the text, or when the text
    names one that is not declared.
    """
    named = list(dict.fromkeys(PLACE.findall(text)))
    if declared is None:
        return named
    for index, name in enumerate(declared):
        if problem := _problem_with(name, declared[:index], named):
            raise InvalidParameter(problem, param=f"variables[{index}]")
    if undeclared := [name for name in named if name not in declared]:
        places = ", ".join(f"'{{{{{name}}}}}'" for name in undeclared)
        raise InvalidParameter(f"The prompt names {places}, missing in 'variables'.", param="variables")
    return declared


def _problem_with(name: str, earlier: Sequence[str], named: Sequence[str]) -> str | None:
    if not _VARIABLE_NAME.fullmatch(name):
        return f"'{name}' is no name for a variable: it takes letters, digits and underscores, and no digit first."
    if name in earlier:
        return f"The variable '{name}' is declared twice."
    if name not in named:
        return f"The variable '{name}' is declared, but '{{{{{name}}}}}' is not in the prompt."
    return None


def _shown(record: PromptRecord) -> Json[Prompt]:
    return Json.whole(_wire_prompt(record))


def _wire_prompt(record: PromptRecord) -> Prompt:
    return Prompt(
        prompt_id=record.id,
        prompt=record.text,
        version=record.version,
        variables=list(record.variables),
        is_default=record.is_default,
        created_at=record.created_at // MICROSECONDS,
    )


def _wire_list(records: Sequence[PromptRecord]) -> Json[PromptList]:
    return Json.whole(PromptList(data=[_wire_prompt(record) for record in records]))
