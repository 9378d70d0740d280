"""The journal split by time: sessions stay whole, what teaches nothing is left out, later data is never trained on."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline import settings as configuration
from pipeline.ranking.table import FEATURES, FINGERPRINT
from pipeline.stores.journal import Journal
from pipeline.types import Impression, QueryGroup
from tests.fakes import WaitingGroups
from train import dataset, replay
from train.replay import Named, split

_DAY = 1_790_000_000.0


@given(
    st.lists(
        st.tuples(st.floats(0, 5e5, allow_nan=False), st.sampled_from(["", "a", "b", "c"])), min_size=1, max_size=120
    ),
    st.integers(1, 150),
)
def test_no_session_is_cut_and_everything_has_a_side(rows: list[tuple[float, str]], most: int) -> None:
    found = [Named(f"{i}", _DAY + ts + 1, _DAY + ts, "local", "api", owner) for i, (ts, owner) in enumerate(rows)]
    cut = split(found, 0.2, 0.1, most)
    assert sum(cut.counts.values()) == len(cut.sides) == min(len(rows), most)
    kept = sorted((row for row in found if row.id in cut.sides), key=lambda row: row.shown_ts)
    assert cut.counts["later"] >= 1
    for owner in ("a", "b", "c"):
        own = [row for row in kept if row.owner == owner]
        for one, two in itertools.pairwise(own):
            if two.shown_ts - one.shown_ts <= 1800:
                assert cut.sides[one.id][1] == cut.sides[two.id][1]
    for row in kept:  # nothing that trains is later than what judges begins
        assert cut.sides[row.id][1] != "train" or row.shown_ts <= cut.valid_from or row.shown_ts < cut.later_from


def _group(
    i: int, label: int, chosen: str = "GET /a", head: str = "history_only", fingerprint: str = FINGERPRINT
) -> QueryGroup:
    x = np.full((3, len(FEATURES)), i / 64, dtype=np.float16)
    shown = Impression(
        id=f"{i:026}",
        tenant="local",
        user="anonymous",
        lineage="api",
        digest="sha256:0",
        ts=_DAY + 60 * i,
        shown=("GET /a", "DELETE /a"),
        others=("POST /a/cancel",),
        features=x.tobytes(),
        fingerprint=fingerprint,
        head=head,
    )
    labels = (label, 0, 0) if chosen == "GET /a" else (0, 0, 0)
    return QueryGroup(shown, labels, "accept", chosen, shown.ts + 1, weight=0.8)


async def test_groups_and_trials_come_out_of_the_journal_as_they_went_in(tmp_path: Path) -> None:
    journal = Journal.at(configuration.load().journal, tmp_path)
    groups = [_group(i, 2) for i in range(20)]
    groups += [_group(20, 0, chosen="GET /elsewhere"), _group(21, 2, head="neither"), _group(22, 2, fingerprint="old")]
    groups += [_group(i, 3) for i in range(23, 29)] + [_group(29, 0, chosen="")]
    await journal.drain(WaitingGroups(groups))  # type: ignore[arg-type]
    found = replay.names(journal, 1000)
    assert len(found) == 28  # neither another head nor another feature table
    cut = split(found, 0.25, 0.25, 1000)
    counts = replay.write(journal, cut, tmp_path / "work")
    assert counts["train", "history_only"] == cut.counts["train"]
    train = dataset.read(tmp_path / "work", "train", "history_only")
    assert train.sizes.tolist() == [3] * len(train)
    assert set(train.answers.tolist()) == {0}
    assert np.allclose(train.weights, 0.8)
    assert sorted(set((train.x[:, 0] * 64).astype(int).tolist())) == list(range(len(train)))
    valid = dataset.read(tmp_path / "work", "valid", "history_only")
    assert -1 in valid.answers.tolist()  # calibration must know what was no candidate
    later = list(replay.trials(journal, cut))
    assert len(later) == cut.counts["later"]
    assert [trial.known for trial in later].count(False) == 1
    assert later[0].destructive is not None
    assert later[0].destructive.tolist() == [False, True, True]
    assert {int(trial.x[0, 0] * 64) for trial in later}.isdisjoint((train.x[:, 0] * 64).astype(int).tolist())


async def test_half_of_the_groups_that_train_forget_what_a_generator_said(tmp_path: Path) -> None:
    journal = Journal.at(configuration.load().journal, tmp_path)
    await journal.drain(WaitingGroups([_group(i, 2) for i in range(400)]))  # type: ignore[arg-type]
    cut = split(replay.names(journal, 1000), 0.2, 0.2, 1000)
    generator = np.array([feature.group == "generator" for feature in FEATURES])
    once, again = (dataset_of(journal, cut, tmp_path / name) for name in ("once", "again"))
    forgot = np.array([np.isnan(x[:, generator]).all() for x in once.matrices()])
    assert 0.4 < forgot.mean() < 0.6
    for x, gone in zip(once.matrices(), forgot, strict=True):
        assert not np.isnan(x[:, ~generator]).any()
        assert np.isnan(x[:, generator]).any() == gone
    np.testing.assert_array_equal(once.x, again.x)
    valid = dataset.read(tmp_path / "once", "valid", "history_only")
    assert len(valid) == cut.counts["valid"]
    assert not np.isnan(valid.x).any()  # what stops the fit and calibrates is as it was served


class _PlayedRay:
    """Ray as far as `replay` goes: Ray Data, which opens a file when its rows are asked for."""

    def __init__(self, meanwhile: Callable[[], object]) -> None:
        self._meanwhile = meanwhile
        self.data = self

    def is_initialized(self) -> bool:
        return True

    def put(self, value: Any) -> Any:
        return value

    get = put

    def read_parquet(self, files: list[str], columns: list[str]) -> _PlayedRay:
        self._files, self._columns = files, columns
        return self

    def map_batches(self, make: Callable[[pa.Table], pa.Table], **_: Any) -> _PlayedRay:
        self._make = make
        return self

    def iter_rows(self) -> Iterator[dict[str, Any]]:
        for file in self._files:
            self._meanwhile()
            yield from self._make(pq.read_table(file, columns=self._columns)).to_pylist()


@pytest.mark.parametrize("by_ray", [False, True])
async def test_a_journal_that_is_merged_while_it_is_read_gives_each_group_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by_ray: bool
) -> None:
    limits = configuration.load().journal.model_copy(update={"retention_days": 36500})
    journal, other = Journal.at(limits, tmp_path), Journal.at(limits, tmp_path)
    for first in (0, 20, 40):
        waiting = WaitingGroups([_group(i, 2) for i in range(first, first + 20)])
        await journal.drain(waiting)  # type: ignore[arg-type]
    assert len(journal.files()) == 3
    cut = split(replay.names(journal, 1000), 0.2, 0.2, 1000)
    if by_ray:
        monkeypatch.setitem(sys.modules, "ray", _PlayedRay(other.compact))  # type: ignore[arg-type]
    else:
        write_part = replay.write_part
        monkeypatch.setattr(replay, "_BATCH", 8)
        monkeypatch.setattr(replay, "write_part", lambda *some: (other.compact(), write_part(*some))[1])
    counts = replay.write(journal, cut, tmp_path / "work")
    assert counts["train", "history_only"] == cut.counts["train"]
    assert counts["valid", "history_only"] == cut.counts["valid"]
    train = dataset.read(tmp_path / "work", "train", "history_only")
    assert len(set(train.x[:, 0].tolist())) == len(train) == cut.counts["train"]
    assert other.compact() == 2


def dataset_of(journal: Journal, cut: replay.Split, folder: Path) -> dataset.Groups:
    replay.write(journal, cut, folder)
    return dataset.read(folder, "train", "history_only")


def test_an_empty_journal_has_no_groups(tmp_path: Path) -> None:
    journal = Journal.at(configuration.load().journal, tmp_path)
    assert replay.names(journal, 10) == []
    assert split([], 0.2, 0.1, 10).counts == {"train": 0, "valid": 0, "later": 0}
