"""A prompt as the prompt memory keeps it: the hashes of its stems, and nothing that could be read again at a glance.

Two prompts are compared by the terms they share; the words themselves are neither needed nor kept.
Called by `pipeline/predict.py` when an impression is written and when the memory is asked.
"""

from __future__ import annotations

import functools
import zlib

from pipeline.catalog.stem import stems

_TERMS_MAX = 32  # of a prompt; longer ones are told apart well before


@functools.lru_cache(maxsize=4096)
def prompt_terms(prompt: str) -> tuple[int, ...]:
    """Different hashes (CRC-32) of the stems of a prompt that carry meaning, sorted; the first 32 stems count."""
    words = list(dict.fromkeys(stems(prompt)))[:_TERMS_MAX]
    return tuple(sorted({zlib.crc32(word.encode("utf-8", "replace")) for word in words}))
