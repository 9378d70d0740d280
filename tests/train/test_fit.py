"""Fitting: the heads learn, keep the signs of the feature table, and any number of workers does."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import psutil
import pytest

from pipeline.ranking import measures
from pipeline.ranking.ranker import Blend, uncalibrated
from pipeline.ranking.table import COLUMN, FEATURES, Head
from train import dataset
from train.dataset import Groups
from train.fit import _some, fit
from train.heads import Params, fit_logit, fit_trees, with_prior

_GOOD, _BAD, _FREE = (next(f.name for f in FEATURES if f.direction == d and f.group != "generator") for d in (1, -1, 0))
PARAMS = Params(rounds=40, min_rounds=5, min_rows=20)


def _groups(n: int, seed: int, missing: float = 0.1) -> Groups:
    """Groups whose answer is drawn by a sum of one good, one bad and one free feature."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(4, 30, size=n)
    x = rng.random((int(sizes.sum()), len(FEATURES))).astype(np.float32)
    x[:, [COLUMN[f.name] for f in FEATURES if f.group == "generator"]] = np.nan
    value = 6 * x[:, COLUMN[_GOOD]] - 5 * x[:, COLUMN[_BAD]] + 3 * x[:, COLUMN[_FREE]]
    y = np.zeros(len(x), dtype=np.int32)
    start = 0
    for size in sizes:
        noisy = value[start : start + size] + rng.gumbel(size=size)
        y[start + int(noisy.argmax())] = 1
        start += size
    x[rng.random(x.shape) < missing] = np.nan
    answers = np.array([m.argmax() for m in np.split(y, np.cumsum(sizes)[:-1])])
    return Groups(x, y, sizes.astype(np.int32), answers.astype(np.int32), sizes.astype(np.int32), ("p",) * n)


def _hit(spec: object, groups: Groups) -> float:
    ranker = uncalibrated("x", {"a": spec})  # type: ignore[dict-item]
    ranks = [
        measures.rank_of(ranker.score(m, "a").raw, int(a))
        for m, a in zip(groups.matrices(), groups.answers, strict=True)
    ]
    return measures.hit_at(ranks, 1)


def test_the_logit_learns_and_keeps_the_signs() -> None:
    train, test = _groups(1500, 1), _groups(400, 2)
    head = fit_logit(train, PARAMS)
    assert _hit(head, test) > 0.35 > 3 * 1 / 17
    weights = dict(zip(head.features, head.weights, strict=True))
    assert weights[_GOOD] > 0.5
    assert weights[_BAD] < -0.5
    assert weights[_FREE] > 0.3
    for feature in FEATURES:
        assert weights.get(feature.name, 0.0) * feature.direction >= 0
        assert feature.group != "generator" or feature.name not in weights


def test_the_declared_order_and_the_network_count_in_the_score_as_the_parameters_say() -> None:
    groups = _groups(300, 3, missing=0.0)
    plain = fit_logit(groups, PARAMS)
    params = dataclasses.replace(PARAMS, share=0.9, prior=0.0, network=2.0)
    raw = {}
    for name, logit in (("plain", plain), ("added", with_prior(plain, "prompt_only", params))):
        ranker = uncalibrated("x", {"a": logit})
        raw[name] = np.concatenate([ranker.score(m, "a").raw for m in groups.matrices()])
    added = 0.1 * (raw["added"] - raw["plain"])  # a tenth of the blend is the logit's
    network = 2.0 * groups.x[:, COLUMN["network"]]
    np.testing.assert_allclose(np.diff(added), np.diff(network), atol=1e-3)


def test_a_feature_that_lies_gets_no_weight() -> None:
    groups = _groups(800, 3)
    flipped = Groups(-groups.x, groups.y, groups.sizes, groups.answers, groups.operations, groups.providers)
    weights = dict(zip((head := fit_logit(flipped, PARAMS)).features, head.weights, strict=True))
    assert _GOOD not in weights
    assert _BAD not in weights


def test_trees_learn_and_are_monotone() -> None:
    train, valid, test = _groups(1500, 1), _groups(200, 4), _groups(400, 2)
    head, rounds, ndcg10 = fit_trees(train, valid, PARAMS)
    assert 1 <= rounds <= PARAMS.rounds
    assert 0.2 < ndcg10 < 1.0
    assert _hit(head, test) > 0.3
    ranker = uncalibrated("x", {"a": head})
    rows = np.random.default_rng(5).random((50, len(FEATURES))).astype(np.float32)
    for name, sign in ((_GOOD, 1), (_BAD, -1)):
        raised = rows.copy()
        raised[:, COLUMN[name]] += 0.4
        change = sign * (ranker.score(raised, "a").raw - ranker.score(rows, "a").raw)
        assert change.min() >= -1e-5
        assert change.max() > 0


def test_held_out_specs_that_are_content_early_do_not_stop_it_before_its_least_rounds() -> None:
    held_out = _groups(400, 2)
    contrary = dataclasses.replace(held_out, x=-held_out.x)  # every round makes it worse
    params = dataclasses.replace(PARAMS, rounds=30, min_rounds=12, patience=3)
    head, rounds, _ = fit_trees(_groups(300, 1), contrary, params)
    assert rounds == 12
    assert head.model.count("\nTree=") == 12


def test_the_same_seed_gives_the_same_trees() -> None:
    train, valid = _groups(300, 1), _groups(60, 2)
    assert fit_trees(train, valid, PARAMS)[0] == fit_trees(train, valid, PARAMS)[0]


def test_trees_are_saved_without_the_machine_that_made_them() -> None:
    head, _, _ = fit_trees(_groups(300, 1), _groups(60, 2), PARAMS)
    assert "machines" not in head.model
    assert "parameters:" not in head.model


def _part(folder: Path, name: str, count: int) -> str:
    rows = [
        dataset.Group(dataset.qid_of(f"{name} {i}"), "s", "p", "train", "history_only", 2, 0,
                      np.zeros((2, len(FEATURES)), dtype=np.float32), np.array([1, 0], dtype=np.int32))
        for i in range(count)
    ]  # fmt: skip
    dataset.write_part(rows, folder, name)
    return str(folder / "train" / "history_only" / f"part-{name}.parquet")


def test_a_logit_is_fitted_on_files_spread_evenly_and_on_groups_enough(tmp_path: Path) -> None:
    files = [_part(tmp_path, f"{i:02}", 10) for i in range(12)]
    assert _some(files, 40) == (files[::3], 4 / 12)
    assert _some(files, 500) == (files, 1.0)
    small = _part(tmp_path, "small", 1)
    assert _some([small, files[0]], 5) == ([small, files[0]], 1.0)  # every second file would be one group


@pytest.mark.cluster
@pytest.mark.slow
def test_two_workers_reach_what_one_does_though_one_of_them_dies(tmp_path: Path) -> None:
    heads: tuple[Head, ...] = ("prompt_history", "history_only")
    for number, head in enumerate(heads):
        for split, n, seed in (("train", 900, 1), ("valid", 200, 2)):
            some = _groups(n, seed + 10 * number)
            rows = [
                dataset.Group(dataset.qid_of(f"{head} {split} {i}"), "s", "p", split, head, len(m), int(a), m,
                              np.eye(len(m), dtype=np.int32)[int(a)])
                for i, (m, a) in enumerate(zip(some.matrices(), some.answers, strict=True))
            ]  # fmt: skip
            for part in range(3):
                dataset.write_part(rows[part::3], tmp_path, f"{number}{part}")
    killed: list[int] = []

    def kill(done: int) -> None:
        """Once the first head is fitted, while the second one is."""
        if not killed and done == 1:
            workers = [p for p in psutil.Process().children(recursive=True) if "RayTrainWorker" in p.name()]
            workers[0].kill()
            killed.append(workers[0].pid)

    two = fit(tmp_path, PARAMS, 2, heads, progress=kill)
    assert killed
    assert not (tmp_path / "run").exists()
    for number, head in enumerate(heads):
        whole, held_out = (dataset.read(tmp_path, split, head) for split in ("train", "valid"))
        trees, _, ndcg10 = fit_trees(whole, held_out, PARAMS)  # what one does, here
        logit = with_prior(fit_logit(whole, PARAMS), head, PARAMS)
        found = two.heads[head]
        assert isinstance(found, Blend)
        np.testing.assert_allclose(found.logit.weights, logit.weights, rtol=1e-4, atol=1e-4)
        test = _groups(1500, 3 + 10 * number)
        assert abs(_hit(found.trees, test) - _hit(trees, test)) < 0.04
        assert abs(two.ndcg10[head] - ndcg10) < 0.03
