"""From sessions to query groups: whole, labelled right, the same twice."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline import settings
from pipeline.catalog.embed import operation_card
from pipeline.catalog.library import compile_catalog, with_vectors
from pipeline.errors import RankerArtifactError
from pipeline.predict import assemble
from pipeline.ranking.network import CALLS
from pipeline.ranking.table import COLUMN, FEATURES
from pipeline.types import Query, Source
from tests.fakes import HashingEncoder
from train import bootstrap, corpus, dataset
from train.bootstrap import Vectors, groups_of

SETTINGS = settings.load()
PLAN = corpus.Plan(specs=50, sessions=6, per_provider=50)


@pytest.fixture(scope="module")
def work(specs_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus with its vectors."""
    folder = tmp_path_factory.mktemp("work")
    made = corpus.synthesize(specs_folder, corpus.choose(specs_folder, PLAN), PLAN, SETTINGS.parse, workers=1)
    corpus.write(made, folder / "corpus")
    texts = bootstrap.texts_of(folder / "corpus")
    Vectors.encode(texts, HashingEncoder(), folder / "vectors", lambda done, total: None)
    return folder


def test_no_text_is_encoded_twice(work: Path) -> None:
    encoder = HashingEncoder()
    texts = [*bootstrap.texts_of(work / "corpus"), "a new one", "a new one"]
    vectors = Vectors.encode(texts, encoder, work / "vectors", lambda done, total: None)
    assert encoder.texts == ["a new one"]
    assert vectors.of(["a new one"]) == pytest.approx(HashingEncoder().encode(["a new one"]), abs=1e-3)


def test_each_group_has_its_answer_and_its_head(work: Path) -> None:
    vectors = Vectors(work / "vectors")
    seen = set()
    for catalog, sessions in corpus.read(work / "corpus"):
        for group in groups_of(catalog, sessions, vectors, SETTINGS.shortlist, 7):
            assert group.x.shape == (len(group.y), len(FEATURES))
            assert group.y.sum() == (group.answer >= 0)
            assert group.answer < 0 or group.y[group.answer] == 1
            assert group.split != "train" or group.answer >= 0
            assert np.isnan(group.x[0, COLUMN["match"]]) == (group.head == "history_only")
            assert np.isnan(group.x[0, COLUMN["is_last"]]) == (group.head == "prompt_only")
            seen.add(group.head)
    assert seen == {"prompt_only", "prompt_history", "history_only"}


def test_groups_to_train_on_have_vectors_of_the_encoder_that_never_saw_their_provider(
    work: Path, tmp_path: Path
) -> None:
    folders = [tmp_path / str(encoder) for encoder in range(3)]
    for encoder, folder in enumerate(folders):
        texts = bootstrap.texts_of(work / "corpus", 2, 7, encoder)
        Vectors.encode(texts, HashingEncoder(), folder, lambda done, total: None)
    vectors = Vectors(*folders)
    assert vectors.folds == 2
    used = set()
    for catalog, sessions in corpus.read(work / "corpus"):
        first = sessions[0]
        encoder = 1 + corpus.fold_of(first.provider, 2, 7) if first.split == "train" else 0
        cards = set(vectors.places([operation_card(o) for o in catalog.operations], encoder))
        for group in groups_of(catalog, sessions, vectors, SETTINGS.shortlist, 7):
            if group.texts:
                assert cards.issuperset(group.texts[1 + CALLS :])
                assert group.texts[0] in (-1, *vectors.places([s.prompt for s in sessions], encoder))
                used.add(encoder)
    assert 0 in used
    assert used & {1, 2}


def test_rows_are_what_serving_would_score(work: Path) -> None:
    catalog, sessions = next((c, s) for c, s in corpus.read(work / "corpus") if s[0].split == "train")
    vectors = Vectors(work / "vectors")
    session = next(s for s in sessions if 0 in s.answers)
    group = next(g for g in groups_of(catalog, [session], vectors, SETTINGS.shortlist, 7) if g.head == "prompt_only")
    compiled = with_vectors(compile_catalog(catalog), vectors.of([operation_card(o) for o in catalog.operations]))
    query = Query(source=Source(digest=catalog.digest), prompt=session.prompt)
    grounded, matrix = assemble(query, compiled, vectors.of([session.prompt])[0], {}, SETTINGS.shortlist)
    assert grounded.candidates[group.answer].operation == session.operations[0]
    meaning = [COLUMN[f.name] for f in FEATURES if f.missing_without == "meaning"]
    if np.isnan(group.x[:, meaning]).all():  # one catalog in twelve is seen without vectors
        matrix = assemble(query, compile_catalog(catalog), None, {}, SETTINGS.shortlist)[1]
    assert np.array_equal(group.x, matrix, equal_nan=True)


def test_a_large_training_group_keeps_the_answer_hard_ones_and_random_ones(work: Path) -> None:
    import random

    matrix = np.random.default_rng(1).random((96, len(FEATURES))).astype(np.float32)
    kept = bootstrap._negatives(matrix, 17, random.Random(1))
    assert len(kept) == len(set(kept)) == 52
    assert 17 in kept
    assert kept == sorted(kept)


def test_groups_are_written_whole_and_the_same_by_any_number_of_processes(work: Path, tmp_path: Path) -> None:
    counts = [
        bootstrap.bootstrap(
            {work / "corpus": 1.0}, [work / "vectors"], tmp_path / str(n), SETTINGS.shortlist, 7, workers=n
        )
        for n in (1, 2)
    ]
    assert counts[0] == counts[1] > 100
    for head in ("prompt_only", "prompt_history", "history_only"):
        one, two = (dataset.read(tmp_path / str(n), "train", head) for n in (1, 2))
        assert np.array_equal(one.x, two.x, equal_nan=True)
        assert np.array_equal(one.sizes, two.sizes)
        assert one.sizes.sum() == len(one.y) == len(one.x)
        assert [m.shape[0] for m in one.matrices()] == one.sizes.tolist()
    assert dataset.content_hash(tmp_path / "1") == dataset.content_hash(tmp_path / "2")


def test_groups_of_another_feature_table_are_refused(tmp_path: Path) -> None:
    group = dataset.Group(
        1, "s", "p", "train", "prompt_only", 9, 0, np.zeros((3, 5), np.float32), np.zeros(3, np.int32)
    )
    dataset.write_part([group], tmp_path, "0")
    with pytest.raises(RankerArtifactError, match="make them again"):
        dataset.read(tmp_path, "train", "prompt_only")


def test_shards_in_any_order_give_the_same_groups(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    rng = np.random.default_rng(2)
    groups = [
        dataset.Group(
            dataset.qid_of(str(i)), "s", "p", "train", "prompt_only", 9, 0,
            rng.random((n, len(FEATURES))).astype(np.float32), np.eye(n, dtype=np.int32)[0],
        )
        for i, n in enumerate(rng.integers(2, 9, size=40))
    ]  # fmt: skip
    dataset.write_part(groups, tmp_path, "0")
    table = pq.read_table(next(tmp_path.rglob("*.parquet")))
    shuffled = table.take(pa.array(rng.permutation(len(table))))
    one, two = dataset.from_table(table), dataset.from_table(shuffled)
    assert np.array_equal(one.x, two.x)
    assert np.array_equal(one.sizes, two.sizes)
    assert np.array_equal(one.y, two.y)


def test_the_hash_of_groups_is_of_all_that_is_learnt_from_and_of_no_file(tmp_path: Path) -> None:
    x = np.random.default_rng(3).random((3, len(FEATURES))).astype(np.float32)
    x[0, 0] = np.nan
    y, other = np.array([0, 3, 0], dtype=np.int32), x.copy()
    other[2, 5] += 1
    groups = [dataset.Group(qid, "s", "p", "train", "history_only", 9, 1, x, y, texts=(1, 2)) for qid in range(4)]

    def hashed(name: str, *parts: list[dataset.Group]) -> str:
        for number, part in enumerate(parts):
            dataset.write_part(part, tmp_path / name, str(number))
        return dataset.content_hash(tmp_path / name)

    whole = hashed("whole", groups)
    assert hashed("parts", groups[2:], groups[:2]) == whole
    changes: list[dict[str, Any]] = [
        {"x": other}, {"y": np.array([0, 2, 0], dtype=np.int32)}, {"weight": 0.5}, {"answer": -1}, {"qid": 9},
        {"texts": (1, 3)}, {"split": "valid"}, {"head": "prompt_only"},
    ]  # fmt: skip
    changed = [
        hashed(f"changed-{i}", [dataclasses.replace(groups[0], **change), *groups[1:]])
        for i, change in enumerate(changes)
    ]
    assert len({whole, *changed}) == 1 + len(changes)


def test_an_empty_split_reads_as_nothing(tmp_path: Path) -> None:
    assert len(dataset.read(tmp_path, "test", "prompt_only")) == 0
