from __future__ import annotations

import json
import re
from html.parser import HTMLParser

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from llama_conversations.apis.catalog import Inspect, Models, Providers
from llama_conversations.apis.chat import ChatCompletions
from llama_conversations.apis.conversations import Conversations
from llama_conversations.apis.prompts import Prompts
from llama_conversations.apis.responses import Responses
from llama_conversations.server.openapi import openapi_document
from llama_conversations.server.parameters import parameters_of
from llama_conversations.server.routes import Route, bind
from llama_conversations.wire.base import UNION_TAG
from unit.server.toy import Toybox, Toys

APIS = (Conversations, Responses, ChatCompletions, Prompts, Models, Providers, Inspect)


class Anything:
    """Stands in for an implementation of any API: the document needs none."""

    def __getattr__(self, name: str) -> object:
        async def method(**arguments: object) -> None:
            raise NotImplementedError(name)

        return method


def served() -> list[Route]:
    return [route for api in APIS for route in bind(api, Anything())]


@pytest.fixture(scope="module")
def document() -> dict:
    return json.loads(json.dumps(openapi_document(served())))


@pytest.fixture
def toys() -> dict:
    return json.loads(json.dumps(openapi_document(bind(Toys, Toybox()))))


def test_the_document_of_the_served_apis_is_valid_openapi(document):
    OpenAPIV31SpecValidator(document).validate()


def test_every_route_is_described_once(document):
    operations = {
        (method.upper(), path): operation["operationId"]
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }
    wanted = {(r.webmethod.method, r.webmethod.path.replace(":path}", "}")): r.name for r in served()}
    assert operations == wanted
    assert len(set(operations.values())) == len(operations)


def test_tags_of_unions_do_not_show(document):
    assert UNION_TAG not in "".join(_texts(document))


def _texts(value: object) -> list[str]:
    if isinstance(value, dict):
        return [text for key, part in value.items() for text in (key, *_texts(part))]
    if isinstance(value, list):
        return [text for part in value for text in _texts(part)]
    return [value] if isinstance(value, str) else []


def test_every_reference_leads_somewhere_and_every_schema_is_used(document):
    text = json.dumps(document)
    referred = set(re.findall(r'"#/components/schemas/([^"]+)"', text))
    assert referred == set(document["components"]["schemas"])


def test_docstrings_tell_what_an_operation_does(toys):
    operation = toys["paths"]["/v1/toys"]["get"]
    assert operation["summary"] == "List toys."
    assert operation["description"] == "``metadata[key]=value`` keeps those that have that pair."
    assert toys["tags"] == [{"name": "Toys", "description": "Toys of ``every`` kind."}]


def test_parameters_are_described_with_their_bounds_and_defaults(toys):
    described = {p["name"]: p for p in toys["paths"]["/v1/toys"]["get"]["parameters"]}
    assert described["limit"]["schema"] == {"type": "integer", "minimum": 1, "maximum": 100, "default": 20}
    assert described["order"]["schema"] == {"type": "string", "enum": ["asc", "desc"], "default": "desc"}
    assert described["after"] == {"name": "after", "in": "query", "required": False, "schema": {"type": "string"}}
    assert described["include[]"]["schema"]["type"] == "array"
    assert (described["metadata"]["style"], described["metadata"]["explode"]) == ("deepObject", True)
    (since,) = toys["paths"]["/v1/toys/best"]["get"]["parameters"]
    assert (since["required"], since["schema"]) == (True, {"type": "integer"})
    toy_id, number = toys["paths"]["/v1/toys/{toy_id}/parts/{number}"]["delete"]["parameters"]
    assert toy_id == {"name": "toy_id", "in": "path", "required": True, "schema": {"type": "string"}}
    assert number["schema"] == {"type": "integer"}


def test_bodies_and_answers_are_described(toys):
    schema = "#/components/schemas/"
    create = toys["paths"]["/v1/toys"]["post"]
    update = toys["paths"]["/v1/toys/{toy_id}/parts/{number}"]["post"]
    assert create["requestBody"]["required"] is False
    assert update["requestBody"] == {
        "required": True,
        "content": {"application/json": {"schema": {"$ref": schema + "Note"}}},
    }
    assert update["responses"]["200"] == {
        "description": "What the implementation was called with.",
        "content": {"application/json": {"schema": {"$ref": schema + "Echo"}}},
    }
    assert "text/event-stream" in toys["paths"]["/v1/play"]["post"]["responses"]["200"]["content"]
    assert update["responses"]["default"] == {"$ref": "#/components/responses/Error"}
    envelope = toys["components"]["schemas"]["ErrorBody"]
    assert envelope["required"] == ["message", "type", "param", "code"]


def test_a_path_parameter_that_takes_slashes_is_described_as_an_ordinary_one(toys):
    assert toys["paths"]["/v1/files/{name}"]["get"]["parameters"][0]["name"] == "name"


def test_what_is_described_as_a_query_parameter_is_read_as_one():
    for api in APIS:
        for route in bind(api, Anything()):
            assert parameters_of(getattr(api, route.name), route.webmethod.route).query.keys() == (
                route.parameters.query.keys()
            )


async def test_the_document_is_served(client):
    first, second = [await client.get("/openapi.json") for _ in range(2)]
    assert first.headers["content-type"] == "application/json"
    assert first.content == second.content
    assert first.json()["info"]["title"] == "llama-conversations"
    assert "/v1/toys/{toy_id}" in first.json()["paths"]


class _Page(HTMLParser):
    VOID = frozenset({"meta"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.links: set[str] = set()
        self.ids: set[str] = set()

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        if tag not in self.VOID:
            self.open.append(tag)
        for name, value in attrs:
            if name in {"href", "src"}:
                self.links.add(value)
            if name == "id":
                self.ids.add(value)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


async def test_the_page_for_people_needs_nothing_from_elsewhere(client):
    answer = await client.get("/docs")
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    page = _Page()
    page.feed(answer.text)
    page.close()
    assert page.open == []
    assert not page.tags & {"script", "link", "img", "iframe"}
    assert page.links - {"/openapi.json"} == {"#" + name for name in page.ids if f"#{name}" in page.links}
    assert {route.name for route in bind(Toys, Toybox())} <= page.ids
    assert "Toys of <code>every</code> kind." in answer.text
    assert "(may be absent)" in answer.text


async def test_the_documents_are_only_to_be_read(client):
    assert (await client.head("/docs")).status_code == 200
    assert (await client.post("/openapi.json")).status_code == 405
