"""A fitted map brings prompts nearer to what they ask for, on an API that it has not seen."""

from __future__ import annotations

import numpy as np

from train.encoder import Params, Task, fit

DIMS, HIDDEN = 24, 8


def unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def task(rng: np.random.Generator) -> Task:
    """An API whose prompts agree with their operations in a few directions and in nothing else."""
    cards = rng.normal(size=(30, DIMS))
    wanted = rng.integers(30, size=40)
    prompts = rng.normal(size=(40, DIMS))
    prompts[:, :HIDDEN] = cards[wanted, :HIDDEN]
    return Task(unit(cards), unit(prompts), tuple((int(i),) for i in wanted))


def hits(of: Task, cards: np.ndarray, prompts: np.ndarray) -> float:
    best = (prompts @ cards.T).argmax(axis=1)
    return float(np.mean([i in wanted for i, wanted in zip(best.tolist(), of.wanted, strict=True)]))


def test_a_map_finds_on_another_api_what_it_was_fitted_to_see() -> None:
    rng = np.random.default_rng(1)
    params = Params(rank=8, steps=40, rate=0.03, l2=0.001)
    fitted = fit([task(rng) for _ in range(12)], params)
    unseen = task(rng)
    before = hits(unseen, unseen.cards, unseen.prompts)
    after = hits(unseen, fitted.apply(unseen.cards), fitted.apply(unseen.prompts))
    assert after > before + 0.2
    assert np.allclose(np.linalg.norm(fitted.apply(unseen.cards), axis=1), 1.0, atol=1e-5)


def test_the_same_seed_gives_the_same_map() -> None:
    rng = np.random.default_rng(2)
    tasks = [task(rng) for _ in range(2)]
    params = Params(rank=2, steps=3)
    first, second = fit(tasks, params), fit(tasks, params)
    assert np.array_equal(first.up, second.up)
    assert np.array_equal(first.down, second.down)
    assert not np.array_equal(first.up, fit(tasks, Params(rank=2, steps=3, seed=8)).up)
