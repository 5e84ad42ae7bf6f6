"""Prompts: texts with ``{{variable}}`` places, kept in numbered versions (an extension of the OpenAI API)."""

from __future__ import annotations

from typing import Literal

from llama_conversations.wire.base import RequestModel, WireModel


class CreatePrompt(RequestModel):
    """A new prompt; ``variables`` names every ``{{variable}}`` of the text."""

    prompt: str
    variables: list[str] | None = None


class UpdatePrompt(RequestModel):
    """A new version of a prompt, made from ``version``, which must be the latest."""

    prompt: str
    version: int
    variables: list[str] | None = None
    set_as_default: bool = True


class SetDefaultVersion(RequestModel):
    """Which version is used where none is named."""

    version: int


class Prompt(WireModel):
    """One version of a prompt."""

    prompt_id: str
    object: Literal["prompt"] = "prompt"
    prompt: str
    version: int
    variables: list[str]
    is_default: bool
    created_at: int


class PromptList(WireModel):
    """Prompts, or the versions of one."""

    object: Literal["list"] = "list"
    data: list[Prompt]


class PromptDeleted(WireModel):
    """Answer to a delete."""

    id: str
    object: Literal["prompt.deleted"] = "prompt.deleted"
    deleted: Literal[True] = True
