"""What the server says about itself: models, providers, routes, health, version."""

from __future__ import annotations

from importlib.metadata import version

import openai
import pytest

from harness.answers import ok, refused
from harness.server import UPSTREAM_KEY
from llama_conversations.apis.webmethod import webmethods
from llama_conversations.stack.known_apis import SERVICE_APIS

SECRET = "s3cr3t"


# ----------------------------------------------------------------------------------------------------------- models


def test_models_are_discovered_and_listed_in_the_hosted_apis_shape(http):
    listed = ok(http.get("/models"))
    assert listed["object"] == "list"
    models = {model["id"]: model for model in listed["data"]}
    assert list(models) == sorted(models)
    echo = models["echo"]
    assert (echo["object"], echo["owned_by"], type(echo["created"])) == ("model", "scripted", int)
    assert (echo["provider_id"], echo["provider_model_id"]) == ("scripted", "echo")


def test_a_model_is_retrieved_by_its_bare_name_and_by_its_providers(http):
    bare = ok(http.get("/models/echo"))
    whole = ok(http.get("/models/scripted/echo"))
    assert (bare["provider_id"], bare["provider_model_id"]) == (whole["provider_id"], whole["provider_model_id"])
    assert ok(http.get("/models/scripted%2Fecho")) == whole


@pytest.mark.parametrize("name", ["nope", "scripted/nope", "nope/echo", "a/b/c", "%F0%9F%A6%99", "m" * 300])
def test_an_unknown_model_is_not_found(http, name):
    assert "does not exist" in refused(http.get(f"/models/{name}"), 404, "model_not_found")


def test_the_official_client_lists_and_retrieves_models(client, strict_client):
    for one in (client, strict_client):
        names = [model.id for model in one.models.list()]
        assert "echo" in names
        assert one.models.retrieve("echo").id == "echo"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("nope")


def test_a_model_may_be_registered_under_another_name(new_server):
    models = [{"model_id": "my model/β", "provider_id": "scripted", "provider_model_id": "echo", "metadata": {"a": 1}}]
    with new_server(registered_resources={"models": models}).start().http() as http:
        model = ok(http.get("/models/my%20model%2F%CE%B2"))
        assert (model["id"], model["provider_model_id"], model["metadata"]["a"]) == ("my model/β", "echo", 1)
        assert "my model/β" in [model["id"] for model in ok(http.get("/models"))["data"]]


def test_models_that_were_found_once_stay_known_while_their_server_is_away(new_server, nobody_url, tmp_path):
    directory = tmp_path / "one"
    first = new_server(directory).start()
    with first.http() as http:
        known = ok(http.get("/models"))
    first.stop()
    provider = {
        "provider_id": "scripted",
        "provider_type": "remote::openai",
        "config": {"base_url": nobody_url, "api_key": SECRET, "max_retries": 0},
    }
    with new_server(directory, providers={"inference": [provider]}).start().http() as http:
        assert ok(http.get("/models")) == known


# -------------------------------------------------------------------------------------------------------- providers


def test_providers_are_shown_with_their_health(http, model):
    listed = ok(http.get("/providers"))
    assert listed["object"] == "list"
    (provider,) = listed["data"]
    assert provider.keys() == {"api", "provider_id", "provider_type", "config", "health"}
    assert (provider["api"], provider["provider_id"], provider["provider_type"]) == (
        "inference",
        "scripted",
        "remote::openai",
    )
    assert provider["health"] == {"status": "ok", "message": None}
    assert provider["config"]["base_url"] == model.base_url
    assert ok(http.get("/providers/scripted")) == provider


def test_no_secret_of_a_provider_is_shown(new_server, nobody_url):
    config = {
        "base_url": f"{nobody_url}?api_key={SECRET}-query",
        "api_key": f"sk-{SECRET}",
        "headers": {"X-Api-Key": f"{SECRET}-header", "Authorization": f"Bearer {SECRET}-bearer"},
        "max_retries": 0,
    }
    providers = {"inference": [{"provider_id": "masked", "provider_type": "remote::openai", "config": config}]}
    server = new_server(providers=providers).start()
    with server.http() as http:
        answer = http.get("/providers/masked")
        shown = ok(answer)["config"]
        assert SECRET not in answer.text
        assert SECRET not in http.get("/providers").text
    assert set(shown["api_key"]) == {"*"}
    assert shown["headers"].keys() == config["headers"].keys()
    assert shown["base_url"].startswith(nobody_url)
    server.stop()
    assert SECRET not in server.log


def test_the_upstreams_key_shows_nowhere(http, server):
    for path in ("/providers", "/providers/scripted", "/models", "/inspect/routes"):
        assert UPSTREAM_KEY not in http.get(path).text
    assert UPSTREAM_KEY not in server.log


def test_a_provider_whose_server_is_away_says_so(new_server, nobody_url):
    provider = {
        "provider_id": "away",
        "provider_type": "remote::openai",
        "config": {"base_url": nobody_url, "max_retries": 0},
    }
    with new_server(providers={"inference": [provider]}).start().http() as http:
        health = ok(http.get("/providers/away"))["health"]
        assert health["status"] == "error"
        assert health["message"]
        assert ok(http.get("/health")) == ok(http.get("/health/ready")) == {"status": "ok"}


def test_a_server_without_providers_serves_all_else(new_server):
    with new_server(providers={}).start().http() as http:
        assert ok(http.get("/providers")) == {"object": "list", "data": []}
        assert ok(http.get("/models")) == {"object": "list", "data": []}
        assert ok(http.post("/conversations", json={}))["object"] == "conversation"
        refused(http.post("/responses", json={"model": "m", "input": "x"}), 400, "model_not_found", "model")


@pytest.mark.parametrize("name", ["nope", "%F0%9F%A6%99", "p" * 300])
def test_an_unknown_provider_is_not_found(http, name):
    refused(http.get(f"/providers/{name}"), 404)


# ---------------------------------------------------------------------------------------- routes, health, version


def test_every_route_is_told(http):
    listed = ok(http.get("/inspect/routes"))
    told = [(route["method"], route["route"]) for route in listed["data"]]
    served = {(route.method, route.path) for protocol in SERVICE_APIS.values() for _, route in webmethods(protocol)}
    assert set(told) == served
    assert len(told) == len(served)
    assert all(route.keys() == {"route", "method", "provider_types"} for route in listed["data"])


def test_health_and_version(http):
    for path in ("/health", "/health/live", "/health/ready"):
        assert ok(http.get(path)) == {"status": "ok"}
    assert ok(http.get("/version")) == {"version": version("llama-conversations")}
