"""What a worker of the tuning does: the loss is the reply's, batches repeat, what is saved is what was learnt."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.candidates import prompt
from tests.tiny_checkpoint import make_tiny_checkpoint
from train import tuning
from train.pairs import Pair
from train.tuning import Example, Tuning

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_checkpoint(tmp_path_factory.mktemp("tuning") / "tiny")


def pair(text: str, reply: str, option: int = 1, weight: float = 1.0) -> Pair:
    return Pair(text, "any", "train", ({"role": "user", "content": text},), reply, option, 4, weight)


PAIRS = (pair("refund it", "B", 2), pair("list all customers of this account, please", "D", 4), pair("get", "A", 1))


def opened(tiny: Path, **changes: Any) -> tuple[Tuning, Any, Any, list[Example]]:
    how = Tuning(**{"model": str(tiny), "mode": "logprob", "rank": 0} | changes)
    model, tokenizer = tuning.load(how)
    return how, model, tokenizer, tuning.examples(PAIRS, tokenizer, how)


def learn(model: Any, known: list[Example], tokenizer: Any, how: Tuning) -> None:
    """Steps until the three choices are right."""
    import torch

    device = torch.device("cpu")
    optimizer = torch.optim.AdamW((p for p in model.parameters() if p.requires_grad), lr=how.rate)
    for turn in range(1, 201):
        tuning.step(model, optimizer, [known[:2], known[2:]], device, how)
        if turn % 10 == 0 and tuning.chosen(model, known, tokenizer, device, how) == [2, 4, 1]:
            return
    pytest.fail("three letters were not learnt")


def test_the_loss_is_that_of_the_replys_tokens_by_their_weights(tiny: Path) -> None:
    import torch

    how, model, tokenizer, known = opened(tiny)
    more = tuning.examples([pair("open the charge", "[1, 2]", weight=0.25)], tokenizer, how)
    told = weights = 0.0
    with torch.no_grad():
        for one in (*known, *more):
            ids = torch.tensor([[*one.prompt, *one.reply]])
            logprobs = torch.log_softmax(model(ids).logits[0].float(), -1)
            for place, token in enumerate(one.reply, len(one.prompt)):
                told -= one.weight * float(logprobs[place - 1, token])
                weights += one.weight
        together = float(tuning.loss(model, [*known, *more], torch.device("cpu"), bfloat16=False))
    assert len({len(one.prompt) for one in known}) == 3
    assert together == pytest.approx(told / weights, abs=1e-4)


def test_a_new_models_loss_has_the_prompts_tokens_too(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    _, model, _, known = opened(tiny)
    monkeypatch.setattr(tuning, "_READ", 1.0)
    told, count = 0.0, 0
    with torch.no_grad():
        for one in known:
            logprobs = torch.log_softmax(model(torch.tensor([list(one.prompt)])).logits[0].float(), -1)
            told -= sum(float(logprobs[place - 1, token]) for place, token in enumerate(one.prompt) if place)
            count += len(one.prompt) - 1
        replies = float(tuning.loss(model, known, torch.device("cpu"), bfloat16=False))
        together = float(tuning.loss(model, known, torch.device("cpu"), bfloat16=False, prompts=0.5))
    assert together - replies == pytest.approx(0.5 * told / count, abs=1e-4)


@pytest.mark.parametrize("rank", [0, 8])
def test_what_is_learnt_is_saved_and_a_kept_state_goes_on_alike(tiny: Path, tmp_path: Path, rank: int) -> None:
    import torch

    device = torch.device("cpu")
    how, model, tokenizer, known = opened(tiny, rank=rank, rate=1e-2 if rank else 3e-3)
    assert tuning.chosen(model, known, tokenizer, device, how) != [2, 4, 1]
    learn(model, known, tokenizer, how)
    kept = {name: weight.clone() for name, weight in tuning.state(model).items()}

    tuning.save(model, tokenizer, how, tmp_path / "out")
    names = {file.name for file in (tmp_path / "out").iterdir()}
    if rank:
        assert {"adapter_config.json", "adapter_model.safetensors"} <= names
        assert json.loads((tmp_path / "out" / "adapter_config.json").read_text())["r"] == rank
    else:
        assert {"config.json", "model.safetensors", "tokenizer.json", "chat_template.jinja"} <= names
        again, model, tokenizer, known = opened(tmp_path / "out")
        assert tuning.chosen(model, known, tokenizer, device, again) == [2, 4, 1]

    _, model, tokenizer, known = opened(tiny, rank=rank)
    tuning.restore(model, kept)
    assert tuning.chosen(model, known, tokenizer, device, how) == [2, 4, 1]


def test_a_written_reply_chooses_by_its_first_number(tiny: Path) -> None:
    written = [pair(p.id, json.dumps({"picks": [{"i": p.option, "params": {}, "why": ""}]}), p.option) for p in PAIRS]
    how, model, tokenizer, _ = opened(tiny, mode="choose", rate=3e-3)
    learn(model, tuning.examples(written, tokenizer, how), tokenizer, how)


def test_every_example_is_taken_once_before_any_is_taken_again() -> None:
    taken = list(tuning.order(10, 5, 4, seed=3))
    flat = list(itertools.chain.from_iterable(taken))
    assert sorted(flat[:10]) == sorted(flat[10:]) == list(range(10))
    assert list(tuning.order(10, 5, 4, seed=3)) == taken
    assert list(tuning.order(10, 5, 4, seed=4)) != taken


def test_prompts_over_the_context_are_left_out(tiny: Path) -> None:
    _, _, tokenizer, known = opened(tiny)
    longest = max(len(one.prompt) + len(one.reply) for one in known)
    short = tuning.examples(PAIRS, tokenizer, Tuning(str(tiny), "logprob", tokens_max=longest - 1))
    assert len(short) == len(known) - 1
    assert all(one.options <= len(prompt.LETTERS) for one in short)
