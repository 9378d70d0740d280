"""Feature drift: nothing while what is served is like the reference, much when a group of features changes."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from pipeline.errors import RankerArtifactError
from pipeline.ranking import drift
from pipeline.ranking.table import FEATURES, HEADS

WORDS = [i for i, feature in enumerate(FEATURES) if feature.group == "prompt"]


def groups(count: int, seed: int) -> list[tuple[str, np.ndarray]]:
    rng = np.random.default_rng(seed)
    made = []
    for i in range(count):
        matrix = rng.random((20, len(FEATURES))).astype(np.float32)
        matrix[:, 5] = 0.0  # a column of one value
        if HEADS[i % 3] == "history_only":
            matrix[:, WORDS] = np.nan
        made.append((HEADS[i % 3], matrix))
    return made


@pytest.fixture(scope="module")
def reference() -> drift.Reference:
    return drift.reference(groups(600, 0))


def served(reference: drift.Reference, some: list[tuple[str, np.ndarray]]) -> dict[str, float]:
    watched = drift.Drift(reference)
    for i, (head, matrix) in enumerate(some):
        watched.offer(matrix, head)
        if i % 8 == 7:
            watched.look()
    return watched.look()


def test_nothing_is_said_of_a_few_groups(reference: drift.Reference):
    assert set(served(reference, groups(99, 1)).values()) == {0.0}


def test_the_like_has_no_drift_whatever_the_mix_of_tasks(reference: drift.Reference):
    assert max(served(reference, groups(600, 1)).values()) < 0.05
    prompts = [(head, matrix) for head, matrix in groups(900, 2) if head != "history_only"]
    assert max(served(reference, prompts).values()) < 0.05


def test_a_group_of_features_that_changes_is_told_and_the_others_are_not(reference: drift.Reference):
    changed = groups(600, 3)
    for _, matrix in changed:
        matrix[:, WORDS] = matrix[:, WORDS] ** 3
    told = served(reference, changed)
    assert told["prompt"] > 0.25
    assert max(value for group, value in told.items() if group != "prompt") < 0.05
    missing = groups(600, 4)
    for _, matrix in missing:
        matrix[:, WORDS] = np.nan
    assert served(reference, missing)["prompt"] > 1


def test_stability_is_the_sum_over_bins_of_difference_times_log_ratio():
    expected, actual = np.array([[50.0, 30.0, 20.0]]), np.array([[0.4, 0.4, 0.2]])
    by_hand = (0.4 - 0.5) * np.log(0.4 / 0.5) + (0.4 - 0.3) * np.log(0.4 / 0.3)
    assert drift.stability(expected, actual)[0] == pytest.approx(by_hand)


def test_a_head_without_reference_and_an_empty_group_are_passed_over(reference: drift.Reference):
    nothing = [("entry", matrix) for _, matrix in groups(200, 5)] + [(HEADS[0], np.zeros((0, len(FEATURES))))] * 200
    assert set(served(reference, nothing).values()) == {0.0}


def test_a_reference_of_another_table_is_refused(reference: drift.Reference, tmp_path):
    path = tmp_path / "reference.json"
    path.write_bytes(msgspec.json.encode(msgspec.structs.replace(reference, fingerprint="other")))
    with pytest.raises(RankerArtifactError, match="other"):
        drift.load(path)
    with pytest.raises(RankerArtifactError):
        drift.load(tmp_path / "none.json")
