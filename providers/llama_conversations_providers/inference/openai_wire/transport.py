"""Requests to a model server: one session, time-outs, repetitions, and every fault as an ``UpstreamError``."""

from __future__ import annotations

import asyncio
import io
import ssl
from collections.abc import Mapping
from contextlib import suppress
from importlib.metadata import version
from types import MappingProxyType

import aiohttp
from yarl import URL

from llama_conversations.errors import ShuttingDown, UpstreamError, UpstreamGarbled, UpstreamRateLimited
from llama_conversations.log import get_logger
from llama_conversations_providers.inference.openai_wire.answer import Answer
from llama_conversations_providers.inference.openai_wire.config import RemoteConfig
from llama_conversations_providers.inference.openai_wire.connection import environment_proxy
from llama_conversations_providers.inference.openai_wire.errors import INSUFFICIENT_QUOTA, ErrorWriter
from llama_conversations_providers.inference.openai_wire.faults import FAULTS, UNREACHABLE, translate
from llama_conversations_providers.inference.openai_wire.retries import delay_before, is_repeatable

log = get_logger(__name__)

KEEPALIVE_SECONDS = 30.0
REFUSAL_SECONDS = 10.0
"""How long the body of a refusal may take; without it the status alone has to do."""

_LARGE_BODY = 1024 * 1024
_NO_HEADERS: Mapping[str, str] = MappingProxyType({})


class Transport:
    """A connection pool to one model server, whose answers it hands out once their status is 2xx.

    Args:
        errors: Makes this provider's errors.
        config: Address, credentials, time-outs and repetitions.
        tls: As aiohttp takes it: a context, or whether to check certificates at all.
    """

    def __init__(self, errors: ErrorWriter, config: RemoteConfig, tls: ssl.SSLContext | bool) -> None:
        self._errors, self._config, self._tls = errors, config, tls
        base = URL(config.base_url)
        self._base, self._query = base.with_query(None), base.query
        self._chat, self._responses = self._address("chat/completions"), self._address("responses")
        self._models = self._address("models")
        self._session: aiohttp.ClientSession | None = None
        self._live: set[Answer] = set()

    async def open(self) -> None:
        """Make the pool; it connects with the first request."""
        timeouts = self._config.timeouts
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ssl=self._tls, keepalive_timeout=KEEPALIVE_SECONDS),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers=self._headers(),
            timeout=aiohttp.ClientTimeout(total=None, connect=timeouts.connect_seconds),
            proxy=environment_proxy(self._base),
        )

    async def close(self) -> None:
        """Drop every connection, those in use too."""
        for answer in tuple(self._live):  # aiohttp closes their connections, but leaves their readers waiting
            answer.close()
        if self._session is not None:
            await self._session.close()

    async def post_chat(self, body: bytes, accept: str) -> Answer:
        """Ask for a chat completion. Raises ``UpstreamError``."""
        return await self._ask("POST", self._chat, body, {"Content-Type": "application/json", "Accept": accept})

    async def post_response(self, body: bytes, accept: str) -> Answer:
        """Ask for a response. Raises ``UpstreamError``."""
        return await self._ask("POST", self._responses, body, {"Content-Type": "application/json", "Accept": accept})

    async def post_beside(self, path: str, body: bytes) -> bytes:
        """Ask what lies beside ``/v1``, once and whole. Raises ``UpstreamError``."""
        root = self._base.parent if self._base.name == "v1" else self._base
        url = root.joinpath(path).with_query(self._query)
        try:
            response = await self._send("POST", url, body, {"Content-Type": "application/json"})
            try:
                if response.status >= 300:
                    raise await self._refusal(response)
                return await response.read()
            finally:
                response.close()
        except FAULTS as fault:
            raise translate(self._errors.provider_id, fault) from fault

    async def get_models(self) -> Answer:
        """Ask for the models. Raises ``UpstreamError``."""
        return await self._ask("GET", self._models)

    async def probe(self, seconds: float) -> None:
        """One ``GET /models``, whole and without repetition, within ``seconds``. Raises ``UpstreamError``."""
        try:
            async with asyncio.timeout(seconds):
                response = await self._send("GET", self._models, None, _NO_HEADERS)
                try:
                    if response.status >= 300 and (self._config.discover_models or response.status in {401, 403}):
                        raise await self._refusal(response)
                    await response.read()
                finally:
                    response.close()
        except FAULTS as fault:
            raise translate(self._errors.provider_id, fault) from fault

    async def _ask(
        self, method: str, url: URL, body: bytes | None = None, headers: Mapping[str, str] = _NO_HEADERS
    ) -> Answer:
        retry = 0
        while True:
            try:
                response = await self._send(method, url, body, headers)
            except FAULTS as fault:
                error = translate(self._errors.provider_id, fault)
                delay = _delay_after_fault(fault, retry)
            else:
                if 200 <= response.status < 300:
                    return Answer(self._errors.provider_id, response, self._config.timeouts, self._live)
                error = await self._refusal(response)
                delay = _delay_after_refusal(response, error, retry)
            if delay is None or retry >= self._config.max_retries:
                raise error
            log.debug("provider %s: %s; asking again in %.2f s", self._errors.provider_id, error, delay)
            await asyncio.sleep(delay)
            retry += 1

    async def _send(
        self, method: str, url: URL, body: bytes | None, headers: Mapping[str, str]
    ) -> aiohttp.ClientResponse:
        if self._session is None or self._session.closed:
            raise ShuttingDown
        # aiohttp warns of bytes beyond this size, and sends a file piece by piece
        data = io.BytesIO(body) if body is not None and len(body) > _LARGE_BODY else body
        async with asyncio.timeout(self._config.timeouts.first_byte_seconds):
            return await self._session.request(method, url, data=data, headers=headers, allow_redirects=False)

    async def _refusal(self, response: aiohttp.ClientResponse) -> UpstreamError:
        body = b""
        try:
            with suppress(*FAULTS):
                async with asyncio.timeout(REFUSAL_SECONDS):
                    body = await response.read()
        finally:
            response.close()
        if response.status < 400:
            return UpstreamGarbled(
                self._errors.provider_id,
                f"The model server answered with status {response.status}, which is no answer: check its base_url.",
            )
        return self._errors.refusal(response.status, body, response.headers.get("Retry-After"))

    def _headers(self) -> dict[str, str]:
        headers = {
            "User-Agent": f"llama-conversations/{version('llama-conversations')}",
            "Accept": "application/json",
            "Accept-Encoding": "identity",  # tokens come in small pieces: compressing them costs both sides time
        }
        if self._config.api_key is not None:
            headers["Authorization"] = f"Bearer {self._config.api_key.get_secret_value()}"
        given = {name: value.get_secret_value() for name, value in self._config.headers.items()}
        replaced = {name.lower() for name in given}
        return {name: value for name, value in headers.items() if name.lower() not in replaced} | given

    def _address(self, path: str) -> URL:
        return self._base.joinpath(*path.split("/")).with_query(self._query)


def _delay_after_refusal(response: aiohttp.ClientResponse, error: UpstreamError, retry: int) -> float | None:
    exhausted = isinstance(error, UpstreamRateLimited) and error.code == INSUFFICIENT_QUOTA
    if exhausted or not is_repeatable(response.status):
        return None
    return delay_before(retry, response.headers.get("Retry-After"))


def _delay_after_fault(fault: aiohttp.ClientError | TimeoutError, retry: int) -> float | None:
    if isinstance(fault, aiohttp.ClientSSLError) or not isinstance(fault, aiohttp.ClientConnectionError):
        return None  # the same again would bring the same, or take as long again
    hung_up = not isinstance(fault, UNREACHABLE)
    # mostly an idle connection that the server was just closing: a new one needs no pause
    return 0.0 if hung_up and retry == 0 else delay_before(retry)
