"""Asking a running server."""

from __future__ import annotations

import http.client
import urllib.error
import urllib.request

from pydantic import ValidationError

from llama_conversations.wire.catalog import ModelList


class NoAnswer(Exception):
    """There is no server of ours at the address."""


def ask_for_models(url: str, seconds: float) -> ModelList:
    """The models of the server at ``url``, with or without ``/v1`` at its end. Errors: ``NoAnswer``."""
    address = f"{url.rstrip('/').removesuffix('/v1')}/v1/models"
    if not address.startswith(("http://", "https://")):
        raise NoAnswer(f"'{url}' is no http:// or https:// address.")
    try:
        with urllib.request.urlopen(address, timeout=seconds) as answer:  # noqa: S310 the scheme was checked
            return ModelList.model_validate_json(answer.read())
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise NoAnswer(f"{address} does not answer as it should: {_reason(error)}.") from error


def _reason(error: Exception) -> str:
    if isinstance(error, ValidationError):
        return "it is no list of models of a server like this one"
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    return cause.strerror if isinstance(cause, OSError) and cause.strerror else str(cause)
