"""A saved ranker scores as it did when it was saved, or is not served at all."""

from __future__ import annotations

import json
from typing import Any

import lightgbm
import numpy as np
import pytest

from pipeline.errors import RankerArtifactError
from pipeline.ranking import ranker as rankers
from pipeline.ranking.calibrate import Calibration
from pipeline.ranking.ranker import Blend, Logit, Ranker, Trees
from pipeline.ranking.table import FINGERPRINT, HEADS, NAMES


def _matrix(rows: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    matrix = rng.random((rows, len(NAMES))).astype(np.float32)
    matrix[rng.random(matrix.shape) < 0.2] = np.nan
    return matrix


def _trees(seed: int = 1) -> Trees:
    x = _matrix(2000, seed)
    y = (np.nan_to_num(x[:, 0]) > 0.8).astype(int)
    data = lightgbm.Dataset(x, label=y, group=[20] * 100, feature_name=list(NAMES))
    settings = {"objective": "lambdarank", "num_leaves": 7, "verbosity": -1, "num_threads": 1, "seed": seed}
    return Trees(model=lightgbm.train(settings, data, 20).model_to_string())


_LOGIT = Logit(features=(NAMES[0], NAMES[3]), center=(0.5, 0.5), scale=(0.2, 0.3), weights=(1.0, -0.5))


@pytest.fixture(scope="module")
def text() -> str:
    trees = _trees()
    return rankers.dump(
        version="test-1",
        created="2026-01-01T00:00:00+00:00",
        data="sha256:0",
        heads={"prompt_only": _LOGIT, "prompt_history": Blend(trees, _LOGIT, 0.5), "history_only": trees},
        calibration={head: Calibration(2.0, (0.1, 0.9), (0.2, 0.8), 0.1) for head in HEADS},
        samples={head: _matrix(30, i) for i, head in enumerate(HEADS)},
    )


def test_a_saved_ranker_scores_the_same(text: str) -> None:
    one, two = Ranker.load_text(text), Ranker.load_text(text)
    matrix = _matrix(96, 9)
    for head in HEADS:
        scores = one.score(matrix, head)
        assert scores.raw.dtype == scores.confidence.dtype == np.float32
        assert scores.raw.shape == scores.confidence.shape == (96,)
        assert np.array_equal(scores.raw, two.score(matrix, head).raw)
        assert scores.confidence.argmax() == scores.raw.argmax()
        assert scores.confidence.sum() <= 1.0 + 1e-5
        assert (scores.version, scores.head) == ("test-1", head)


def test_a_blend_is_its_parts_by_their_share() -> None:
    trees = _trees()
    matrix = _matrix(40, 5)
    parts = rankers.uncalibrated("x", {"a": trees, "b": _LOGIT, "c": Blend(trees, _LOGIT, 0.25)})
    expected = 0.25 * parts.score(matrix, "a").raw + 0.75 * parts.score(matrix, "b").raw
    assert parts.score(matrix, "c").raw == pytest.approx(expected, abs=1e-5)


def test_a_logit_takes_a_missing_value_for_the_mean() -> None:
    matrix = np.full((2, len(NAMES)), np.nan, dtype=np.float32)
    matrix[1, 0] = 0.7
    raw = rankers.uncalibrated("x", {"a": _LOGIT}).score(matrix, "a").raw
    assert raw == pytest.approx([0.0, 1.0], abs=1e-6)


def test_an_empty_group_and_a_wrong_one() -> None:
    cold = rankers.cold_start()
    assert cold.score(np.zeros((0, len(NAMES)), dtype=np.float32), "prompt_only").raw.shape == (0,)
    with pytest.raises(RankerArtifactError):
        cold.score(np.zeros((3, len(NAMES) - 1), dtype=np.float32), "prompt_only")
    with pytest.raises(RankerArtifactError):
        cold.score(np.zeros((3, len(NAMES)), dtype=np.float32), "neither")


def test_the_cold_start_order_has_every_head() -> None:
    cold = rankers.cold_start()
    assert cold.version == "cold-start"
    for head in HEADS:
        assert np.isfinite(cold.score(_matrix(10), head).raw).all()


def _changed(text: str, **changes: Any) -> str:
    return json.dumps(json.loads(text) | changes)


def _shaken(text: str) -> str:
    saved = json.loads(text)
    saved["heads"]["prompt_only"]["weights"][0] += 0.01
    return json.dumps(saved)


def _without(text: str, part: str, head: str) -> str:
    saved = json.loads(text)
    del saved[part][head]
    return json.dumps(saved)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda t: "", "Not a saved ranker"),
        (lambda t: "[]", "Not a saved ranker"),
        (lambda t: t[:-20], "Not a saved ranker"),
        (lambda t: _changed(t, extra=1), "Not a saved ranker"),
        (lambda t: _changed(t, format=99), "Format 99"),
        (lambda t: _changed(t, fingerprint="0" * 16), "feature table"),
        (lambda t: _changed(t, features=list(reversed(NAMES))), "feature table"),
        (lambda t: t + " " * rankers.SIZE_LIMIT_BYTES, "over the limit"),
        (_shaken, "golden rows"),
        (lambda t: _without(t, "heads", "history_only"), "lack history_only"),
        (lambda t: _without(t, "golden", "prompt_only"), "lack prompt_only"),
        (
            lambda t: _changed(t, heads=json.loads(t)["heads"] | {"history_only": {"type": "trees", "model": "no"}}),
            "LightGBM",
        ),
        (
            lambda t: _changed(t, heads=json.loads(t)["heads"] | {"prompt_only": {"type": "pickle", "model": "no"}}),
            "Not a saved ranker",
        ),
    ],
)
def test_what_must_not_be_served_is_refused(text: str, spoil: Any, said: str) -> None:
    with pytest.raises(RankerArtifactError, match=said):
        Ranker.load_text(spoil(text))


@pytest.mark.parametrize(
    "change", [{"weights": (float("inf"), 0.0)}, {"scale": (0.0, 1.0)}, {"features": ("no", "such")}]
)
def test_a_logit_of_impossible_numbers_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(RankerArtifactError):
        rankers.uncalibrated("x", {"a": Logit(**(_as_dict(_LOGIT) | change))})


def _as_dict(logit: Logit) -> dict[str, Any]:
    return {name: getattr(logit, name) for name in logit.__struct_fields__}


def test_a_spoilt_file_falls_back_to_the_cold_start_order(tmp_path: Any, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "ranker.json").write_text("{}")
    assert rankers.serving(str(tmp_path / "ranker.json")).version == "cold-start"
    assert rankers.serving(str(tmp_path / "missing.json")).version == "cold-start"
    assert "is not served" in caplog.text


def test_the_packaged_ranker_fits_the_feature_table_and_is_one_small_text() -> None:
    path = rankers.packaged_path()
    text = path.read_text(encoding="utf-8")
    assert len(text) <= rankers.SIZE_LIMIT_BYTES
    assert json.loads(text)["fingerprint"] == FINGERPRINT
    ranker = rankers.packaged()
    assert ranker.version.startswith("default-")
    assert rankers.serving().version == ranker.version
    card = path.with_suffix(".md").read_text(encoding="utf-8")
    assert ranker.version in card
    assert FINGERPRINT in card
