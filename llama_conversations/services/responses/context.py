"""What the model is given: the history that the caller continues, then the request's own input."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from pydantic_core import from_json, to_json

from llama_conversations.access import AccessScope
from llama_conversations.errors import DuplicateItem, InvalidParameter
from llama_conversations.services.items import check_id_prefix, masked
from llama_conversations.services.references import ItemFinder, prepare_input
from llama_conversations.services.responses.history import NO_HISTORY, Histories, History
from llama_conversations.services.responses.prompt_template import PromptPart, fill_prompt
from llama_conversations.storage.records import HistoryMark, ItemRecord, ResponseRecord
from llama_conversations.storage.stores import ConversationStore, PromptStore, ResponseStore
from llama_conversations.wire.items import InputItem, InputMessage
from llama_conversations.wire.responses import CreateResponse, PromptReference

ABOVE_ALL = 1 << 62
"""Above every position of a conversation."""

_CONTINUABLE = ("completed", "incomplete")


class ContextReader:
    """Reads histories: of a conversation, or of a chain of responses."""

    def __init__(self, conversations: ConversationStore, responses: ResponseStore) -> None:
        self._conversations, self._responses = conversations, responses
        self._finder = ItemFinder(conversations, responses)
        self._histories = Histories()

    async def input(self, scope: AccessScope, request: CreateResponse, partition: str) -> Sequence[ItemRecord]:
        """The request's own items, as they will be stored.

        Errors: ``InvalidParameter``, ``ReferencedItemNotFound``, ``ConversationNotFound``, ``DuplicateItem``.
        """
        items = input_items(request)
        for index, item in enumerate(items):
            check_id_prefix(item, f"input[{index}]")
        find = self._finder.bound(scope, request.conversation_id)
        own = await prepare_input(items, partition, "input", find)
        _check_new(own, ())
        return own

    async def of_conversation(
        self, scope: AccessScope, conversation_id: str, below: int | HistoryMark, own: Sequence[ItemRecord]
    ) -> History:
        """The items of a conversation below a position, or all: where the store has just said how far it reaches.

        Errors: ``DuplicateItem`` when it holds one of ``own``.
        """
        history = await self._history(scope, conversation_id, below)
        _check_new(own, history.ids)
        return history

    def appended(self, conversation_id: str, history: History, items: Sequence[ItemRecord], mark: HistoryMark) -> None:
        """Take note that items were appended to a conversation, which now reaches as far as the store says.

        If it held more than the history by then, that is for the next turn to read.
        """
        before = history.mark
        if before is not None and mark == HistoryMark(before.edition, before.position + len(items)):
            self._histories.put(conversation_id, history.continued(items, mark))

    async def _history(self, scope: AccessScope, conversation_id: str, below: int | HistoryMark) -> History:
        known = self._histories.get(conversation_id)
        if isinstance(below, HistoryMark):
            if known is not None and known.mark == below:
                return known
            if below.position == 0:
                return History((), below)
            below = below.position
        part = await self._conversations.history_since(
            scope, conversation_id, below, None if known is None else known.mark
        )
        before = known if known is not None and part.continues else NO_HISTORY
        history = before.continued(part.items, part.mark) if part.items else before
        self._histories.put(conversation_id, history)
        return history

    async def of_whole_conversation(
        self, scope: AccessScope, conversation_id: str, own: Sequence[ItemRecord]
    ) -> History:
        """All items of a conversation, outside of any turn. Errors: ``ConversationNotFound``, ``DuplicateItem``."""
        await self._conversations.get(scope, conversation_id)
        return await self.of_conversation(scope, conversation_id, ABOVE_ALL, own)

    async def of_chain(self, scope: AccessScope, previous_response_id: str, own: Sequence[ItemRecord]) -> History:
        """The items of a response and of all before it.

        Errors: ``PreviousResponseNotFound``; ``InvalidParameter`` when the response did not end well;
        ``DuplicateItem`` when the chain holds one of ``own``.
        """
        history = self._histories.get(previous_response_id)
        if history is None or history.links != await self._responses.chain_length(scope, previous_response_id):
            history = await self._read_chain(scope, previous_response_id)
            self._histories.put(previous_response_id, history)
        _check_new(own, history.ids)
        return history

    def chained(self, response_id: str, previous_id: str, history: History, items: Sequence[ItemRecord]) -> None:
        """Take note that a response is the next in a chain, behind a history. Few chains fork: only the end is kept."""
        if history.links is not None:
            self._histories.forget(previous_id)
            self._histories.put(response_id, history.continued(items, links=history.links + 1))

    async def _read_chain(self, scope: AccessScope, previous_response_id: str) -> History:
        chain = await self._responses.chain(scope, previous_response_id)
        last = chain[-1]
        if last.status not in _CONTINUABLE:
            raise InvalidParameter(
                f"Response with id '{last.id}' cannot be continued: its status is '{last.status}'.",
                param="previous_response_id",
                code=None,
            )
        items = [item for response in chain for item in await self._of_response(scope, response)]
        # Of what was in a conversation, items may be deleted: how many responses there are does not tell.
        return History(items, links=len(chain) if chain[0].conversation_id is None else None)

    def of_connection(self, remembered: Sequence[ItemRecord], own: Sequence[ItemRecord]) -> History:
        """What a connection remembers. Errors: ``DuplicateItem`` when it holds one of ``own``."""
        history = History(remembered)
        _check_new(own, history.ids)
        return history

    async def of_input(self, scope: AccessScope, response_id: str) -> Sequence[ItemRecord]:
        """All that the model was given for a response: the history, then the response's own input.

        What was deleted from its conversation since is not there. Errors: ``ResponseNotFound``.
        """
        response = await self._responses.get(scope, response_id)
        own = stored_items(response.input)
        if response.previous_response_id is not None:
            chain = await self._responses.chain(scope, response.previous_response_id)
            before = [item for link in chain for item in await self._of_response(scope, link)]
        else:
            before = list(await self._before_turn(scope, response))
        return [*before, *own]

    async def _of_response(self, scope: AccessScope, response: ResponseRecord) -> Sequence[ItemRecord]:
        """What a link of a chain adds; a chain may begin with a response that was made in a conversation."""
        before = await self._before_turn(scope, response)
        return [*before, *stored_items(response.input), *stored_items(response.output)]

    async def _before_turn(self, scope: AccessScope, response: ResponseRecord) -> Sequence[ItemRecord]:
        if response.conversation_id is None or response.context_position is None:
            return ()
        return await self._conversations.history(scope, response.conversation_id, response.context_position)


async def read_prompt(store: PromptStore, scope: AccessScope, asked: PromptReference) -> Sequence[PromptPart]:
    """A stored prompt with its variables filled in. Errors: ``PromptNotFound``, ``InvalidParameter``."""
    if asked.version is not None and not asked.version.isdecimal():
        raise InvalidParameter(
            f"Invalid 'prompt.version': '{asked.version}'. Expected the number of a version.", param="prompt.version"
        )
    prompt = await store.get(scope, asked.id, None if asked.version is None else int(asked.version))
    return fill_prompt(prompt.text, asked.variables or {})


def input_items(request: CreateResponse) -> Sequence[InputItem]:
    """The request's input; a plain string is a user's message."""
    if not isinstance(request.input, str):
        return request.input
    return [InputMessage(role="user", content=request.input, type="message")] if request.input else []


def _check_new(own: Sequence[ItemRecord], held: Collection[str]) -> None:
    """Ids tell the items of a context apart. Errors: ``DuplicateItem``."""
    seen: set[str] = set()
    for item in own:
        if item.id in held or item.id in seen:
            raise DuplicateItem(item.id)
        seen.add(item.id)


def stored_items(array: str) -> Sequence[ItemRecord]:
    """Items from the JSON array text that a response keeps."""
    records = []
    for item in from_json(array):  # not orjson: integers of any size stay what they are
        data = to_json(item).decode()
        view = masked(data)
        records.append(ItemRecord(item["id"], item["type"], data, None if view == data else view))
    return records
