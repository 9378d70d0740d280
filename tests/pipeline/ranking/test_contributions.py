"""What features add to a score: the parts add up, and stand for the whole group."""

from __future__ import annotations

import lightgbm
import numpy as np
import pytest

from pipeline.ranking import ranker as rankers
from pipeline.ranking.contributions import TreePaths, spread, strongest
from pipeline.ranking.ranker import Blend, Logit, Trees
from pipeline.ranking.table import HEADS, NAMES

LOGIT = Logit(features=(NAMES[0], NAMES[3]), center=(0.5, 0.5), scale=(0.2, 0.3), weights=(1.0, -0.5))


def _matrix(rows: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    matrix = rng.random((rows, len(NAMES))).astype(np.float32)
    matrix[rng.random(matrix.shape) < 0.2] = np.nan
    return matrix


@pytest.fixture(scope="module")
def booster() -> lightgbm.Booster:
    x = _matrix(2000, 1)
    y = (np.nan_to_num(x[:, 0]) + np.nan_to_num(x[:, 7]) > 1.2).astype(int)
    data = lightgbm.Dataset(x, label=y, group=[20] * 100, feature_name=list(NAMES))
    settings = {"objective": "lambdarank", "num_leaves": 7, "verbosity": -1, "num_threads": 1, "seed": 1}
    return lightgbm.train(settings, data, 20)


@pytest.mark.parametrize("rows", [1, 5, 40, 200])
def test_the_parts_of_a_row_add_up_to_its_lead_over_the_group(booster: lightgbm.Booster, rows: int) -> None:
    trees = Trees(model=booster.model_to_string())
    ranker = rankers.uncalibrated("x", {"a": trees, "b": LOGIT, "c": Blend(trees, LOGIT, 0.3)})
    cold = rankers.cold_start()
    matrix, told = _matrix(rows, 2), np.arange(min(rows, 5))
    for made, head in ((ranker, "a"), (ranker, "b"), (ranker, "c"), *((cold, head) for head in HEADS)):
        raw = made.score(matrix, head).raw
        parts = made._heads[head].parts(made._heads[head].read(matrix), told)
        assert parts.shape == (len(told), len(NAMES))
        assert parts.sum(axis=1) == pytest.approx(raw[told] - raw[spread(rows)].mean(), abs=1e-3)


def test_paths_and_shap_tell_the_same_features(booster: lightgbm.Booster) -> None:
    matrix = _matrix(60, 3)
    paths = TreePaths(booster, booster.model_to_string())
    ours = paths.parts(paths.leaves(matrix), np.arange(60))
    assert paths.raw(paths.leaves(matrix)) == pytest.approx(booster.predict(matrix, raw_score=True), abs=1e-6)
    shap = booster.predict(matrix, pred_contrib=True)[:, :-1]
    shap -= shap[spread(60)].mean(axis=0)
    assert np.corrcoef(ours.ravel(), shap.ravel())[0, 1] > 0.9


def test_a_tree_without_a_split_adds_nothing() -> None:
    x = np.zeros((40, 3), dtype=np.float32)
    data = lightgbm.Dataset(x, label=[0, 1] * 20, params={"verbosity": -1})
    stump = lightgbm.train({"objective": "binary", "verbosity": -1, "num_threads": 1}, data, 2)
    paths = TreePaths(stump, stump.model_to_string())
    assert not paths.parts(paths.leaves(x), np.arange(3)).any()
    assert paths.raw(paths.leaves(x)) == pytest.approx(stump.predict(x, raw_score=True), abs=1e-6)


def test_only_the_best_of_those_that_may_be_shown_are_explained(booster: lightgbm.Booster) -> None:
    ranker = rankers.uncalibrated("x", {"a": Trees(model=booster.model_to_string())})
    matrix = _matrix(50, 4)
    order = np.argsort(-ranker.score(matrix, "a").raw, kind="stable").tolist()
    hidden = order[0]
    scores = ranker.score(matrix, "a", [i for i in range(50) if i != hidden], 3)
    assert list(scores.because) == order[1:4]
    assert not ranker.score(matrix, "a").because
    for told in scores.because.values():
        parts = [part for _, part in told]
        assert parts == sorted(parts, reverse=True)
        assert all(part > 0 for part in parts)


def test_what_lowers_a_row_is_no_reason_for_it() -> None:
    assert strongest(np.array([[0.2, -3.0, 0.0, 0.5, 1e-9]]), 3) == [((3, 0.5), (0, 0.2))]
