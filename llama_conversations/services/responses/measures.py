"""Contexts counted and compacted on request, outside of any turn."""

from __future__ import annotations

import orjson

from llama_conversations.access import AccessScope
from llama_conversations.errors import InvalidParameter, MutuallyExclusiveParameters, UnsupportedParameter
from llama_conversations.ids import RESPONSE_PREFIX, new_id, new_partition
from llama_conversations.services.models import ModelRouter, RoutedModel
from llama_conversations.services.responses.chat_messages import after_compaction
from llama_conversations.services.responses.chat_wire import ChatWire
from llama_conversations.services.responses.context_window import (
    TokenCount,
    count_tokens,
    split_for_compaction,
    summarize,
)
from llama_conversations.services.responses.history import Context, History, read_items
from llama_conversations.services.responses.model_wire import write_request
from llama_conversations.services.responses.secrets import COMPACTION
from llama_conversations.services.responses.surroundings import Surroundings
from llama_conversations.services.responses.toolbox import Toolbox
from llama_conversations.services.responses.turn import Turn
from llama_conversations.storage.records import MICROSECONDS, now_us
from llama_conversations.wire.answers import Json
from llama_conversations.wire.responses import (
    CompactContext,
    CompactedContext,
    CountTokens,
    CreateResponse,
    InputTokensDetails,
    OutputTokensDetails,
    TokenCounts,
    Usage,
)

ESTIMATED = {"x-input-tokens-estimated": "true"}
_PASSED_ON = ("prompt_cache_key", "prompt_cache_options", "prompt_cache_retention", "service_tier")
"""Parameters of a compaction that the model server is told as they came."""

_NO_USAGE = Usage(
    input_tokens=0,
    input_tokens_details=InputTokensDetails(),
    output_tokens=0,
    output_tokens_details=OutputTokensDetails(),
    total_tokens=0,
)


class Measures:
    """Counts and compacts."""

    def __init__(self, around: Surroundings, models: ModelRouter) -> None:
        self._around, self._models = around, models

    async def count(self, scope: AccessScope, request: CountTokens) -> Json[TokenCounts]:
        """See ``Responses.count_input_tokens``. Errors: as of a turn, and ``UpstreamError``."""
        if request.model is None:
            message = "Missing required parameter: 'model': tokens differ from model to model, and there is no default."
            raise InvalidParameter(message, param="model", code="missing_required_parameter")
        if request.personality is not None:
            raise UnsupportedParameter("personality")
        asked = CreateResponse.model_construct(
            model=request.model,
            input=request.input or [],
            instructions=request.instructions,
            conversation=request.conversation,
            previous_response_id=request.previous_response_id,
            tools=request.tools,
            tool_choice=request.tool_choice,
            parallel_tool_calls=request.parallel_tool_calls,
            text=request.text,
            reasoning=request.reasoning,
        )
        counted = await self._count(scope, asked, await self._models.route(request.model))
        body = TokenCounts(input_tokens=counted.tokens).model_dump_json().encode()
        return Json(TokenCounts, body, ESTIMATED if counted.estimated else None)

    async def compact(self, scope: AccessScope, request: CompactContext) -> Json[CompactedContext]:
        """See ``Responses.compact_context``: the last user's messages stay as they are, the rest is summed up."""
        model = await self._models.route(request.model)
        asked = CreateResponse.model_construct(
            model=request.model, input=request.input or [], previous_response_id=request.previous_response_id
        )
        partition = new_partition()
        records = (await self._history(scope, asked, partition)).records
        items = read_items(records)
        if not items:
            raise InvalidParameter("There is nothing to compact.", param="input", code="missing_required_parameter")
        old, kept = split_for_compaction(items)
        unseal = self._around.sealer.unsealer(COMPACTION)
        options = request.model_dump(include=set(_PASSED_ON), exclude_none=True)
        summary = await summarize(model, after_compaction(old or items), unseal, request.instructions, options)
        sealed = self._around.sealer.seal(summary.text, COMPACTION)
        compaction = {"id": new_id("cmp", partition), "type": "compaction", "encrypted_content": sealed}
        shown = [record.data for record in records[len(old) :]] if kept else []
        body = b'{"id":"%b","object":"response.compaction","created_at":%d,"output":[%b],"usage":%b}' % (
            new_id(RESPONSE_PREFIX, partition).encode(),
            now_us() // MICROSECONDS,
            ",".join([*shown, orjson.dumps(compaction).decode()]).encode(),
            (summary.usage or _NO_USAGE).model_dump_json().encode(),
        )
        return Json(CompactedContext, body)

    async def _count(self, scope: AccessScope, asked: CreateResponse, model: RoutedModel) -> TokenCount:
        history = await self._history(scope, asked, new_partition())
        around = self._around
        async with Toolbox(asked.tools or (), around.tool_servers) as toolbox:
            wire = ChatWire(
                Turn("", "", 0, scope, asked, model, (), generate=False), around.sealer.unsealer(COMPACTION)
            )
            return await count_tokens(model, await write_request(wire, Context(history, ()), toolbox))

    async def _history(self, scope: AccessScope, asked: CreateResponse, partition: str) -> History:
        """The context that a turn would have."""
        reader = self._around.context
        own = await reader.input(scope, asked, partition)
        if asked.conversation_id is not None:
            if asked.previous_response_id is not None:
                raise MutuallyExclusiveParameters("previous_response_id", "conversation")
            return (await reader.of_whole_conversation(scope, asked.conversation_id, own)).continued(own, None)
        if asked.previous_response_id is not None:
            return (await reader.of_chain(scope, asked.previous_response_id, own)).continued(own, None)
        return History(own)
