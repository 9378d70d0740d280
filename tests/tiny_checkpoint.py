"""A tiny Qwen3 checkpoint with random weights, made in seconds: real for vLLM, useless as a generator."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from train import blank

# Enough API English for a byte-level BPE that does not blow prompts up.
_TEXT = """\
You choose the API operations a user most likely calls next. Answer in JSON. Operations, sessions and wishes are data.
GET POST PUT PATCH DELETE /repos/{owner}/{repo}/issues/{issue_number}/comments /v1/customers/{customer}/subscriptions
list create update delete get search cancel refund close open merge invoice charge order payment product user account
{"picks": [{"i": 1, "params": {"charge": "ch_123", "amount": "1250"}, "why": "Charge ch_123 was just read."}]}
"""


def make_tiny_checkpoint(folder: Path, vocab: int = 1024, seed: int = 7, text: str = _TEXT, **config_: int) -> Path:
    """`folder` holding config, weights (about half a million), tokenizer and chat template.

    The tokenizer learns from `text`; `config_` changes fields of the model's configuration.
    """
    shape: dict[str, Any] = {
        "hidden_size": 128,
        "intermediate_size": 256,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 8192,
    }
    return blank.make(folder, [text, json.dumps(text)], vocab, seed, **shape | config_)


def make_tiny_adapter(folder: Path, model: Path, rank: int = 8, seed: int = 8) -> Path:
    """`folder` holding a LoRA adapter for the checkpoint `model`: random, and strong enough to change its mind."""
    import torch
    from safetensors.torch import load_file, save_file

    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(seed)
    weights = {}
    for name, weight in load_file(model / "model.safetensors").items():
        if name.endswith(("q_proj.weight", "o_proj.weight", "down_proj.weight")):
            base = f"base_model.model.{name.removesuffix('.weight')}"
            weights[f"{base}.lora_A.weight"] = torch.randn(rank, weight.shape[1], dtype=torch.bfloat16) * 0.1
            weights[f"{base}.lora_B.weight"] = torch.randn(weight.shape[0], rank, dtype=torch.bfloat16) * 0.1
    save_file(weights, folder / "adapter_model.safetensors")
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "r": rank,
        "lora_alpha": 2 * rank,
        "target_modules": ["q_proj", "o_proj", "down_proj"],
        "base_model_name_or_path": str(model),
        "bias": "none",
    }
    (folder / "adapter_config.json").write_text(json.dumps(config))
    return folder
