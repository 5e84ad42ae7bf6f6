"""How a turn's model is asked, whatever API its server speaks."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import AsyncGenerator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Protocol

from llama_conversations.services.responses.chat_deltas import Delta
from llama_conversations.services.responses.history import Context
from llama_conversations.services.responses.prompt_template import PromptPart
from llama_conversations.services.responses.toolbox import Toolbox
from llama_conversations.wire.content import InputFile
from llama_conversations.wire.items import Item, Message, modelled


class ModelWire(Protocol):
    """One turn's model.

    Attributes:
        prompt: The request's stored prompt, filled in.
    """

    prompt: Sequence[PromptPart]

    @abstractmethod
    def request(self, context: Context, toolbox: Toolbox, *, may_call: bool = True) -> bytes:
        """The request that ``ask`` sends.

        Args:
            may_call: Whether the model may call tools (again).

        Errors: ``InvalidParameter``, ``UnsupportedParameter`` for a context that cannot be carried.
        """
        ...

    @abstractmethod
    def ask(self, request: bytes) -> AsyncGenerator[Delta, None]:
        """What the model says. Errors: ``UpstreamError``."""
        ...


async def write_request(wire: ModelWire, context: Context, toolbox: Toolbox, *, may_call: bool = True) -> bytes:
    """As ``ModelWire.request``, off the event loop where files have to be read for it."""
    write = partial(wire.request, context, toolbox, may_call=may_call)
    if not any(_has_file(item) for item in modelled(context.untold)):
        return write()
    return await asyncio.get_running_loop().run_in_executor(_FILE_READERS, write)


_FILE_READERS = ThreadPoolExecutor(2, thread_name_prefix="file-reader")
"""Threads of their own: reading a document takes seconds, and the loop's default threads have other work."""


def _has_file(item: Item) -> bool:
    content = item.content if isinstance(item, Message) else getattr(item, "output", None)
    return isinstance(content, list) and any(isinstance(part, InputFile) for part in content)
