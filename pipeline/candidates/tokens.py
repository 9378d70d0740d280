"""Messages as the token ids that a model reads, by the model's own tokenizer and chat template.

The engine serves with them and `train/tuning.py` trains on them: what a model was taught is what it is asked.
Knows no library of models: a tokenizer is what transformers calls one.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from typing import Any

from pipeline.errors import GeneratorError

_PARAGRAPHS = 256  # whose tokens are kept: the overviews and sessions of late


class Prompts:
    """Messages as token ids. Paragraphs are read one by one and kept: most of a prompt is a catalog's overview."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._paragraph = functools.lru_cache(_PARAGRAPHS)(self._read)

    def ids(self, messages: Sequence[dict[str, str]]) -> list[int]:
        text = self._tokenizer.apply_chat_template(
            messages, tokenize=False, add_generation_prompt=True, enable_thinking=False
        )
        *paragraphs, last = text.split("\n\n")
        read = [self._paragraph(f"{paragraph}\n\n") for paragraph in paragraphs]
        return [*itertools.chain.from_iterable(read), *self._read(last)]

    def marks(self, marks: Sequence[str]) -> list[int]:
        """The token of each mark.

        Raises:
            GeneratorError: one is no single token.
        """
        ids = [self._paragraph(mark) for mark in marks]
        if any(len(tokens) != 1 for tokens in ids):
            raise GeneratorError("the model's vocabulary has no single token for each letter")
        return [tokens[0] for tokens in ids]

    def _read(self, text: str) -> tuple[int, ...]:
        return tuple(self._tokenizer(text, add_special_tokens=False)["input_ids"])
