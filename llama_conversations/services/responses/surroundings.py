"""What turns need of the server around them."""

from __future__ import annotations

from dataclasses import dataclass

from llama_conversations.services.responses.chat_wire import ChatWire
from llama_conversations.services.responses.context import ContextReader
from llama_conversations.services.responses.model_wire import ModelWire
from llama_conversations.services.responses.responses_wire import ResponsesWire
from llama_conversations.services.responses.secrets import COMPACTION, SharedSealer
from llama_conversations.services.responses.turn import Turn
from llama_conversations.services.tools import ToolServers
from llama_conversations.storage.news import News
from llama_conversations.storage.stores import JobStore, PromptStore, ResponseStore


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Stores, tool servers, keys and news: the same for all turns of a service."""

    responses: ResponseStore
    jobs: JobStore
    context: ContextReader
    prompts: PromptStore
    tool_servers: ToolServers
    sealer: SharedSealer
    news: News


def model_wire(turn: Turn, around: Surroundings) -> ModelWire:
    """How the turn's model is asked."""
    wire = ResponsesWire if turn.model.inference.wire_api == "responses" else ChatWire
    return wire(turn, around.sealer.unsealer(COMPACTION))
