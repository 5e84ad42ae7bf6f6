"""Prompts in versions."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor

import pytest

from harness.answers import ok, refused

HELLO = {"prompt": "Hello {{name}}, from {{ place }}!"}


def created(http, **fields):
    return ok(http.post("/prompts", json={**HELLO, **fields}))


def test_a_prompt_is_created_as_version_1(http):
    made = created(http)
    assert re.fullmatch(r"pmpt_[0-9a-f]{48}", made["prompt_id"])
    assert type(made["created_at"]) is int
    assert made == {
        "prompt_id": made["prompt_id"],
        "object": "prompt",
        "prompt": HELLO["prompt"],
        "version": 1,
        "variables": ["name", "place"],
        "is_default": True,
        "created_at": made["created_at"],
    }
    assert ok(http.get(f"/prompts/{made['prompt_id']}")) == made


def test_variables_may_be_declared_and_must_be_those_of_the_text(http):
    assert created(http, variables=["place", "name"])["variables"] == ["place", "name"]
    for variables, param in (
        (["name"], "variables"),
        (["name", "place", "age"], "variables[2]"),
        (["name", "place", "name"], "variables[2]"),
        (["name", "1place"], "variables[1]"),
    ):
        refused(http.post("/prompts", json={**HELLO, "variables": variables}), 400, "invalid_value", param)


def test_a_text_without_variables_has_none(http):
    text = "{name} {{}} {{1a}} {{a b}} { {x} }"
    assert ok(http.post("/prompts", json={"prompt": text}))["variables"] == []


def test_an_update_is_a_new_version(http):
    first = created(http)
    url = f"/prompts/{first['prompt_id']}"
    second = ok(http.post(url, json={"prompt": "Bye {{name}}", "version": 1}))
    assert (second["version"], second["is_default"], second["variables"]) == (2, True, ["name"])
    assert ok(http.get(url)) == second
    assert ok(http.get(url, params={"version": 1})) == first | {"is_default": False}
    third = ok(http.post(url, json={"prompt": "Hm", "version": 2, "set_as_default": False}))
    assert (third["version"], third["is_default"]) == (3, False)
    assert ok(http.get(url)) == second
    versions = ok(http.get(f"{url}/versions"))
    assert versions == {"object": "list", "data": [first | {"is_default": False}, second, third]}


@pytest.mark.parametrize("version", [0, 1, 3, -1, 2**31, 10**40])
def test_an_update_must_be_made_from_the_latest_version(http, version):
    url = f"/prompts/{created(http)['prompt_id']}"
    ok(http.post(url, json={"prompt": "2", "version": 1}))
    message = refused(http.post(url, json={"prompt": "x", "version": version}), 400, "invalid_value", "version")
    assert "2" in message
    assert len(ok(http.get(f"{url}/versions"))["data"]) == 2


def test_the_default_version_can_be_chosen(http):
    first = created(http)
    url = f"/prompts/{first['prompt_id']}"
    ok(http.post(url, json={"prompt": "2", "version": 1}))
    assert ok(http.post(f"{url}/set-default-version", json={"version": 1})) == first
    assert ok(http.get(url)) == first
    assert [version["is_default"] for version in ok(http.get(f"{url}/versions"))["data"]] == [True, False]


def test_the_list_has_the_default_version_of_every_prompt_the_newest_first(http):
    first, second = created(http), created(http)
    latest = ok(http.post(f"/prompts/{first['prompt_id']}", json={"prompt": "2", "version": 1}))
    listed = ok(http.get("/prompts"))
    assert listed["object"] == "list"
    assert listed["data"][:2] == [second, latest]


def test_a_deleted_prompt_is_gone_with_its_versions(http):
    made = created(http)
    url = f"/prompts/{made['prompt_id']}"
    assert ok(http.delete(url)) == {"id": made["prompt_id"], "object": "prompt.deleted", "deleted": True}
    for answer in (
        http.get(url),
        http.get(f"{url}/versions"),
        http.get(url, params={"version": 1}),
        http.post(url, json={"prompt": "x", "version": 1}),
        http.post(f"{url}/set-default-version", json={"version": 1}),
        http.delete(url),
    ):
        assert made["prompt_id"] in refused(answer, 404)
    assert made["prompt_id"] not in http.get("/prompts").text


@pytest.mark.parametrize("version", [0, -1, 2, 2**31, 2**63, -(2**63) - 1, 10**40])
def test_a_version_that_is_not_there_is_not_found(http, version):
    url = f"/prompts/{created(http)['prompt_id']}"
    refused(http.get(url, params={"version": version}), 404)
    refused(http.post(f"{url}/set-default-version", json={"version": version}), 404)
    assert ok(http.get(url))["version"] == 1


@pytest.mark.parametrize(
    ("body", "code", "param"),
    [
        ({}, "missing_required_parameter", "prompt"),
        ({"prompt": None}, "invalid_type", "prompt"),
        ({"prompt": 1}, "invalid_type", "prompt"),
        ({"prompt": "a", "variables": "b"}, "invalid_type", "variables"),
        ({"prompt": "a", "variables": [1]}, "invalid_type", "variables[0]"),
        ({"prompt": "a", "version": 1}, "unknown_parameter", "version"),
    ],
    ids=str,
)
def test_a_bad_prompt_is_refused(http, body, code, param):
    refused(http.post("/prompts", json=body), 400, code, param)


def test_a_version_is_a_number(http):
    url = f"/prompts/{created(http)['prompt_id']}"
    refused(http.get(url, params={"version": "x"}), 400, "invalid_type", "version")
    refused(http.post(url, json={"prompt": "a", "version": "1"}), 400, "invalid_type", "version")
    refused(http.post(f"{url}/set-default-version", json={"version": 1.5}), 400, "invalid_type", "version")


def test_prompts_survive_a_restart(new_server):
    server = new_server().start()
    with server.http() as http:
        made = created(http)
        ok(http.post(f"/prompts/{made['prompt_id']}", json={"prompt": "ünï {{x}}", "version": 1}))
        before = ok(http.get(f"/prompts/{made['prompt_id']}/versions"))
    server.kill()
    with server.start().http() as http:
        assert ok(http.get(f"/prompts/{made['prompt_id']}/versions")) == before


def test_of_updates_at_once_one_wins(server, http):
    url = f"/prompts/{created(http)['prompt_id']}"
    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(lambda n: http.post(url, json={"prompt": str(n), "version": 1}), range(12)))
    assert sorted(answer.status_code for answer in answers) == [200] + [400] * 11
    assert [version["version"] for version in ok(http.get(f"{url}/versions"))["data"]] == [1, 2]
