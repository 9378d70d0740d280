"""What is learnt of instruction pairs, without Ray: a causal language model of transformers, whole or by an adapter.

The loss is on the reply's tokens alone, each example by its weight; a new model learns to read by telling the prompts'
tokens too. Prompts are read token by token as the engine reads them (`pipeline/candidates/tokens.py`), over-long ones
are left out. Right choices are counted as serving reads them: the likeliest letter, or the number that a written reply
begins with. Called by each worker of `train/generator.py`.
"""

from __future__ import annotations

import array
import dataclasses
import math
import random
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pipeline.candidates import prompt
from pipeline.candidates.tokens import Prompts
from train.pairs import Pair

_IGNORED = -100  # label of a token that is not learnt from
_OPENING = '{"picks": [{"i":'  # of every written reply; what follows is the number, its blank in one token with it
_NUMBER_TOKENS = 4
# What an adapter is put on: every projection of the Llama, Qwen and Mistral families, which vLLM adapts too.
_PROJECTIONS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
_WARM_UP = 0.05  # share of the steps in which the rate rises
_RATE_END = 0.1  # of the rate, at the last step
_CLIP = 1.0  # norm of a step's gradient
_READ = 0.3  # share of the prompts' tokens, drawn anew for each batch, that a new model tells: it is quicker than all


@dataclasses.dataclass(frozen=True, slots=True)
class Tuning:
    """How a model is tuned."""

    model: str
    mode: str  # logprob | choose: what its replies are
    rank: int = 16  # of the adapter; 0 trains every weight
    epochs: float = 1.0
    batch: int = 4  # pairs of a worker in memory at once
    accumulate: int = 1  # such batches of a step
    rate: float = 2e-4
    prompts: float = 0.0  # of the loss on the prompts' own tokens, beside that of the replies
    tokens_max: int = 4096  # of prompt and reply
    judged: int = 512  # pairs of the held-out split that choices are counted on
    checkpoint_steps: int = 100
    seed: int = 7
    bfloat16: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class Example:
    """A pair as tokens; a corpus of them is held in memory."""

    prompt: array.array[int]
    reply: list[int]
    option: int
    options: int
    weight: float
    ranked: int


def load(tuning: Tuning) -> tuple[Any, Any]:
    """The model, in float32 where it is trained, and its tokenizer; the adapter's weights alone are trained, if any."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tuning.model)
    frozen = torch.bfloat16 if tuning.rank and tuning.bfloat16 else torch.float32
    model: Any = AutoModelForCausalLM.from_pretrained(tuning.model, dtype=frozen)
    model.config.use_cache = False
    if tuning.rank:
        from peft import LoraConfig, get_peft_model

        there = {name.rsplit(".", 1)[-1] for name, _ in model.named_modules()}
        config = LoraConfig(
            r=tuning.rank,
            lora_alpha=2 * tuning.rank,
            target_modules=[name for name in _PROJECTIONS if name in there],
            task_type="CAUSAL_LM",
        )
        model = get_peft_model(model, config)
        # A layer's activations are computed again on the way back: an eighth more time, less than half of the memory.
        model.gradient_checkpointing_enable({"use_reentrant": False})
    return model, tokenizer


def save(model: Any, tokenizer: Any, tuning: Tuning, folder: Path) -> None:
    """What vLLM loads: the adapter, or the whole model with its tokenizer, in the precision that it came in."""
    import torch
    from transformers import AutoConfig

    if not tuning.rank:
        kind = AutoConfig.from_pretrained(tuning.model).dtype or torch.bfloat16
        model = model.to(kind)
        tokenizer.save_pretrained(folder)
    model.save_pretrained(folder)


def state(model: Any) -> dict[str, Any]:
    """The weights that are trained, by name."""
    return {name: weight.detach().cpu() for name, weight in model.named_parameters() if weight.requires_grad}


def restore(model: Any, weights: dict[str, Any]) -> None:
    """Puts back what `state` gave."""
    import torch

    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name in weights:
                weight.copy_(weights[name])


def examples(pairs: Sequence[Pair], tokenizer: Any, tuning: Tuning) -> list[Example]:
    """The pairs as tokens; what has more than `tokens_max` is left out."""
    read = Prompts(tokenizer)
    made = []
    for pair in pairs:
        asked = read.ids(pair.messages)
        reply = [*tokenizer(pair.reply, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
        if len(asked) + len(reply) <= tuning.tokens_max:
            made.append(Example(array.array("i", asked), reply, pair.option, pair.options, pair.weight, pair.ranked))
    return made


def order(count: int, steps: int, size: int, seed: int) -> Iterator[list[int]]:
    """Which of `count` examples each of `steps` takes, `size` at a time: each once, then all again in another order.

    The same arguments give the same, so a run that goes on from a checkpoint takes what it would have taken.
    """
    rng, waiting = random.Random(seed), list[int]()
    for _ in range(steps):
        while len(waiting) < size:
            more = list(range(count))
            rng.shuffle(more)
            waiting += more
        yield waiting[:size]
        waiting = waiting[size:]


def steps(count: int, tuning: Tuning, workers: int) -> int:
    """How many steps the epochs come to."""
    return max(1, math.ceil(tuning.epochs * count / (tuning.batch * tuning.accumulate * workers)))


def rate(step: int, total: int) -> float:
    """Share of the rate at a step: it rises, then falls along a cosine (Loshchilov and Hutter 2017)."""
    rise = max(1, round(_WARM_UP * total))
    if step < rise:
        return (step + 1) / rise
    along = (step - rise) / max(1, total - rise)
    return _RATE_END + (1 - _RATE_END) * (1 + math.cos(math.pi * along)) / 2


def loss(model: Any, some: Sequence[Example], device: Any, bfloat16: bool, prompts: float = 0.0) -> Any:
    """Mean log-loss of the replies' tokens, each reply by its weight, and `prompts` times that of the prompts'."""
    import torch

    longest = max(len(one.reply) for one in some)
    ids, mask = _padded([[*one.prompt, *one.reply] for one in some], device)
    labels = torch.full((len(some), longest), _IGNORED, device=device)
    for row, one in enumerate(some):
        labels[row, longest - len(one.reply) :] = torch.tensor(one.reply, device=device)
    start = ids.shape[1] - longest - 1
    read = torch.arange(0)
    if prompts:
        read = torch.randperm(start)[: math.ceil(_READ * start)]
    # Replies end the rows, so the vocabulary is computed for them alone, and for what is read of the prompts.
    kept = torch.cat([read, torch.arange(start, ids.shape[1] - 1)]).to(device)
    with torch.autocast(device.type, torch.bfloat16, enabled=bfloat16):
        logits = model(input_ids=ids, attention_mask=mask, logits_to_keep=kept).logits.float()
    told = logits[:, len(read) :]
    each = torch.nn.functional.cross_entropy(
        told.reshape(-1, told.shape[-1]), labels.reshape(-1), ignore_index=_IGNORED, reduction="none"
    ).reshape(labels.shape)
    weights = torch.tensor([one.weight for one in some], device=device)[:, None] * (labels != _IGNORED)
    value = (each * weights).sum() / weights.sum()
    if prompts:
        read = read.to(device)
        following = torch.where(mask[:, read] > 0, ids[:, read + 1], _IGNORED)
        told = logits[:, : len(read)].flatten(0, 1)
        value = value + prompts * torch.nn.functional.cross_entropy(told, following.flatten(), ignore_index=_IGNORED)
    return value


def step(model: Any, optimizer: Any, batches: Sequence[Sequence[Example]], device: Any, tuning: Tuning) -> float:
    """One step of the optimizer over some batches; their mean loss."""
    import contextlib

    import torch

    total = 0.0
    for number, some in enumerate(batches):
        last = number == len(batches) - 1
        # Workers add up their gradients once a step, with the last batch.
        with contextlib.nullcontext() if last or not hasattr(model, "no_sync") else model.no_sync():
            value = loss(model, some, device, tuning.bfloat16, tuning.prompts) / len(batches)
            value.backward()
        total += float(value.detach())
    torch.nn.utils.clip_grad_norm_((p for p in model.parameters() if p.requires_grad), _CLIP)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return total


def chosen(model: Any, some: Sequence[Example], tokenizer: Any, device: Any, tuning: Tuning) -> list[int]:
    """The option that the model chooses in each example, counted from 1; 0 where it names none."""
    import torch

    picked = []
    with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=tuning.bfloat16):
        if tuning.mode == "logprob":
            letters = Prompts(tokenizer).marks(prompt.LETTERS)
            ids, mask = _padded([list(one.prompt) for one in some], device)
            logits = model(input_ids=ids, attention_mask=mask, logits_to_keep=1).logits[:, -1]
            for row, one in zip(logits, some, strict=True):
                picked.append(1 + int(row[letters[: one.options]].argmax()))
            return picked
        opening = tokenizer(_OPENING, add_special_tokens=False)["input_ids"]
        for one in some:
            ids, mask = _padded([[*one.prompt, *opening]], device)
            written = model.generate(
                input_ids=ids,
                attention_mask=mask,
                max_new_tokens=_NUMBER_TOKENS,
                do_sample=False,
                use_cache=True,
                pad_token_id=tokenizer.eos_token_id,
            )
            found = re.match(r"\s*(\d+)", tokenizer.decode(written[0, ids.shape[1] :]))
            picked.append(int(found[1]) if found and int(found[1]) <= one.options else 0)
    return picked


def _padded(rows: Sequence[list[int]], device: Any) -> tuple[Any, Any]:
    """Rows of tokens filled up on their left, and which of them are tokens: int64 [n_rows, n_tokens] each."""
    import torch

    longest = max(map(len, rows))
    ids = torch.tensor([[0] * (longest - len(row)) + row for row in rows], device=device)
    mask = torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in rows], device=device)
    return ids, mask
