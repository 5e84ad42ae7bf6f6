"""The answer to ``GET /models``, as the various model servers write it."""

from __future__ import annotations

from collections.abc import Sequence

import orjson

from llama_conversations.apis.inference import ProviderModel


class NotAModelList(ValueError):
    """The body is no list of models."""


def read_models(body: bytes) -> list[ProviderModel]:
    """The models of ``{"data": [{"id": …}]}``, or of the bare list (Together); entries without an id are left out.

    Raises ``NotAModelList``.
    """
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise NotAModelList from error
    entries = found.get("data") if isinstance(found, dict) else found
    if entries is None and isinstance(found, dict) and found.get("object") == "list":
        return []  # Ollama without models: {"object": "list", "data": null}
    if not isinstance(entries, list):
        raise NotAModelList
    return [model for entry in entries if (model := _read_model(entry)) is not None]


def choose(models: Sequence[ProviderModel], allowed: Sequence[str] | None) -> list[ProviderModel]:
    """Those that are allowed, in the model server's order, each id once."""
    unique = {model.id: model for model in models}
    return [model for model in unique.values() if allowed is None or model.id in allowed]


def _read_model(entry: object) -> ProviderModel | None:
    if not isinstance(entry, dict):
        return None
    model_id, owner = entry.get("id"), entry.get("owned_by")
    if not isinstance(model_id, str) or not model_id:
        return None
    return ProviderModel(
        id=model_id,
        created=_positive(entry.get("created")),
        owned_by=owner if isinstance(owner, str) else None,
        context_length=_context_length(entry),
    )


def _context_length(entry: dict[str, object]) -> int | None:
    """``context_length`` (OpenRouter, Together), ``max_model_len`` (vLLM); llama.cpp tells in ``meta`` the context that
    it runs with, and the one that the model was trained for."""
    meta = entry.get("meta")
    places = [entry.get("context_length"), entry.get("max_model_len")]
    if isinstance(meta, dict):
        places += [meta.get("n_ctx"), meta.get("n_ctx_train")]
    return next((length for place in places if (length := _positive(place)) is not None), None)


def _positive(value: object) -> int | None:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None
