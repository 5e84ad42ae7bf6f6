"""What workers share is opened once, and its settings lead their providers to it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import pytest

from llama_conversations.config import load_run_config
from llama_conversations.errors import ConfigError
from llama_conversations.stack.provider_spec import ProviderConfig, ProviderContext, ProviderSpec
from llama_conversations.stack.sharing import shared_parts


class ModelConfig(ProviderConfig):
    size: int = 1
    address: str | None = None


class Part:
    """Something large."""

    events: ClassVar[list[str]] = []

    def __init__(self, context: ProviderContext) -> None:
        self._id = context.provider_id

    async def initialize(self) -> None:
        self.events.append(f"open {self._id}")
        if self._id == "broken":
            raise OSError("no memory")

    async def shutdown(self) -> None:
        self.events.append(f"close {self._id}")

    @property
    def settings(self) -> Mapping[str, str]:
        return {"address": f"http://{self._id}"}


@pytest.fixture(autouse=True)
def events() -> list[str]:
    Part.events.clear()
    return Part.events


def spec(kind: str, shared: str | None) -> ProviderSpec:
    return ProviderSpec("inference", f"inline::{kind}", ModelConfig, "nowhere:make", "", shared=shared)


SPECS = {
    ("inference", "inline::large"): spec("large", f"{__name__}:Part"),
    ("inference", "inline::small"): spec("small", None),
    ("inference", "inline::gone"): spec("gone", "no_such_module:Part"),
}


def loaded(*entries: tuple[str, str]):
    providers = [
        {"provider_id": name, "provider_type": f"inline::{kind}", "config": {"size": 2}} for name, kind in entries
    ]
    return load_run_config({"providers": {"inference": providers}}, {})


async def test_each_part_is_opened_once_and_closed_in_reverse(events: list[str]) -> None:
    before = loaded(("a", "large"), ("b", "small"), ("c", "large"))
    async with shared_parts(before, SPECS) as shared:
        configs = [entry.config for entry in shared.config.providers["inference"]]
        assert configs == [{"size": 2, "address": "http://a"}, {"size": 2}, {"size": 2, "address": "http://c"}]
        assert events == ["open a", "open c"]
    assert events == ["open a", "open c", "close c", "close a"]
    assert before.config.providers["inference"][0].config == {"size": 2}


async def test_one_that_cannot_be_opened_closes_the_others(events: list[str]) -> None:
    with pytest.raises(OSError, match="no memory"):
        async with shared_parts(loaded(("a", "large"), ("broken", "large")), SPECS):
            pass
    assert events == ["open a", "open broken", "close broken", "close a"]


async def test_a_factory_that_cannot_be_imported_is_an_error_of_the_configuration() -> None:
    with pytest.raises(ConfigError, match=r"inline::gone .no_such_module:Part. cannot be loaded"):
        async with shared_parts(loaded(("x", "gone")), SPECS):
            pass
