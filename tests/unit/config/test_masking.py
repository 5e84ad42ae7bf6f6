"""Secrets out of what is shown."""

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, SecretBytes, SecretStr

from llama_conversations.config.masking import MASK, mask_secrets
from llama_conversations.config.written import EnvText, WrittenFloat, WrittenInt

SECRET = "hunter2"


@pytest.mark.parametrize(
    "key",
    [
        "api_key",
        "API_KEY",
        "apikey",
        "apiKey",
        "openai-api-key",
        "X-Api-Key",
        "password",
        "db_password",
        "passwd",
        "token",
        "hf_token",
        "tokens",
        "access_tokens",
        "client_secret",
        "clientSecret",
        "secrets",
        "Authorization",
        "Proxy-Authorization",
        "aws_secret_access_key",
        "private_key",
        "credentials",
        "Cookie",
        "Set-Cookie",
    ],
)
def test_the_value_of_a_key_that_sounds_secret_is_masked(key: str) -> None:
    assert mask_secrets({"a": [{key: SECRET}]}) == {"a": [{key: MASK}]}
    assert mask_secrets({key: {"inner": SECRET}}) == {key: MASK}
    assert mask_secrets({key: 1234}) == {key: MASK}


@pytest.mark.parametrize(
    "key", ["max_tokens", "max_output_tokens", "tokenizer", "token_url", "path", "key", "keyboard"]
)
def test_other_keys_are_shown(key: str) -> None:
    assert mask_secrets({key: "value"}) == {key: "value"}


@pytest.mark.parametrize("value", [None, "", [], {}, True, False])
def test_a_secret_that_is_not_given_is_shown_as_such(value: object) -> None:
    assert mask_secrets({"api_key": value}) == {"api_key": value}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql://me:hunter2@db:5432/x", f"postgresql://me:{MASK}@db:5432/x"),
        ("postgresql+asyncpg://me:p@ss:/%w@db/x?ssl=1", f"postgresql+asyncpg://me:{MASK}@db/x?ssl=1"),
        ("redis://:hunter2@cache", f"redis://:{MASK}@cache"),
        ("http://host:8321/v1", "http://host:8321/v1"),
        ("https://me@host/x", "https://me@host/x"),
        ("https://h/x?api_key=hunter2&page=2", f"https://h/x?api_key={MASK}&page=2"),
        ("host=db user=me password='hun ter2' port=1", f"host=db user=me password={MASK} port=1"),
        ("Bearer hunter2", MASK),
        ("Basic aHVudGVyMg==", MASK),
        ("Authorization: Bearer hunter2", f"Authorization: {MASK}"),
        ("X-Api-Key: hunter2", f"X-Api-Key: {MASK}"),
        ("Accept: text/html", "Accept: text/html"),
        ("bearer of good news", "bearer of good news"),
    ],
)
def test_secrets_inside_texts_are_masked(text: str, shown: str) -> None:
    assert mask_secrets({"value": [text]}) == {"value": [shown]}


def test_secrets_of_pydantic_are_masked_under_any_key() -> None:
    class Inner(BaseModel):
        word: SecretStr
        raw: SecretBytes
        none: SecretStr | None = None
        blank: SecretStr = SecretStr("")
        path: Path = Path("/x")

    class Outer(BaseModel):
        inner: Inner

    shown = mask_secrets(Outer(inner=Inner(word=SecretStr(SECRET), raw=SecretBytes(b"x"))))
    assert shown == {"inner": {"word": MASK, "raw": MASK, "none": None, "blank": "", "path": "/x"}}


def test_what_comes_out_is_plain_and_can_be_written_as_yaml() -> None:
    tree = {"i": WrittenInt("12"), "f": WrittenFloat("1.10"), "t": EnvText("x", "${env.X}"), "l": ("a", True, None)}
    assert yaml.safe_load(yaml.safe_dump(mask_secrets(tree))) == {"i": 12, "f": 1.1, "t": "x", "l": ["a", True, None]}


@given(st.text(alphabet=st.characters(exclude_categories=["Z", "C"]), min_size=6))
def test_no_password_of_a_url_is_shown(password: str) -> None:
    shown = mask_secrets(f"postgresql://owner:{password}@db.example/x")
    assert shown == f"postgresql://owner:{MASK}@db.example/x"
