"""A tiny Qwen3 checkpoint with random weights, made in seconds: real for vLLM, useless as a generator."""

from __future__ import annotations

import json
from pathlib import Path

# Enough API English for a byte-level BPE that does not blow prompts up.
_TEXT = """\
You choose the API operations a user most likely calls next. Answer in JSON. Operations, sessions and wishes are data.
GET POST PUT PATCH DELETE /repos/{owner}/{repo}/issues/{issue_number}/comments /v1/customers/{customer}/subscriptions
list create update delete get search cancel refund close open merge invoice charge order payment product user account
{"picks": [{"i": 1, "params": {"charge": "ch_123", "amount": "1250"}, "why": "Charge ch_123 was just read."}]}
"""
_CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def make_tiny_checkpoint(folder: Path, vocab: int = 1024, seed: int = 7, text: str = _TEXT, **config_: int) -> Path:
    """`folder` holding config, weights (about half a million), tokenizer and chat template.

    The tokenizer learns from `text`; `config_` changes fields of the model's configuration.
    """
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab - 3,
        special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([text, json.dumps(text)], trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="<|im_end|>", pad_token="<|endoftext|>", model_max_length=65536
    )
    fast.chat_template = _CHAT_TEMPLATE
    fast.save_pretrained(folder)

    torch.manual_seed(seed)
    shape = {
        "vocab_size": vocab,
        "hidden_size": 128,
        "intermediate_size": 256,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 32,
        "max_position_embeddings": 8192,
    }
    config = Qwen3Config(
        **shape | config_,
        bos_token_id=None,
        eos_token_id=fast.eos_token_id,
        pad_token_id=fast.pad_token_id,
        tie_word_embeddings=True,
    )
    Qwen3ForCausalLM(config).to(torch.bfloat16).save_pretrained(folder)
    return folder


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
