from __future__ import annotations

import pytest

from llama_conversations.errors import MethodNotAllowed, RouteNotFound
from llama_conversations.server.dispatch import RouteTable


def table(*routes: tuple[str, str]) -> RouteTable[str]:
    made: RouteTable[str] = RouteTable()
    for method, path in routes:
        made.add(method, path, f"{method} {path}")
    return made


ROUTES = table(
    ("GET", "/v1/things"),
    ("POST", "/v1/things"),
    ("GET", "/v1/things/{thing_id}"),
    ("POST", "/v1/things/count"),
    ("GET", "/v1/things/{thing_id}/parts/{part_id}"),
    ("GET", "/v1/models"),
    ("GET", "/v1/models/{model_id:path}"),
)


def find(method: str, path: str) -> tuple[str, list[str]]:
    target, values = ROUTES.find(method, path, path.encode())
    return target, list(values)


def test_paths_lead_to_what_is_served_there():
    assert find("GET", "/v1/things") == ("GET /v1/things", [])
    assert find("POST", "/v1/things") == ("POST /v1/things", [])
    assert find("GET", "/v1/things/x") == ("GET /v1/things/{thing_id}", ["x"])
    assert find("GET", "/v1/things/x/parts/y") == ("GET /v1/things/{thing_id}/parts/{part_id}", ["x", "y"])
    assert find("GET", "/v1/models/a/b") == ("GET /v1/models/{model_id:path}", ["a/b"])


def test_a_literal_segment_wins_over_a_parameter():
    assert find("POST", "/v1/things/count") == ("POST /v1/things/count", [])
    with pytest.raises(MethodNotAllowed):
        find("GET", "/v1/things/count")


def test_head_is_served_as_get():
    assert find("HEAD", "/v1/things") == ("GET /v1/things", [])


@pytest.mark.parametrize(
    "path",
    ["", "/", "/v1", "/v1/", "/v1/thing", "/v1/things/", "/v1//things", "/v1/things//parts/y", "/v1/things/x/",
     "/v1/things/x/parts", "/v1/models/", "/v2/things", "things"],
)  # fmt: skip
def test_any_other_path_leads_nowhere(path):
    with pytest.raises(RouteNotFound):
        find("GET", path)


def test_a_wrong_method_tells_the_right_ones():
    with pytest.raises(MethodNotAllowed) as caught:
        find("DELETE", "/v1/things")
    assert caught.value.allowed == ("GET", "POST", "HEAD", "OPTIONS")
    with pytest.raises(MethodNotAllowed) as caught:
        find("HEAD", "/v1/things/count")
    assert caught.value.allowed == ("POST", "OPTIONS")


def test_two_things_under_one_route_are_a_programming_error():
    with pytest.raises(ValueError, match="is served already"):
        table(("GET", "/v1/a/{x}"), ("GET", "/v1/a/{y}"))


def test_a_parameter_that_takes_slashes_must_come_last():
    with pytest.raises(ValueError, match="must come last"):
        table(("GET", "/v1/{name:path}/more"))
