"""A fitted adapter brings prompts nearer to what they ask for, and nothing else moves far."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from pipeline import settings
from pipeline.catalog.embed import Encoder
from train import corpus, encoder
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


def vectors(plain: Encoder, folder: Path) -> Vectors:
    texts = [text for task in TASKS for text in (*task.cards, *task.prompts)]
    return Vectors.encode(texts, plain, folder, lambda done, total: None)


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


@pytest.mark.slow
def test_further_adapters_never_saw_the_providers_of_a_fold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "nice", lambda more: 0)
    monkeypatch.setattr(encoder, "Params", lambda seed: Params(steps=4, prompts=2, cards=4, seed=seed))
    providers = [name for name in map("api{}".format, range(60)) if corpus.split_of(name, 7) == "train"]
    paths = {f"/{name}": {"get": {"summary": f"Get {name}"}} for name in ("users", "credits", "images")}
    (tmp_path / "specs").mkdir()
    lines = []
    for fold in range(2):
        name = next(name for name in providers if corpus.fold_of(name, 2, 7) == fold)
        spec = {"openapi": "3.0.0", "info": {"title": name, "version": "1"}, "paths": paths}
        (tmp_path / "specs" / f"{name}.json").write_text(json.dumps(spec))
        events = [{"endpoint": f"GET /{('users', 'credits')[fold]}"}]
        prompts = [f"{name} zorp", f"blick {name}"]
        lines.append(json.dumps({"spec": f"specs/{name}.json", "prompts": prompts, "events": events}))
    (tmp_path / "sessions.jsonl").write_text("\n".join(lines))
    encoder.main(tmp_path / "specs", tmp_path / "sessions.jsonl", tmp_path / "adapter", tmp_path / "work", 2, 7, 2)
    tasks = encoder.read_tasks(tmp_path / "sessions.jsonl", tmp_path / "specs", settings.load().parse, 7)
    assert len(tasks) == 2
    [store] = (tmp_path / "work" / "vectors").iterdir()
    for task in tasks:
        learner = Encoder(EMBEDDER.model_copy(update={"dtype": "float32", "threads": 1}), adapter=None)
        fit([task], Vectors(store), learner, Params(steps=2, prompts=2, cards=4, seed=7), tmp_path / "one")
        other = encoder.adapters_of(tmp_path / "work") / str(1 - corpus.fold_of(task.provider, 2, 7))
        weights = "adapter_model.safetensors"
        assert (tmp_path / "one" / weights).read_bytes() == (other / weights).read_bytes()
    assert (tmp_path / "adapter" / "adapter_config.json").exists()
