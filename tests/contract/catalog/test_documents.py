"""The OpenAPI document and the page made from it."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import httpx2
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from llama_conversations.apis.webmethod import webmethods
from llama_conversations.stack.known_apis import SERVICE_APIS


@pytest.fixture(scope="module")
def root(server):
    with httpx2.Client(base_url=server.root_url, timeout=30) as root:
        yield root


@pytest.fixture(scope="module")
def document(root):
    answer = root.get("/openapi.json")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    return answer.json()


def test_the_document_is_valid(document):
    assert list(OpenAPIV31SpecValidator(document).iter_errors()) == []


def test_the_document_lists_every_route_and_no_other(document, http):
    listed = {(method.upper(), path) for path, operations in document["paths"].items() for method in operations}
    served = {
        (route.method, route.path.replace(":path}", "}"))
        for protocol in SERVICE_APIS.values()
        for _, route in webmethods(protocol)
    }
    assert listed == served
    assert len(served) >= 27


def test_every_route_that_is_listed_is_served(document, root):
    for path, operations in document["paths"].items():
        for method in operations:
            answer = root.request(method.upper(), re.sub(r"\{\w+\}", "x", path), content=b"[]")
            assert answer.status_code != 405
            assert not (answer.status_code == 404 and "Invalid URL" in answer.text), (method, path)


def test_every_operation_has_a_summary_an_answer_and_the_errors_envelope(document):
    operations = [operation for path in document["paths"].values() for operation in path.values()]
    names = [operation["operationId"] for operation in operations]
    assert len(set(names)) == len(names)
    for operation in operations:
        assert operation["summary"]
        assert operation["responses"]["200"]["content"]["application/json"]["schema"]
        assert operation["responses"]["default"] == {"$ref": "#/components/responses/Error"}


def test_every_reference_leads_somewhere_and_every_schema_is_used(document):
    text = str(document)
    named = set(re.findall(r"#/components/schemas/([\w.-]+)", text))
    assert named == set(document["components"]["schemas"])


def test_no_inner_word_shows_in_the_document(root):
    text = root.get("/openapi.json").text
    assert "\\u001f" not in text
    assert "llama_conversations." not in text


class Links(HTMLParser):
    """What a page refers to."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.ids: set[str] = set()
        self.tags: set[str] = set()

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.links += [value or "" for name, value in attrs if name in {"href", "src", "action", "srcset", "data"}]
        self.ids |= {value or "" for name, value in attrs if name == "id"}


def test_the_page_needs_nothing_from_elsewhere_and_no_script(root):
    answer = root.get("/docs")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    page = Links()
    page.feed(answer.text)
    assert {link for link in page.links if not link.startswith("#")} == {"/openapi.json"}
    assert {link[1:] for link in page.links if link.startswith("#")} <= page.ids
    assert not page.tags & {"script", "link", "img", "iframe", "object"}
    assert "@import" not in answer.text
    assert "url(" not in answer.text
    assert "default-src 'none'" in answer.headers["content-security-policy"]


def test_the_page_shows_every_operation(root, document):
    page = Links()
    page.feed(root.get("/docs").text)
    names = {operation["operationId"] for path in document["paths"].values() for operation in path.values()}
    assert names <= page.ids


def test_the_documents_carry_a_request_id(root):
    for path in ("/openapi.json", "/docs"):
        assert root.get(path).headers["x-request-id"].startswith("req_")
