"""Web searches by a service that answers over HTTP in JSON."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Sequence
from importlib.metadata import version
from urllib.parse import quote

import aiohttp
import orjson
from pydantic import JsonValue
from yarl import URL

from llama_conversations.apis.web_search import Search, SearchResult, WebSearch
from llama_conversations.errors import SearchFailed, ShuttingDown
from llama_conversations.stack.provider_spec import ProviderContext
from llama_conversations.wire.catalog import Health
from llama_conversations_providers.inference.openai_wire.connection import environment_proxy, tls_context
from llama_conversations_providers.inference.openai_wire.faults import FAULTS, UNREACHABLE
from llama_conversations_providers.web_search.remote.answers import NotAnAnswer, read_results
from llama_conversations_providers.web_search.remote.config import QUERY, WebSearchConfig


def create(context: ProviderContext) -> RemoteWebSearch:
    """The factory of ``remote::web-search``. Raises ``ConfigError`` for TLS files that cannot be used."""
    if not isinstance(context.config, WebSearchConfig):
        raise TypeError(f"expected a WebSearchConfig, got {type(context.config).__name__}")
    tls = tls_context(context.provider_id, context.config.tls)
    return RemoteWebSearch(context.provider_id, context.config, tls)


class RemoteWebSearch(WebSearch):
    """Searches by one service; see ``WebSearchConfig`` for what can be set.

    Its address is the operator's, so it may be anywhere; addresses of results are never asked for.

    Args:
        tls: As aiohttp takes it: a context, or whether to check certificates at all.
    """

    def __init__(self, provider_id: str, config: WebSearchConfig, tls: ssl.SSLContext | bool) -> None:
        self._provider_id, self._config, self._tls = provider_id, config, tls
        self._session: aiohttp.ClientSession | None = None

    async def initialize(self) -> None:
        """Make the connection pool; nothing is connected yet."""
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ssl=self._tls),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers=self._headers(),
            timeout=aiohttp.ClientTimeout(total=self._config.timeout_seconds),
            proxy=environment_proxy(URL(self._config.url.replace(QUERY, ""))),
        )

    async def shutdown(self) -> None:
        """Drop the connections."""
        if self._session is not None:
            await self._session.close()

    async def health(self) -> Health:
        """Whether searches can be sent; the service itself is not asked, since it may count every question."""
        is_open = self._session is not None and not self._session.closed
        return Health(status="ok") if is_open else Health(status="error", message="It is not open.")

    async def search(self, search: Search) -> Sequence[SearchResult]:
        """See ``WebSearch``."""
        try:
            async with asyncio.timeout(self._config.timeout_seconds):
                body = await self._ask(search)
            return read_results(body, self._config.answer)[: self._config.max_results]
        except FAULTS as fault:
            raise self._failed(self._in_words(fault)) from fault
        except NotAnAnswer as error:
            raise self._failed("the search service's answer is not one of search results") from error

    async def _ask(self, search: Search) -> bytes:
        if self._session is None or self._session.closed:
            raise ShuttingDown
        query, parameters = self._query(search), self._parameters(search)
        url = URL(self._config.url.replace(QUERY, quote(query, safe="")), encoded=QUERY in self._config.url)
        if QUERY not in self._config.url:
            parameters[self._config.query_parameter] = query
        is_get = self._config.method == "GET"
        async with self._session.request(
            self._config.method,
            url.extend_query({name: _text(value) for name, value in parameters.items()}) if is_get else url,
            data=None if is_get else orjson.dumps(parameters),
            headers=None if is_get else {"Content-Type": "application/json"},
            allow_redirects=False,
        ) as response:
            if response.status != 200:
                raise self._failed(_refusal(response.status))
            return await self._read(response)

    def _query(self, search: Search) -> str:
        sites = " OR ".join(f"site:{domain}" for domain in search.allowed_domains)
        if not sites or self._config.domains_parameter is not None:
            return search.query
        return f"{search.query} {sites if len(search.allowed_domains) == 1 else f'({sites})'}"

    def _parameters(self, search: Search) -> dict[str, JsonValue]:
        """What is sent beside the query."""
        config, parameters = self._config, dict(self._config.parameters)
        if config.api_key is not None and config.api_key_parameter is not None:
            parameters[config.api_key_parameter] = config.api_key.get_secret_value()
        if config.count_parameter is not None:  # of what is found, pages of other domains are dropped later
            wanted = config.max_results if search.allowed_domains else min(config.max_results, search.max_results)
            parameters[config.count_parameter] = wanted
        if config.domains_parameter is not None and search.allowed_domains:
            parameters[config.domains_parameter] = list(search.allowed_domains)
        country = search.location.country if search.location else None
        if config.country_parameter is not None and country:
            parameters[config.country_parameter] = country
        return parameters

    async def _read(self, response: aiohttp.ClientResponse) -> bytes:
        body = bytearray()
        async for piece in response.content.iter_any():
            body += piece
            if len(body) > self._config.max_response_bytes:
                raise self._failed(f"its answer is longer than {self._config.max_response_bytes} bytes")
        return bytes(body)

    def _headers(self) -> dict[str, str]:
        headers = {"User-Agent": f"llama-conversations/{version('llama-conversations')}", "Accept": "application/json"}
        if self._config.api_key is not None and self._config.api_key_parameter is None:
            key, name = self._config.api_key.get_secret_value(), self._config.api_key_header
            headers[name] = f"Bearer {key}" if name.lower() == "authorization" else key
        given = {name: value.get_secret_value() for name, value in self._config.headers.items()}
        replaced = {name.lower() for name in given}
        return {name: value for name, value in headers.items() if name.lower() not in replaced} | given

    def _in_words(self, fault: Exception) -> str:
        if isinstance(fault, aiohttp.ClientSSLError):
            return "no trusted TLS connection to the search service could be made"
        if isinstance(fault, UNREACHABLE):
            return "the search service could not be reached"
        if isinstance(fault, TimeoutError):
            return f"the search service did not answer within {self._config.timeout_seconds:g} seconds"
        return "the connection to the search service ended before a whole answer had come"

    def _failed(self, reason: str) -> SearchFailed:
        return SearchFailed(self._provider_id, reason)


def _text(value: JsonValue) -> str:
    """A value as it stands in a URL; of a list, its members with commas between them."""
    if isinstance(value, list):
        return ",".join(map(_text, value))
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def _refusal(status: int) -> str:
    if status in {401, 403}:
        return f"the search service refused this server's credentials, or its request (status {status})"
    if status == 429:
        return "the search service is asked too often (status 429)"
    if status >= 500:
        return f"the search service has failed (status {status})"
    return f"the search service did not take the request (status {status})"
