"""Substitution in a whole tree, and what is skipped."""

import pytest

from llama_conversations.config.findings import Finding
from llama_conversations.config.substitution import SkippedModel, SkippedProvider, substitute


def test_every_string_of_the_tree_is_substituted_and_nothing_else_is_touched() -> None:
    tree = {"${env.A}": ["${env.A}", 1, 1.5, True, None, {"x": "~/${env.A}"}], "b": ("${env.A}",)}
    assert substitute(tree, {"A": "v"}).tree == {"${env.A}": ["v", 1, 1.5, True, None, {"x": "~/v"}], "b": ["v"]}


@pytest.mark.parametrize("value", ["007", "1e5", "1_000", "nan", " 42 ", "true", "null", "~", "~/x", "[1]", "0x1F"])
def test_a_substituted_value_stays_the_text_it_was(value: str) -> None:
    found = substitute({"env": "${env.V}", "default": f"${{env.NONE:={value}}}"}, {"V": value}).tree
    assert found == {"env": value, "default": value}
    assert isinstance(found, dict)
    assert all(isinstance(text, str) for text in found.values())


@pytest.mark.parametrize(
    ("written", "expected"),
    [("${env.X:=}", None), ("${env.X:+y}", None), ("${env.X:=}${env.Y:=}", None), (" ${env.X:=}", " "), ("", "")],
)
def test_what_is_references_alone_and_empty_is_null(written: str, expected: str | None) -> None:
    assert substitute({"k": written}, {}).tree == {"k": expected}


def test_the_tree_given_is_not_changed() -> None:
    tree = {"providers": {"inference": [{"provider_id": "${env.X:+x}"}]}, "a": ["${env.A:=1}"]}
    substitute(tree, {})
    assert tree == {"providers": {"inference": [{"provider_id": "${env.X:+x}"}]}, "a": ["${env.A:=1}"]}


def test_all_missing_variables_and_malformed_references_are_found_with_their_paths() -> None:
    found = substitute({"a": {"b": ["${env.P}", "${env.Q}${env.P}"]}, "c": "${env.}", "d": "${env.OK:=1}"}, {"P": ""})
    assert [(finding.path, finding.variable) for finding in found.findings] == [
        (("a", "b", 0), "P"),
        (("a", "b", 1), "Q"),
        (("a", "b", 1), "P"),
        (("c",), None),
    ]
    assert "malformed" in found.findings[3].message


def providers(*entries: dict[str, object]) -> dict[str, object]:
    return {"providers": {"inference": list(entries)}}


def entry(provider_id: object, **config: object) -> dict[str, object]:
    return {"provider_id": provider_id, "provider_type": "remote::x", "config": config}


@pytest.mark.parametrize(
    ("provider_id", "environ", "name", "reason"),
    [
        ("${env.OLLAMA_URL:+ollama}", {}, "ollama", "OLLAMA_URL is not set"),
        ("${env.OLLAMA_URL:+ollama}", {"OLLAMA_URL": ""}, "ollama", "OLLAMA_URL is empty"),
        ("${env.P:=llama}", {"P": "__disabled__"}, "llama", "P is __disabled__"),
        ("${env.P:=__disabled__}", {}, None, "P is not set"),
        ("${env.OFF:+__disabled__}", {"OFF": "1"}, None, "OFF is set"),
        ("${env.A:+a}${env.B:+b}", {}, "ab", "A is not set and B is not set"),
        ("__disabled__", {}, None, "disabled in the file"),
        ("", {}, None, "its provider_id is empty"),
        (None, {}, None, "its provider_id is empty"),
    ],
)
def test_a_provider_without_id_is_skipped_and_its_other_variables_are_not_required(
    provider_id: object, environ: dict[str, str], name: str | None, reason: str
) -> None:
    found = substitute(providers(entry(provider_id, key="${env.REQUIRED}", broken="${env.")), environ)
    assert found.tree == {"providers": {"inference": []}}
    assert found.findings == []
    assert found.providers == [SkippedProvider("inference", "remote::x", name, reason)]


def test_a_provider_whose_id_is_set_needs_its_other_variables() -> None:
    found = substitute(providers(entry("${env.URL:+ollama}", url="${env.URL}", key="${env.KEY}")), {"URL": "http://x"})
    assert found.providers == []
    assert found.findings == [Finding(("providers", "inference", 0, "config", "key"), "KEY is missing", "KEY")]


@pytest.mark.parametrize("provider_id", ["${env.NAME}", "${env."])
def test_a_provider_whose_id_cannot_be_told_is_not_skipped(provider_id: str) -> None:
    found = substitute(providers(entry(provider_id)), {})
    assert found.providers == []
    assert [finding.path for finding in found.findings] == [("providers", "inference", 0, "provider_id")]


def test_positions_after_a_skipped_entry_are_those_of_the_file() -> None:
    found = substitute(providers(entry("${env.X:+x}"), entry("a"), entry("__disabled__"), entry("b")), {})
    assert found.original_path(("providers", "inference", 1, "config", "k")) == (
        "providers",
        "inference",
        3,
        "config",
        "k",
    )
    assert found.original_path(("server", "port")) == ("server", "port")


def with_model(provider_id: object) -> dict[str, object]:
    model = {"model_id": "fast", "provider_id": provider_id, "provider_model_id": "${env.MODEL}"}
    return {"registered_resources": {"models": [model]}, **providers(entry("${env.URL:+ollama}"))}


@pytest.mark.parametrize(
    ("provider_id", "reason"),
    [
        ("${env.URL:+ollama}", "URL is not set"),
        ("ollama", "its provider 'ollama' is skipped: URL is not set"),
        ("${env.WHICH:=ollama}", "its provider 'ollama' is skipped: URL is not set"),
    ],
)
def test_a_model_of_a_skipped_provider_is_skipped_with_its_other_variables(provider_id: str, reason: str) -> None:
    found = substitute(with_model(provider_id), {})
    assert found.tree == {"providers": {"inference": []}, "registered_resources": {"models": []}}
    assert found.findings == []
    assert found.models == [SkippedModel("fast", reason)]


def test_a_model_of_a_present_provider_is_kept() -> None:
    found = substitute(with_model("ollama"), {"URL": "http://x", "MODEL": "m"})
    assert found.models == []
    assert found.tree["registered_resources"]["models"][0]["provider_model_id"] == "m"  # type: ignore[index]


def test_a_name_that_a_skipped_and_a_present_provider_share_is_present() -> None:
    tree = providers(entry("${env.URL:+main}"), entry("main"))
    tree["registered_resources"] = {"models": [{"model_id": "m", "provider_id": "main"}]}
    assert substitute(tree, {}).models == []


@pytest.mark.parametrize(
    "tree",
    [
        None,
        "x",
        {"providers": None},
        {"providers": ["x"]},
        {"providers": {"inference": None}},
        {"providers": {"inference": ["x", None, {}]}},
        {"registered_resources": []},
        {"registered_resources": {"models": {"x": 1}, "other": [1]}},
        {"registered_resources": {"models": [None, {"provider_id": 3}]}},
    ],
)
def test_a_tree_of_another_shape_passes_through_for_the_settings_to_refuse(tree: object) -> None:
    assert substitute(tree, {}).tree == tree
