"""``include``: which large or private parts of items a caller wants to see (OpenAI API reference, ``IncludeEnum``)."""

from __future__ import annotations

from typing import Annotated, Literal, cast, get_args

from pydantic import BeforeValidator

from llama_conversations.wire.faults import unsupported_value

__all__ = ["INCLUDABLE", "Include", "IncludeList"]

Include = Literal[
    "file_search_call.results",
    "web_search_call.results",
    "web_search_call.action.sources",
    "message.input_image.image_url",
    "computer_call_output.output.image_url",
    "code_interpreter_call.outputs",
    "reasoning.encrypted_content",
    "message.output_text.logprobs",
]

INCLUDABLE: tuple[Include, ...] = get_args(Include)


def _known(value: object) -> object:
    """Refuses an unknown member in the name of the list: the error's param is ``include``, without an index."""
    for member in cast("list[object]", value) if isinstance(value, list) else []:
        if isinstance(member, str) and member not in INCLUDABLE:
            raise unsupported_value(member, INCLUDABLE)
    return value


IncludeList = Annotated[list[Include], BeforeValidator(_known)]
