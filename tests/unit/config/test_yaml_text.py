"""Reading YAML so that what is written is what is read."""

import pytest

from llama_conversations.config.yaml_text import parse_yaml


def value_of(written: str) -> object:
    tree, findings = parse_yaml(f"k: {written}\n")
    assert findings == []
    assert isinstance(tree, dict)
    return tree["k"]


@pytest.mark.parametrize(
    "written", ["0012", "007", "1_000", "1e999", "0x1F", "0o17", ".5", "5.", "+1", ".inf", ".nan", "nan", "1:30"]
)
def test_what_json_has_no_number_for_stays_text(written: str) -> None:
    assert value_of(written) == written


@pytest.mark.parametrize("written", ["no", "yes", "on", "off", "y", "tRUE", "nULL", "2026-01-01", "<<", "=", "3.11.7"])
def test_yaml_1_1_s_guesses_are_not_made(written: str) -> None:
    assert value_of(written) == written


@pytest.mark.parametrize(
    ("written", "number"), [("12", 12), ("-7", -7), ("0", 0), ("1.10", 1.1), ("1e5", 1e5), ("-0", 0), ("2E-3", 0.002)]
)
def test_a_number_is_one_and_remembers_its_text(written: str, number: float) -> None:
    value = value_of(written)
    assert value == number
    assert isinstance(value, int | float)
    assert str(value) == written


def test_more_digits_than_python_converts_stay_text() -> None:
    assert value_of("9" * 5000) == "9" * 5000


@pytest.mark.parametrize(
    ("written", "expected"),
    [("null", None), ("~", None), ("", None), ("true", True), ("FALSE", False), ('"null"', "null"), ("'12'", "12")],
)
def test_null_and_truth_values_are_yaml_1_2_s_and_quotes_make_text(written: str, expected: object) -> None:
    assert value_of(written) is expected or value_of(written) == expected
    assert type(value_of(written)) is type(expected)


@pytest.mark.parametrize(
    ("written", "expected"),
    [("!!str 12", "12"), ("!!int 12", 12), ("!!int 0x1F", "0x1F"), ("!!float 1.5", 1.5), ("!!bool 'true'", True)],
)
def test_explicit_tags_are_kept_to(written: str, expected: object) -> None:
    assert value_of(written) == expected


def test_keys_are_always_text() -> None:
    assert parse_yaml("1: a\nno: b\nnull: c\n1.0: d\n") == ({"1": "a", "no": "b", "null": "c", "1.0": "d"}, [])


def test_aliases_repeat_what_they_name() -> None:
    assert parse_yaml("a: &x [1, {b: c}]\nd: *x\n")[0] == {"a": [1, {"b": "c"}], "d": [1, {"b": "c"}]}


def messages(text: str) -> list[tuple[tuple[str | int, ...], str]]:
    return [(finding.path, finding.message) for finding in parse_yaml(text)[1]]


def test_a_key_that_stands_twice_is_found_with_both_lines_and_the_first_counts() -> None:
    text = "a:\n  - b: 1\n    c: 2\n    b: 3\nd: 4\nd: 5\n"
    assert messages(text) == [
        (("a", 0, "b"), "the key stands twice, first in line 2 (line 4)"),
        (("d",), "the key stands twice, first in line 5 (line 6)"),
    ]
    assert parse_yaml(text)[0] == {"a": [{"b": 1, "c": 2}], "d": 4}


@pytest.mark.parametrize(
    ("text", "path", "message"),
    [
        ("a: !!binary eA==", ("a",), "the tag tag:yaml.org,2002:binary is not supported (line 1)"),
        ("a: !!python/object:os.system x", ("a",), "is not supported (line 1)"),
        ("? [x]\n: 1", (), "a key must be text (line 1)"),
        ("a: &x\n  b: *x", ("a", "b"), "an alias refers to what it stands in (line 1)"),
    ],
)
def test_what_configuration_has_no_use_for_is_refused(text: str, path: tuple[str, ...], message: str) -> None:
    [(found_path, found_message)] = messages(text)
    assert found_path == path
    assert found_message.endswith(message)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("a:\n  - b\n c: 1\n", "line 3, column 2: "),
        ("a: 'x\n", "line 2, column 1: "),
        ("ok: 1\nb: c: d\n", "line 2, column 5: "),
        ("a: 1\n---\nb: 2\n", "line 2, column 1: "),
        ("a: *nobody\n", "line 1, column 4: "),
        ("a: b\nc: d\x07\n", "line 2, column 5: the character U+0007 is not allowed"),
    ],
)
def test_a_syntax_error_names_line_and_column(text: str, place: str) -> None:
    tree, [finding] = parse_yaml(text)
    assert tree is None
    assert finding.message.startswith(place)


@pytest.mark.parametrize("text", ["a: {b: ${env.X}}", 'a: ${env.X:={"a": 1}}'])
def test_a_syntax_error_at_a_reference_says_that_it_may_want_quotes(text: str) -> None:
    assert "quote" in parse_yaml(text)[1][0].message
    assert "quote" not in parse_yaml("a: b: c")[1][0].message


def test_a_document_without_content_is_null() -> None:
    assert parse_yaml("# nothing\n") == (None, [])
