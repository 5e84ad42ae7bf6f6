"""Lists of models, as the various servers write them."""

from __future__ import annotations

import orjson
import pytest

from llama_conversations.apis.inference import ProviderModel
from llama_conversations_providers.inference.openai_wire.models import NotAModelList, choose, read_models


def read(value: object) -> list[ProviderModel]:
    return read_models(orjson.dumps(value))


def test_openais_list_is_read() -> None:
    entry = {"id": "gpt-4.1", "object": "model", "created": 1744316542, "owned_by": "system"}
    assert read({"object": "list", "data": [entry]}) == [ProviderModel("gpt-4.1", 1744316542, "system", None)]


@pytest.mark.parametrize(
    ("extra", "length"),
    [
        ({"context_length": 4096}, 4096),
        ({"max_model_len": 32768}, 32768),
        ({"meta": {"n_ctx": 2048, "n_ctx_train": 8192}}, 2048),
        ({"meta": {"n_ctx_train": 8192}}, 8192),
        ({"meta": None}, None),
        ({"context_length": "4096"}, None),
        ({"context_length": 0, "max_model_len": 5}, 5),
        ({"context_length": True}, None),
    ],
)
def test_the_context_length_is_found_where_the_server_tells_it(extra: dict[str, object], length: int | None) -> None:
    [model] = read({"data": [{"id": "m", **extra}]})
    assert model.context_length == length


def test_a_bare_list_is_read() -> None:
    assert read([{"id": "a"}, {"id": "b"}]) == [ProviderModel("a"), ProviderModel("b")]


def test_entries_without_id_are_left_out_and_odd_fields_ignored() -> None:
    models = read({"data": [{"name": "x"}, 3, {"id": ""}, {"id": 4}, {"id": "a", "created": "now", "owned_by": 3}]})
    assert models == [ProviderModel("a")]


def test_a_time_of_creation_may_be_written_as_a_float() -> None:
    assert read([{"id": "a", "created": 12.0}, {"id": "b", "created": 1.5}]) == [
        ProviderModel("a", 12),
        ProviderModel("b"),
    ]


def test_no_models_at_all_is_an_empty_list() -> None:
    assert read({"object": "list", "data": None}) == []


@pytest.mark.parametrize("body", [b"<html>", b"", b"7", b"{}", b'{"data":{}}', b'"text"', b"null"])
def test_anything_else_is_no_list(body: bytes) -> None:
    with pytest.raises(NotAModelList):
        read_models(body)


def test_only_allowed_models_are_chosen_each_once() -> None:
    models = [ProviderModel("a"), ProviderModel("b"), ProviderModel("a"), ProviderModel("c")]
    assert [model.id for model in choose(models, None)] == ["a", "b", "c"]
    assert [model.id for model in choose(models, ["c", "a", "z"])] == ["a", "c"]
