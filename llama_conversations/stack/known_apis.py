"""The APIs by name: those that the server implements itself, and those that providers implement."""

from __future__ import annotations

from collections.abc import Mapping

from llama_conversations.apis.catalog import Inspect, Models, Providers
from llama_conversations.apis.chat import ChatCompletions
from llama_conversations.apis.conversations import Conversations
from llama_conversations.apis.inference import Inference
from llama_conversations.apis.prompts import Prompts
from llama_conversations.apis.responses import Responses
from llama_conversations.apis.tools import ToolRuntime
from llama_conversations.apis.web_search import WebSearch

INFERENCE = "inference"
TOOL_RUNTIME = "tool_runtime"
WEB_SEARCH = "web_search"

PROVIDER_APIS: Mapping[str, type] = {INFERENCE: Inference, TOOL_RUNTIME: ToolRuntime, WEB_SEARCH: WebSearch}
"""What run.yaml lists providers of, each with the protocol that they implement."""

SERVICE_APIS: Mapping[str, type] = {
    "chat_completions": ChatCompletions,
    "conversations": Conversations,
    "inspect": Inspect,
    "models": Models,
    "prompts": Prompts,
    "providers": Providers,
    "responses": Responses,
}
"""What is served over HTTP. Providers may depend on these, too."""
