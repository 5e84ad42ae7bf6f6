"""Telling browsers which pages may call the server. Imported where that is configured: it takes more of Starlette."""

from __future__ import annotations

from starlette.datastructures import Headers as RequestHeaders
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp

from llama_conversations.config.run_config import CorsConfig
from llama_conversations.errors import RequestError
from llama_conversations.server.browsers import JSON
from llama_conversations.server.errors import refusal_of
from llama_conversations.server.exchange import api_headers, new_request_id

__all__ = ["CorsApp"]

_EXPOSED_HEADERS = (
    "x-request-id",
    "openai-processing-ms",
    "retry-after",
    "retry-after-ms",
    "x-should-retry",
    "idempotent-replayed",
)


class CorsApp(CORSMiddleware):
    """An app that tells browsers which pages may call it."""

    def __init__(self, app: ASGIApp, cors: CorsConfig) -> None:
        super().__init__(
            app,
            allow_origins=cors.allow_origins,
            allow_methods=cors.allow_methods,
            allow_headers=cors.allow_headers,
            allow_credentials=cors.allow_credentials,
            expose_headers=_EXPOSED_HEADERS,
        )

    def preflight_response(self, request_headers: RequestHeaders) -> Response:
        """The answer to a preflight, with what every answer of ours carries."""
        answer = super().preflight_response(request_headers)
        request_id = new_request_id()
        if answer.status_code >= 400:
            refusal = refusal_of(RequestError(bytes(answer.body).decode()), request_id)
            kept = {name: answer.headers[name] for name in answer.headers if not name.startswith("content-")}
            answer = Response(refusal.body, refusal.status, kept, JSON.decode())
        answer.raw_headers += api_headers(request_id, 0)
        return answer
