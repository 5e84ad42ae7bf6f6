"""run.yaml.example holds every setting, with its default and its description."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from llama_conversations.config.loader import load_run_config
from llama_conversations.config.run_config import StackRunConfig
from llama_conversations.config.yaml_text import parse_yaml

EXAMPLE = Path(__file__).parents[3] / "run.yaml.example"
TEXT = EXAMPLE.read_text()
ALL_ON = re.sub(r"(?m)^( *)#(?=[a-z])", r"\1", TEXT)
"""The example with the settings that it leaves out ('#' without a space after it) put in."""

EXAMPLES = {"providers", "storage.backends", "registered_resources.models", "registered_resources.tool_groups"}
"""Settings that are shown with an entry, though none is the default."""

ENVIRON = {"OPENAI_API_KEY": "sk", "OLLAMA_URL": "http://o", "VLLM_URL": "http://v"}


def settings_in(value: object, path: str = "") -> Iterator[tuple[str, BaseModel, str, FieldInfo]]:
    """Every setting below a value: path, owner, name and field; of those in a list or mapping, one of each type."""
    if isinstance(value, BaseModel):
        for name, field in type(value).model_fields.items():
            yield f"{path}.{name}".lstrip("."), value, name, field
            yield from settings_in(getattr(value, name), f"{path}.{name}")
    elif isinstance(value, dict | list) and value:
        members = value.values() if isinstance(value, dict) else value
        for member in {type(member): member for member in members if member}.values():
            yield from settings_in(member, f"{path}[]")


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> StackRunConfig:
    file = tmp_path_factory.mktemp("example") / "run.yaml"
    file.write_text(ALL_ON)
    return load_run_config(file, ENVIRON).config


def test_it_loads_on_an_empty_environment() -> None:
    loaded = load_run_config(EXAMPLE, {})
    assert [entry.provider_id for entry in loaded.config.providers["inference"]] == ["llama-cpp"]
    assert loaded.config.server.cors is None


def test_it_loads_with_everything_in_it_put_in(config: StackRunConfig) -> None:
    assert config.server.cors is not None
    assert [model.model_id for model in config.registered_resources.models] == ["fast"]


def test_every_model_of_the_settings_is_reached(config: StackRunConfig) -> None:
    reached = {type(owner) for _, owner, _, _ in settings_in(config)}
    mentioned = set(StackRunConfig.model_json_schema()["$defs"]) - {"JsonValue"}
    assert {model.__name__ for model in reached} == mentioned | {"StackRunConfig"}


def test_every_setting_is_in_it(config: StackRunConfig) -> None:
    absent = [path for path, owner, name, _ in settings_in(config) if name not in owner.model_fields_set]
    assert absent == []


def test_every_value_in_it_is_the_default(config: StackRunConfig) -> None:
    different = []
    for path, owner, name, field in settings_in(config):
        default = field.get_default(call_default_factory=True, validated_data=dict(owner))
        shown = getattr(owner, name)
        is_example = default is PydanticUndefined or default is None or isinstance(shown, BaseModel)
        if not is_example and shown != default and path not in EXAMPLES:
            different.append((path, shown, default))
    different = [each for each in different if not each[0].endswith(("[].config", "[].arguments"))]  # a provider's own
    assert different == []


def test_every_setting_s_description_is_a_comment_above_it(config: StackRunConfig) -> None:
    wrong = []
    for path, _, name, field in settings_in(config):
        assert field.description, path
        # A comment is one or more lines of '# …'; the key follows directly, left out or not, or as a list's first.
        above = re.findall(rf"((?:^ *# .*\n)+) *(?:- |#)?{name}:", TEXT, re.MULTILINE)
        comments = [" ".join(line.strip().removeprefix("# ") for line in block.splitlines()) for block in above]
        if not any(comment.endswith(field.description) for comment in comments):
            wrong.append(path)
    assert wrong == []


def test_settings_that_are_left_out_are_commented_in_one_way() -> None:
    assert parse_yaml(ALL_ON)[1] == []
    assert len(ALL_ON) < len(TEXT)
