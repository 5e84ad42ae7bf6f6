"""The OpenAPI document as one page of plain HTML: no script, nothing from elsewhere, so it works offline."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

Json = Mapping[str, Any]

_CODE = re.compile(r"``(.+?)``")
_REFERENCE = re.compile(r"#/components/schemas/([\w.-]+)")

_STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #8882; }
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 62rem; padding: 0 1rem; }
code, pre { font: 13px/1.45 ui-monospace, monospace; }
pre { background: var(--soft); border-radius: 4px; overflow-x: auto; padding: .7rem; }
details { border: 1px solid var(--line); border-radius: 4px; margin: .4rem 0; padding: .4rem .7rem; }
summary { cursor: pointer; }
summary b { display: inline-block; width: 4.5rem; }
summary span { opacity: .75; padding-left: .7rem; }
table { border-collapse: collapse; margin: .5rem 0; }
td, th { border-bottom: 1px solid var(--line); padding: .2rem .9rem .2rem 0; text-align: left; vertical-align: top; }
"""


def docs_page(document: Json, document_path: str) -> str:
    """A page that shows an OpenAPI document.

    Args:
        document_path: Where the document itself is served.
    """
    title = escape(f"{document['info']['title']} {document['info']['version']}")
    return "\n".join(
        (
            "<!doctype html>",
            f'<html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>{_STYLE}</style></head><body>',
            f'<h1>{title}</h1><p>The same for programs: <a href="{document_path}">{document_path}</a></p>',
            *_sections(document),
            "<h2>Schemas</h2>",
            *(_schema(name, schema) for name, schema in sorted(document["components"]["schemas"].items())),
            "</body></html>",
        )
    )


def _sections(document: Json) -> Iterator[str]:
    for tag in document["tags"]:
        yield f"<h2>{escape(tag['name'])}</h2>{_prose(tag['description'])}"
        for path, operations in document["paths"].items():
            for method, operation in operations.items():
                if tag["name"] in operation["tags"]:
                    yield _operation(method.upper(), path, operation)


def _operation(method: str, path: str, operation: Json) -> str:
    parts = [_prose(operation.get("description", "")), _parameters(operation["parameters"])]
    if body := operation.get("requestBody"):
        parts.append("<h4>Body" + ("" if body["required"] else " (may be absent)") + f"</h4>{_contents(body)}")
    parts.append(f"<h4>Answer</h4>{_contents(operation['responses']['200'])}")
    return (
        f'<details id="{escape(operation["operationId"])}"><summary><b>{method}</b><code>{escape(path)}</code>'
        f"<span>{_inline(operation['summary'])}</span></summary>{''.join(parts)}</details>"
    )


def _parameters(parameters: list[Json]) -> str:
    rows = "".join(
        f"<tr><td><code>{escape(parameter['name'])}</code></td><td>{parameter['in']}</td>"
        f"<td>{'required' if parameter['required'] else 'optional'}</td>"
        f"<td><code>{_linked(json.dumps(parameter['schema']))}</code></td></tr>"
        for parameter in parameters
    )
    return f"<table><tr><th>Parameter</th><th>In</th><th></th><th>Schema</th></tr>{rows}</table>" if rows else ""


def _contents(holder: Json) -> str:
    return "".join(
        f"<p>{escape(media_type)}: <code>{_linked(json.dumps(content['schema']))}</code></p>"
        for media_type, content in holder["content"].items()
    )


def _schema(name: str, schema: Json) -> str:
    written = _linked(json.dumps(schema, indent=2, ensure_ascii=False))
    return (
        f'<details id="schema-{escape(name)}"><summary><code>{escape(name)}</code></summary>'
        f"<pre>{written}</pre></details>"
    )


def _linked(text: str) -> str:
    """Escaped, with a link at every reference to a schema."""
    return _REFERENCE.sub(r'<a href="#schema-\1">\1</a>', escape(text, quote=False))


def _prose(text: str) -> str:
    return "".join(f"<p>{_inline(paragraph)}</p>" for paragraph in text.split("\n\n") if paragraph)


def _inline(text: str) -> str:
    return _CODE.sub(r"<code>\1</code>", escape(text))
