"""The language of ``${env.…}`` inside one string."""

import re
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llama_conversations.config.template import (
    MalformedTemplate,
    expand,
    is_all_references,
    nominal_text,
    parse_template,
)

ENVIRON = {"A": "alpha", "B": "beta", "EMPTY": "", "_x9": "under", "lower": "low"}


def said(text: str, environ: dict[str, str] = ENVIRON) -> str:
    return expand(parse_template(text), environ).text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"),
        ("", ""),
        ("${env.A}", "alpha"),
        ("${env._x9}-${env.lower}", "under-low"),
        ("http://${env.A}:${env.B}/x", "http://alpha:beta/x"),
        ("${env.A}${env.B}", "alphabeta"),
        ("${env.NONE:=default}", "default"),
        ("${env.EMPTY:=default}", "default"),
        ("${env.A:=default}", "alpha"),
        ("${env.NONE:=}", ""),
        ("${env.A:+yes}", "yes"),
        ("${env.NONE:+yes}", ""),
        ("${env.EMPTY:+yes}", ""),
        ("${env.A:+}", ""),
        ("${env.A:+[${env.B}]}", "[beta]"),
    ],
)
def test_a_reference_gives_the_variable_the_default_or_the_conditional_value(text: str, expected: str) -> None:
    assert said(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('${env.X:={"a": {"b": 1}}}', '{"a": {"b": 1}}'),
        ('${env.X:={"a": "${env.A}"}}', '{"a": "alpha"}'),
        ("${env.X:=${env.Y:=z}}", "z"),
        ("${env.X:=${env.Y:=${env.B}}!}", "beta!"),
        ("${env.X:=a:=b:+c}", "a:=b:+c"),
        ("${env.X:=a\\}b}", "a}b"),
        ("${env.X:=a\\{b}", "a{b"),
        ('${env.X:={"a": "\\}"}}', '{"a": "}"}'),
        ("${env.X:=C:\\dir\\file}", "C:\\dir\\file"),
        ("${env.X:=C:\\dir\\\\}", "C:\\dir\\"),
        ("${env.X:=line\nbreak}", "line\nbreak"),
        ("${env.X:= 42 }", " 42 "),
    ],
)
def test_a_default_may_hold_braces_json_references_and_backslashes(text: str, expected: str) -> None:
    assert said(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$${env.A}", "${env.A}"),
        ("x$${env.A}y${env.A}", "x${env.A}yalpha"),
        ("${env.X:=$${env.A}}", "${env.A}"),
        ("$${env.", "${env."),
        ("$$${env.A}", "$${env.A}"),
    ],
)
def test_a_doubled_dollar_gives_the_text_of_a_reference(text: str, expected: str) -> None:
    assert said(text) == expected


@pytest.mark.parametrize("text", ["${HOME}", "$HOME", "${env}", "$", "a}b{c", "\\{\\}", "~/x", "{{var}}", "${ENV.A}"])
def test_everything_else_is_left_as_it_is(text: str) -> None:
    assert said(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "${env.",
        "${env.}",
        "${env.1X}",
        "${env.A",
        "${env.A-B}",
        "${env.A :=x}",
        "${env.A:-x}",
        "${env.A:=x",
        "${env.A:={x}",
        "${env.A:=${env.}}",
        "${env.Ä}",
        "ok ${env.A} but ${env.B:?}",
    ],
)
def test_a_malformed_reference_is_refused(text: str) -> None:
    with pytest.raises(MalformedTemplate):
        parse_template(text)


def test_a_variable_s_value_is_not_read_as_a_template() -> None:
    assert said("${env.A}", {"A": "${env.B:=x} $${env.C} \\}"}) == "${env.B:=x} $${env.C} \\}"


def test_missing_variables_are_named_once_each_and_unused_defaults_are_not_looked_at() -> None:
    found = expand(parse_template("${env.P}${env.EMPTY}${env.P}${env.A:=${env.Q}}${env.NONE:+${env.R}}"), ENVIRON)
    assert list(found.missing) == ["P", "EMPTY"]
    assert found.consulted == {"P": None, "EMPTY": "", "A": "alpha", "NONE": None}


@pytest.mark.parametrize(
    ("text", "expected"),
    [("${env.A}", True), ("${env.A}${env.B:=}", True), ("${env.A} ", False), ("", False), ("x", False)],
)
def test_a_template_knows_whether_it_is_references_alone(text: str, expected: bool) -> None:
    assert is_all_references(parse_template(text)) is expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [("${env.A:+ollama}", "ollama"), ("my-${env.A:=x}", "my-x"), ("${env.A}", None), ("${env.A:=${env.B}}", None)],
)
def test_the_nominal_text_takes_every_operand_as_used(text: str, expected: str | None) -> None:
    assert nominal_text(parse_template(text)) == expected


def as_operand(text: str) -> str:
    """Write any text as a default: braces escaped, the backslashes before one, or at the end, doubled."""
    return re.sub(r"(\\*)([{}]|\Z)", lambda run: run[1] * 2 + ("\\" + run[2] if run[2] else ""), text)


any_text = st.text() | st.text(alphabet="\\{}$env.:=+ A", max_size=30)


@given(any_text)
def test_any_text_survives_as_a_variable_s_value(text: str) -> None:
    assert said("<${env.V:=}>", {"V": text}) == f"<{text}>"


@given(any_text)
def test_any_text_can_be_written_as_a_default(text: str) -> None:
    assert said(f"<${{env.NONE:={as_operand(text)}}}>", {}) == f"<{text}>"


@given(any_text)
def test_any_text_can_be_written_as_a_nested_default(text: str) -> None:
    assert said(f"${{env.X:=<${{env.Y:={as_operand(text)}}}>}}", {}) == f"<{text}>"


@given(any_text)
def test_any_text_is_left_as_it_is_or_read_or_refused(text: str) -> None:
    if "${env." in text:
        with suppress(MalformedTemplate):
            expand(parse_template(text), {})
    else:
        assert said(text, {}) == text
