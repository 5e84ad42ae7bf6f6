"""What a turn's model is given and says: a context, compacted if need be, then rounds of the model and the tools."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from functools import partial

from llama_conversations.services.responses.chat_messages import after_compaction
from llama_conversations.services.responses.context import read_prompt
from llama_conversations.services.responses.context_window import (
    check_fits,
    compaction_threshold,
    count_tokens,
    split_for_compaction,
    summarize,
    truncated,
)
from llama_conversations.services.responses.history import NO_HISTORY, Context, read_told
from llama_conversations.services.responses.model_wire import write_request
from llama_conversations.services.responses.output import ItemMakers, Output
from llama_conversations.services.responses.output_items import CompactionItem, MessageItem, ReasoningItem
from llama_conversations.services.responses.secrets import COMPACTION, REASONING
from llama_conversations.services.responses.surroundings import Surroundings, model_wire
from llama_conversations.services.responses.toolbox import Toolbox
from llama_conversations.services.responses.turn import Turn
from llama_conversations.storage.records import HistoryMark
from llama_conversations.wire.events import Event
from llama_conversations.wire.items import INPUT_ITEM, Item

MAX_TOOL_CALLS = 128
"""Calls of the server's own tools in one turn, where the request sets no lower limit."""


class ModelRounds:
    """The part of a turn that asks the model. It stores nothing.

    Attributes:
        history: What the turn continues, once the context was read.
    """

    def __init__(self, turn: Turn, around: Surroundings) -> None:
        self._turn, self._around = turn, around
        self._wire = model_wire(turn, around)
        self._written: bytes | None = None
        self.history = NO_HISTORY

    async def read_context(self, toolbox: Toolbox, below: int | HistoryMark | None) -> Context:
        """The items that the model is given, from below a position of the conversation, or from all of it.

        Errors: ``InvalidParameter``, ``UnsupportedParameter`` for a context that could not be sent to the model.
        """
        turn = self._turn
        around, previous = self._around, turn.request.previous_response_id
        reader = around.context
        if turn.conversation_id is not None and below:
            self.history = await reader.of_conversation(turn.scope, turn.conversation_id, below, turn.input)
        elif turn.remembered is not None:
            self.history = reader.of_connection(turn.remembered, turn.input)
        elif previous is not None:
            self.history = await reader.of_chain(turn.scope, previous, turn.input)
        if turn.request.prompt is not None:
            self._wire.prompt = await read_prompt(around.prompts, turn.scope, turn.request.prompt)
        context = Context(self.history, read_told(turn.input))
        request = await write_request(self._wire, context, toolbox)
        await check_fits(turn, request)
        self._written = request  # most turns send just that: a long context is written once
        return context

    def new_output(self, context: Context, toolbox: Toolbox) -> Output:
        """Where what the model says is gathered."""
        return Output(
            self._turn.partition,
            self._turn.model.provider_id,
            ItemMakers(toolbox.new_call, self._new_reasoning, partial(MessageItem, cite=toolbox.citations)),
            taken_call_ids=context.call_ids,
            taken_ids=context.ids,
        )

    async def events(self, context: Context, toolbox: Toolbox, output: Output) -> AsyncGenerator[Event, None]:
        """Let the model and the tools work until the output is whole. Errors: ``UpstreamError``."""
        for steps in (self._compact(context, toolbox, output), self._rounds(context, toolbox, output)):
            async with aclosing(steps) as events:
                async for event in events:
                    yield event

    async def _rounds(self, context: Context, toolbox: Toolbox, output: Output) -> AsyncGenerator[Event, None]:
        """The model speaks, the server's tools answer, the model speaks again, until it calls none of them.

        Or until it calls them though it may not: some servers pass over ``tool_choice``.
        """
        if not self._turn.generate:
            return
        if toolbox.has_servers:
            for steps in (toolbox.list_tools(context, output), toolbox.run_approved(context, output)):
                async with aclosing(steps) as events:
                    async for event in events:
                        yield event
        limit = min(self._turn.request.max_tool_calls or MAX_TOOL_CALLS, MAX_TOOL_CALLS)
        left = max(0, limit - toolbox.calls_run)
        may_call = left > 0
        while True:
            request = await self._request(context, toolbox, output, may_call=may_call)
            async with aclosing(self._round(request, output)) as events:
                async for event in events:
                    yield event
            calls = output.waiting_calls
            async with aclosing(toolbox.run(calls, left)) as events:
                async for event in events:
                    yield event
            if not (calls and may_call) or output.waits_for_client:
                return
            left = max(0, left - len(calls))
            may_call = left > 0

    async def _request(self, context: Context, toolbox: Toolbox, output: Output, *, may_call: bool) -> bytes:
        """What the model is asked now."""
        written, self._written = self._written, None
        truncates = self._turn.request.truncation == "auto"
        if written is not None and not (truncates or toolbox.has_servers or output.items):
            return written
        now = context.plus(_read(output))
        if truncates:
            now = await truncated(self._turn, self._wire, now, toolbox)
        return await write_request(self._wire, now, toolbox, may_call=may_call)

    async def _compact(self, context: Context, toolbox: Toolbox, output: Output) -> AsyncGenerator[Event, None]:
        """Sum up a context that has grown past the threshold of the request, if there is one."""
        threshold = compaction_threshold(self._turn)
        if threshold is None:
            return
        old, _ = split_for_compaction(context)
        if not old:
            return
        if (await count_tokens(self._turn.model, await write_request(self._wire, context, toolbox))).tokens < threshold:
            return
        summary = await summarize(self._turn.model, after_compaction(old), self._around.sealer.unsealer(COMPACTION))
        if summary.usage is not None:
            output.add_usage(summary.usage)
        sealed = self._around.sealer.seal(summary.text, COMPACTION)
        item = output.append(partial(CompactionItem, encrypted_content=sealed), "compaction")
        for event in (*item.open(), *item.close("completed")):
            yield event

    def _new_reasoning(self, item_id: str, index: int) -> ReasoningItem:
        asked, include = self._turn.request.reasoning, self._turn.request.include or ()
        as_summary = asked is not None and (asked.summary or asked.generate_summary) is not None
        seal = (
            partial(self._around.sealer.seal, purpose=REASONING) if "reasoning.encrypted_content" in include else None
        )
        return ReasoningItem(item_id, index, as_summary, seal)

    async def _round(self, request: bytes, output: Output) -> AsyncGenerator[Event, None]:
        """The model speaks once."""
        output.begin_round()
        async with aclosing(self._wire.ask(request)) as deltas:
            async for delta in deltas:
                for event in output.add(delta):
                    yield event
        for event in output.end_round():
            yield event


def _read(output: Output) -> Sequence[Item]:
    """What a turn has brought forth so far, as items of its own context."""
    items = (INPUT_ITEM.validate_python(item) for item in output.told)
    return [item for item in items if isinstance(item, Item)]
