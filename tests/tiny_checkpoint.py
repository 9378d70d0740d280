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


def make_tiny_checkpoint(folder: Path, vocab: int = 1024, seed: int = 7) -> Path:
    """`folder` holding config, weights (about half a million), tokenizer and chat template."""
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
    tokenizer.train_from_iterator([_TEXT, json.dumps(_TEXT)], trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="<|im_end|>", pad_token="<|endoftext|>", model_max_length=8192
    )
    fast.chat_template = _CHAT_TEMPLATE
    fast.save_pretrained(folder)

    torch.manual_seed(seed)
    config = Qwen3Config(
        vocab_size=vocab,
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=32,
        max_position_embeddings=8192,
        bos_token_id=None,
        eos_token_id=fast.eos_token_id,
        pad_token_id=fast.pad_token_id,
        tie_word_embeddings=True,
    )
    Qwen3ForCausalLM(config).to(torch.bfloat16).save_pretrained(folder)
    return folder
