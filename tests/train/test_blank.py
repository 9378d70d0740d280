"""A new model: it reads a word alike wherever it stands, and learns its letters from nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline import settings as configuration
from pipeline.candidates import prompt
from pipeline.candidates.tokens import Prompts
from train import blank, generator, pairs, tuning
from train.pairs import Pair
from train.tuning import Tuning

pytestmark = pytest.mark.slow


def asked(option: int) -> Pair:
    """Two options, of which the wish names the right one by its word."""
    word = ("refund", "invoice")[option - 1]
    text = f"A. POST /v1/Refunds/{{refund_id}}\nB. GET /v1/openInvoice\n\nWish: please {word} it"
    return Pair(f"{option}", "any", "train", ({"role": "user", "content": text},), "AB"[option - 1], option, 2)


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("blank")
    pairs.write([asked(1), asked(2)], folder / "pairs")
    return folder


def test_a_model_that_weighs_letters_reads_a_word_alike_wherever_it_stands(tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    texts = ["Refund a charge; refund_id refundId /refund/{Refund}"] * 20
    tokenizer = AutoTokenizer.from_pretrained(
        blank.make(tmp_path, texts, 512, folds=True, hidden_size=64, num_hidden_layers=1)
    )
    (refund,) = tokenizer("Refund")["input_ids"]
    assert tokenizer("/refund/{Refund} refund_id refundId")["input_ids"].count(refund) == 4
    assert len(set(Prompts(tokenizer).marks(prompt.LETTERS[:26]))) == 26


def test_without_a_model_one_is_made_of_the_pairs_and_learns_them_from_nothing(work: Path) -> None:
    import torch

    device = torch.device("cpu")
    loaded = configuration.load("local-vllm", generator={"mode": "logprob"})
    folder = generator._new(work / "pairs", work, loaded, seed=7)
    how = Tuning(str(folder), "logprob", rank=0, rate=1e-3, prompts=1.0)
    model, tokenizer = tuning.load(how)
    known = tuning.examples(pairs.read(work / "pairs", "train"), tokenizer, how)
    assert sum(weight.numel() for weight in model.parameters()) * 2 < 30e6  # bytes, in bfloat16
    optimizer = torch.optim.AdamW(model.parameters(), lr=how.rate)
    for _ in range(40):
        tuning.step(model, optimizer, [known], device, how)
        if tuning.chosen(model, known, tokenizer, device, how) == [1, 2]:
            return
    pytest.fail("two letters were not learnt")
