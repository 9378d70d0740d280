"""A fitted adapter brings prompts nearer to what they ask for, and nothing else moves far."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from pipeline import settings
from pipeline.catalog.embed import Encoder
from train.bootstrap import Vectors
from train.encoder import Params, Task, fit

EMBEDDER = settings.load().embedder
CARDS = (
    "Get credits. GET movie credits",
    "Get images. GET movie images",
    "List users. GET users",
    "Sign in. POST session",
)
# Words that the encoder does not know: what they ask for can only be learned.
TASKS = [
    Task("a", CARDS, ("zorp the blick", "blick zorp now", "my quaffle", "a quaffle"), ((0,), (0,), (2, 3), (2, 3))),
    Task("b", CARDS[::-1], ("zorp blick", "my quaffle"), ((3,), (1, 0))),
]
PARAMS = Params(steps=12, rate=3e-3, prompts=4, cards=8)


def vectors(encoder: Encoder, folder: Path) -> Vectors:
    texts = [text for task in TASKS for text in (*task.cards, *task.prompts)]
    return Vectors.encode(texts, encoder, folder, lambda done, total: None)


def fitted(folder: Path, params: Params) -> Path:
    plain = Encoder(EMBEDDER, adapter=None)
    learner = Encoder(EMBEDDER.model_copy(update={"dtype": "float32"}), adapter=None)
    fit(TASKS, vectors(plain, folder / "vectors"), learner, params, folder / "adapter")
    return folder / "adapter"


@pytest.mark.slow
def test_prompts_come_near_to_what_they_ask_for(tmp_path: Path) -> None:
    adapter = fitted(tmp_path, PARAMS)
    plain, adapted = Encoder(EMBEDDER, adapter=None), Encoder(EMBEDDER, adapter)
    for prompt, wanted in (("please zorp the blick", 0), ("the quaffle", 2)):
        before, after = ((e.encode([prompt]) @ e.encode(list(CARDS)).T)[0] for e in (plain, adapted))
        others = [i for i in range(2) if i != wanted]
        assert after[wanted] - after[others].max() > before[wanted] - before[others].max() + 0.05
    unrelated = ["Delete the invoice", "Remove a bill", "Weather in Oslo"]
    a, b = plain.encode(unrelated), adapted.encode(unrelated)
    assert np.abs(a @ a.T - b @ b.T).max() < 0.2


@pytest.mark.slow
def test_the_same_seed_gives_the_same_adapter_which_names_no_folder(tmp_path: Path) -> None:
    params = Params(steps=2, prompts=2, cards=4)
    first, second = fitted(tmp_path / "a", params), fitted(tmp_path / "b", params)
    weights = "adapter_model.safetensors"
    assert (first / weights).read_bytes() == (second / weights).read_bytes()
    assert sorted(file.name for file in first.iterdir()) == ["adapter_config.json", weights]
    assert "/" not in json.loads((first / "adapter_config.json").read_text())["base_model_name_or_path"]


@pytest.mark.slow
def test_what_was_fitted_is_what_is_loaded(tmp_path: Path) -> None:
    plain = Encoder(EMBEDDER, adapter=None)
    exact = EMBEDDER.model_copy(update={"dtype": "float32"})
    learner = Encoder(exact, adapter=None)
    fit(TASKS, vectors(plain, tmp_path / "vectors"), learner, PARAMS, tmp_path / "adapter")
    texts = ["please zorp the blick", *CARDS]
    learner.model.eval()
    np.testing.assert_allclose(learner.encode(texts), Encoder(exact, tmp_path / "adapter").encode(texts), atol=0.02)
