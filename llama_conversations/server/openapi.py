"""The OpenAPI 3.1 document of a set of routes: everything in it comes from the protocols and their models."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from typing import Any

from pydantic import JsonValue, TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode, JsonSchemaValue
from pydantic_core import core_schema

from llama_conversations.server.errors import ErrorEnvelope
from llama_conversations.server.parameters import Keyed, Parameter, QueryParameter, Repeated
from llama_conversations.server.routes import Route

OPENAPI_VERSION = "3.1.0"
TITLE = "llama-conversations"
DISTRIBUTION = "llama-conversations"

Object = dict[str, JsonValue]
Key = tuple[str, str]
"""What a schema describes: a route's operation id, and a parameter's name, ``(body)`` or ``(answer)``."""

_BODY, _ANSWER = "(body)", "(answer)"
_ERROR: Key = ("", _ANSWER)


def openapi_document(routes: Sequence[Route]) -> Object:
    """Describe the routes (OpenAPI Specification 3.1.0)."""
    schemas, components = _schemas(routes)
    paths: dict[str, JsonValue] = {}
    for route in routes:
        path = route.webmethod.path.replace(":path}", "}")
        operations = paths.setdefault(path, {})
        assert isinstance(operations, dict)  # noqa: S101  # for the type checker: made in the line above
        operations[route.webmethod.method.lower()] = _operation(route, schemas)
    return {
        "openapi": OPENAPI_VERSION,
        "info": {"title": TITLE, "version": version(DISTRIBUTION)},
        "tags": [_tag(protocol) for protocol in dict.fromkeys(route.protocol for route in routes)],
        "paths": paths,
        "components": {
            "schemas": components,
            "responses": {"Error": {"description": "The request failed.", "content": _json(schemas[_ERROR])}},
        },
    }


def _tag(protocol: type) -> JsonValue:
    return {"name": protocol.__name__, "description": inspect.getdoc(protocol) or ""}


def _operation(route: Route, schemas: dict[Key, Object]) -> Object:
    summary, _, description = (inspect.getdoc(getattr(route.protocol, route.name)) or "").partition("\n\n")
    operation: Object = {
        "operationId": route.name,
        "tags": [route.protocol.__name__],
        "summary": " ".join(summary.split()),
        "parameters": [
            _parameter(parameter, schemas[route.name, parameter.name]) for parameter in route.parameters.named()
        ],
        "responses": {"200": _answer(route, schemas), "default": {"$ref": "#/components/responses/Error"}},
    }
    if description:
        operation["description"] = description
    if (body := route.parameters.body) is not None:
        operation["requestBody"] = {"required": not body.optional, "content": _json(schemas[route.name, _BODY])}
    return operation


def _parameter(parameter: Parameter, schema: Object) -> Object:
    if not isinstance(parameter, QueryParameter):
        return {"name": parameter.name, "in": "path", "required": True, "schema": schema}
    described: Object = {"name": parameter.name, "in": "query", "required": parameter.required, "schema": schema}
    if isinstance(parameter, Keyed):
        described |= {"style": "deepObject", "explode": True}
    elif isinstance(parameter, Repeated):
        described["name"] = f"{parameter.name}[]"
    if not parameter.required and parameter.default is not None:
        described["schema"] = schema | {"default": TypeAdapter(object).dump_python(parameter.default, mode="json")}
    return described


def _answer(route: Route, schemas: dict[Key, Object]) -> Object:
    content = _json(schemas[route.name, _ANSWER])
    if route.streams:
        content["text/event-stream"] = {"schema": {"type": "string"}}
    return {"description": inspect.getdoc(route.answer) or "", "content": content}


def _json(schema: Object) -> Object:
    return {"application/json": {"schema": schema}}


def _schemas(routes: Sequence[Route]) -> tuple[dict[Key, Object], Object]:
    """The schema of everything that has one, and the components that they refer to."""
    described, definitions = TypeAdapter.json_schemas(
        _described(routes), ref_template="#/components/schemas/{model}", schema_generator=_Schemas
    )
    return {key: schema for (key, _), schema in described.items()}, definitions.get("$defs", {})


def _described(routes: Sequence[Route]) -> Iterator[tuple[Key, JsonSchemaMode, TypeAdapter[Any]]]:
    yield _ERROR, "serialization", TypeAdapter(ErrorEnvelope)
    for route in routes:
        for parameter in route.parameters.named():
            yield (route.name, parameter.name), "validation", parameter.adapter
        if route.parameters.body is not None:
            yield (route.name, _BODY), "validation", TypeAdapter(route.parameters.body.model)
        yield (route.name, _ANSWER), "serialization", TypeAdapter(route.answer)


class _Schemas(GenerateJsonSchema):
    """Without titles made from names, which tell nothing that the names do not."""

    def field_title_should_be_set(self, schema: object) -> bool:  # noqa: ARG002  # pydantic's signature
        return False

    def tagged_union_schema(self, schema: core_schema.TaggedUnionSchema) -> JsonSchemaValue:
        """Members of our unions may overlap (a value of one may fit another), which ``oneOf`` would forbid."""
        described = super().tagged_union_schema(schema)
        if "oneOf" in described:
            described["anyOf"] = described.pop("oneOf")
        return described
