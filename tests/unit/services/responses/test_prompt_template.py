"""Stored prompts with their places filled in."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llama_conversations.errors import InvalidParameter
from llama_conversations.services.responses import prompt_template
from llama_conversations.services.responses.prompt_template import fill_prompt

IMAGE = {"type": "input_image", "image_url": "data:image/png;base64,AAAA", "detail": "low"}
FILE = {"type": "input_file", "filename": "a.txt", "file_data": "YQ=="}


def filled(text, values):
    return [part.model_dump(exclude_unset=True) for part in fill_prompt(text, values)]


def text(words):
    return {"type": "input_text", "text": words}


@pytest.mark.parametrize(
    ("prompt", "values", "words"),
    [
        ("Hi {{name}}!", {"name": "Ada"}, "Hi Ada!"),
        ("{{ name }}{{name}}", {"name": "a"}, "aa"),
        ("Hi", {}, "Hi"),
        ("{{a}}", {"a": ""}, ""),
        ("", {}, ""),
        ("{{a}}/{{b}}", {"a": "{{b}}", "b": "{{a}}"}, "{{b}}/{{a}}"),
        ("{name} {{1}} {{}}", {}, "{name} {{1}} {{}}"),
        ("{{a}} b", {"a": {"type": "input_text", "text": "A"}}, "A b"),
    ],
)
def test_text_is_filled_in_as_one_part(prompt, values, words):
    assert filled(prompt, values) == [text(words)]


def test_other_parts_stand_where_their_variables_stand():
    parts = filled("See {{image}} and {{file}}{{image}}: {{what}}", {"image": IMAGE, "file": FILE, "what": "why?"})
    assert parts == [text("See "), IMAGE, text(" and "), FILE, IMAGE, text(": why?")]


def test_a_prompt_of_one_image_has_no_text():
    assert filled("{{image}}", {"image": IMAGE}) == [IMAGE]


@given(st.text(), st.text())
def test_values_are_put_in_as_they_are(before, value):
    prompt = before.replace("{", "") + "{{x}}"
    assert fill_prompt(prompt, {"x": value})[0].text == before.replace("{", "") + value


@pytest.mark.parametrize(
    ("values", "param", "code"),
    [
        ({}, "prompt.variables.name", "missing_required_parameter"),
        ({"name": "a", "more": "b"}, "prompt.variables.more", "unknown_parameter"),
        ({"name": 7}, "prompt.variables.name", "invalid_type"),
        ({"name": None}, "prompt.variables.name", "invalid_type"),
        ({"name": ["a"]}, "prompt.variables.name", "invalid_type"),
        ({"name": {"type": "output_text", "text": "a"}}, "prompt.variables.name", "invalid_value"),
        ({"name": {"text": "a"}}, "prompt.variables.name.type", "missing_required_parameter"),
        ({"name": {"type": "input_text"}}, "prompt.variables.name.text", "missing_required_parameter"),
        ({"name": {"type": "input_image", "detail": "x"}}, "prompt.variables.name.detail", "invalid_value"),
    ],
)
def test_a_bad_variable_is_refused_by_its_name(values, param, code):
    with pytest.raises(InvalidParameter) as caught:
        fill_prompt("Hi {{name}}", values)
    assert (caught.value.param, caught.value.code) == (param, code)


@pytest.mark.parametrize(
    ("limit", "value", "what"), [("MAX_TEXT", "aaaa", "of text"), ("MAX_FILE_DATA", FILE, "images and files")]
)
def test_a_value_in_many_places_does_not_grow_beyond_what_a_message_holds(monkeypatch, limit, value, what):
    monkeypatch.setattr(prompt_template, limit, 39)
    assert fill_prompt("{{x}}" * 9, {"x": value})
    with pytest.raises(InvalidParameter, match=what) as caught:
        fill_prompt("{{x}}" * 10, {"x": value})
    assert caught.value.param == "prompt.variables"
