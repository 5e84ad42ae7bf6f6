"""The Prompts API."""

from __future__ import annotations

from abc import abstractmethod
from typing import Protocol

from llama_conversations.apis.webmethod import webmethod
from llama_conversations.wire.answers import Json
from llama_conversations.wire.prompts import (
    CreatePrompt,
    Prompt,
    PromptDeleted,
    PromptList,
    SetDefaultVersion,
    UpdatePrompt,
)


class Prompts(Protocol):
    """Prompts in versions (an extension: the hosted API keeps them in its dashboard)."""

    @webmethod(route="/prompts", method="POST")
    @abstractmethod
    async def create_prompt(self, request: CreatePrompt) -> Json[Prompt]:
        """Create a prompt as version 1."""
        ...

    @webmethod(route="/prompts", method="GET")
    @abstractmethod
    async def list_prompts(self) -> Json[PromptList]:
        """List the default version of every prompt."""
        ...

    @webmethod(route="/prompts/{prompt_id}", method="GET")
    @abstractmethod
    async def get_prompt(self, prompt_id: str, *, version: int | None = None) -> Json[Prompt]:
        """Retrieve a version of a prompt; the default one if none is named."""
        ...

    @webmethod(route="/prompts/{prompt_id}", method="POST")
    @abstractmethod
    async def update_prompt(self, prompt_id: str, request: UpdatePrompt) -> Json[Prompt]:
        """Add a new version."""
        ...

    @webmethod(route="/prompts/{prompt_id}", method="DELETE")
    @abstractmethod
    async def delete_prompt(self, prompt_id: str) -> Json[PromptDeleted]:
        """Delete a prompt with all its versions."""
        ...

    @webmethod(route="/prompts/{prompt_id}/versions", method="GET")
    @abstractmethod
    async def list_prompt_versions(self, prompt_id: str) -> Json[PromptList]:
        """List the versions of a prompt, oldest first."""
        ...

    @webmethod(route="/prompts/{prompt_id}/set-default-version", method="POST")
    @abstractmethod
    async def set_default_version(self, prompt_id: str, request: SetDefaultVersion) -> Json[Prompt]:
        """Choose the version that is used where none is named."""
        ...
