"""Model servers, and providers that talk to them."""

from __future__ import annotations

import asyncio
import itertools
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from llama_conversations.stack.provider_spec import ProviderContext
from llama_conversations_providers.inference.openai_wire.config import OpenAIConfig
from llama_conversations_providers.inference.openai_wire.provider import OpenAIInference, create
from scripted_model import ScriptedModel
from scripted_model.raw import RawServer

API_KEY = "sk-of-this-test"
CERTIFICATES = Path(__file__).parent / "certificates"

Connect = Callable[..., Awaitable[OpenAIInference]]


@pytest.fixture(scope="session")
def model_server() -> Iterator[ScriptedModel]:
    """One scripted model server; tests keep apart by tags and gates."""
    with ScriptedModel() as server:
        yield server


_names = itertools.count()


@pytest.fixture
def tag() -> str:
    """A name that no other test uses, for tags and gates."""
    return f"t{next(_names)}"


@pytest.fixture
async def connect(model_server: ScriptedModel) -> AsyncIterator[Connect]:
    """Opens a provider with the given settings, by default towards the scripted model server."""
    async with AsyncExitStack() as stack:

        async def open_provider(**settings: object) -> OpenAIInference:
            config = OpenAIConfig.model_validate({"base_url": model_server.base_url, "api_key": API_KEY, **settings})
            provider = create(ProviderContext("upstream", config, {}))
            await provider.initialize()
            stack.push_async_callback(provider.shutdown)
            return provider

        yield open_provider


@pytest.fixture
async def provider(connect: Connect) -> OpenAIInference:
    """The scripted model server's provider, which repeats nothing."""
    return await connect(max_retries=0)


RawServers = Callable[..., Awaitable[tuple[str, RawServer]]]


@pytest.fixture
async def raw_server() -> AsyncIterator[RawServers]:
    """Starts raw servers; ``None`` as an answer closes the connection."""
    servers = []

    async def start(*answers: bytes | None, tls: ssl.SSLContext | None = None) -> tuple[str, RawServer]:
        raw = RawServer(list(answers))
        server = await asyncio.start_server(raw.serve, "127.0.0.1", 0, ssl=tls)
        servers.append(server)
        scheme = "https" if tls else "http"
        return f"{scheme}://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1", raw

    yield start
    for server in servers:
        server.close()
