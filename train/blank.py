"""A small language model that has learnt nothing yet: random weights, and a tokenizer made of the texts it will read.

What `train/generator.py` begins with where it is given no model, and a real model for tests and loads that need an
engine to work rather than to know something. Of the Qwen3 architecture, so that vLLM and transformers load it as any.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

_MARKS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
_CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
# 5.2 million weights, 10 MB as bfloat16. The base of the rotary embedding is that of Qwen3-0.6B.
_SHAPE: dict[str, Any] = {
    "hidden_size": 256,
    "intermediate_size": 768,
    "num_hidden_layers": 4,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "head_dim": 32,
    "max_position_embeddings": 65536,
    "rope_theta": 1_000_000.0,
}


def make(
    folder: Path, texts: Iterable[str], vocab: int = 8192, seed: int = 7, folds: bool = False, **shape: Any
) -> Path:
    """`folder`, with configuration, weights, tokenizer and chat template; `shape` changes fields of the configuration.

    The tokenizer is a byte-level BPE of at most `vocab` tokens. With `folds` it drops capitals and blanks, so that a
    word is the same token in a wish, a path and a summary: for a model that weighs 26 letters at most and never writes.
    """
    import torch
    from transformers import Qwen3Config, Qwen3ForCausalLM

    tokenizer = _tokenizer(texts, vocab, folds)
    tokenizer.save_pretrained(folder)
    torch.manual_seed(seed)
    config = Qwen3Config(
        vocab_size=vocab,
        **_SHAPE | shape,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        tie_word_embeddings=True,
    )
    model: Any = Qwen3ForCausalLM(config)
    if folds:
        _attend_to_alike(model)
    model.to(torch.bfloat16).save_pretrained(folder)
    return folder


def _tokenizer(texts: Iterable[str], vocab: int, folds: bool) -> Any:
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    bytes_ = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.pre_tokenizer = bytes_
    if folds:
        apart = normalizers.Replace(Regex("(?<=[a-z])(?=[A-Z])"), " ")  # customerId
        tokenizer.normalizer = normalizers.Sequence([apart, normalizers.Lowercase()])
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(" +|_"), "removed"), bytes_])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab,
        special_tokens=_MARKS,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="<|im_end|>", pad_token="<|endoftext|>", model_max_length=65536
    )
    fast.chat_template = _CHAT_TEMPLATE
    return fast


def _attend_to_alike(model: Any) -> None:
    """Every other head begins by looking at what is like itself: its queries are made as its keys are.

    After Trockman and Kolter, "Mimetic Initialization of Self-Attention Layers", 2023: where there is little to learn
    from, what a large model learns first is given.
    """
    import torch

    size, heads, keys = model.config.head_dim, model.config.num_attention_heads, model.config.num_key_value_heads
    with torch.no_grad():
        for layer in model.model.layers:
            queries = layer.self_attn.q_proj.weight.view(heads, size, -1)
            queries[:: heads // keys] = layer.self_attn.k_proj.weight.view(keys, size, -1)
