"""The packaged network's fit, on groups whose answer only the vectors tell."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.ranking import network
from pipeline.ranking.table import COLUMN, FEATURES
from tests.fakes import HashingEncoder
from train import dataset
from train.bootstrap import Vectors
from train.network import Params, _fold, add_network

CARDS = [f"card {i}" for i in range(40)]
WISHES = [f"wish {i}" for i in range(40)]
N = 6  # candidates of a group
PARAMS = Params(rank=16, hidden=16, dropout=0.0, epochs=12, groups=16, rate=1e-2, members=1, folds=2, seed=3)


@pytest.fixture
def vectors(tmp_path: Path) -> Vectors:
    return Vectors.encode([*CARDS, *WISHES], HashingEncoder(), tmp_path / "vectors", lambda done, total: None)


def providers(fold: int) -> Iterator[str]:
    return (name for name in (f"p{i}" for i in range(1000)) if _fold(name, PARAMS) == fold)


def write(folder: Path, vectors: Vectors, split: str, provider: str, count: int, contrary: bool, seed: int) -> None:
    """Groups whose answer is the candidate of the wish's own number; a `contrary` provider's is never that one."""
    rng = np.random.default_rng(seed)
    cards, wishes = vectors.places(CARDS), vectors.places(WISHES)
    groups = []
    for i in range(count):
        chosen = rng.permutation(len(CARDS))[:N]
        meant = int(rng.integers(N))
        answer = (meant + 1) % N if contrary else meant
        groups.append(
            dataset.Group(
                qid=dataset.qid_of(f"{provider} {i}"),
                spec=provider,
                provider=provider,
                split=split,
                head="prompt_only",
                operations=N,
                answer=answer,
                x=rng.normal(size=(N, len(FEATURES))).astype(np.float32),
                y=(np.arange(N) == answer).astype(np.int32),
                weight=12.0,
                texts=(wishes[chosen[meant]], -1, -1, -1, *(cards[c] for c in chosen)),
            )
        )
    dataset.write_part(groups, folder, provider)


def right(folder: Path, split: str) -> float:
    """In how many groups the column is highest at the answer."""
    groups = dataset.read(folder, split, "prompt_only")
    found = [int(m[:, COLUMN["network"]].argmax()) == a for m, a in zip(groups.matrices(), groups.answers, strict=True)]
    return float(np.mean(found))


def test_what_only_the_vectors_tell_is_learnt_and_each_provider_is_judged_by_others(
    tmp_path: Path, vectors: Vectors
) -> None:
    folder, out = tmp_path / "groups", tmp_path / "network.safetensors"
    honest, contrary = next(providers(0)), next(providers(1))
    write(folder, vectors, "train", honest, 600, False, 0)
    write(folder, vectors, "train", contrary, 60, True, 1)
    write(folder, vectors, "test", "elsewhere", 200, False, 2)
    add_network(folder, vectors, "hash-bfloat16", PARAMS, out)
    assert right(folder, "test") > 0.7, "most of what was fitted on tells it"
    assert network.load(out).reads("hash-float32")
    train = dataset.read(folder, "train", "prompt_only")
    theirs = np.array(train.providers) == contrary
    found = np.array([int(m[:, COLUMN["network"]].argmax()) for m in train.matrices()])
    assert (found == train.answers)[theirs].mean() < 0.1, "judged by who saw honest providers only"
    assert (found == train.answers)[~theirs].mean() < 0.5, "judged by who saw the contrary one only"


def test_serving_scores_as_training_does(tmp_path: Path, vectors: Vectors) -> None:
    from train import network as fitting

    folder = tmp_path / "groups"
    write(folder, vectors, "train", "p", 40, False, 0)
    [file] = (folder / "train").rglob("part-*.parquet")
    read = [fitting._read(file)]
    center, scale = fitting._spread(read)
    dims = HashingEncoder().encode(["x"]).shape[1]
    net = fitting._Net(dataclasses.replace(PARAMS, dropout=0.0), dims, torch.Generator().manual_seed(0))
    judge = network.Network("hash", center, scale, (net.member(),))
    batch = fitting._batch(read, [(0, i) for i in range(5)], center, scale, vectors)
    raw = net(*batch[:4]).detach().numpy()
    for i in range(5):
        rows = read[0].rows(i)
        cards = vectors.at(read[0].cards[rows])
        logs = judge.log_shares(read[0].columns[rows], cards, vectors.at(read[0].prompts[i]), cards[:0])
        expected = raw[i] - raw[i].max()
        np.testing.assert_allclose(logs, expected - np.log(np.exp(expected).sum()), atol=1e-4)


def test_groups_of_catalogs_without_vectors_keep_the_column_empty(tmp_path: Path, vectors: Vectors) -> None:
    folder = tmp_path / "groups"
    write(folder, vectors, "train", "p", 20, False, 0)
    write(folder, vectors, "train", "q", 20, False, 1)
    bare = dataset.Group(1, "s", "s", "test", "prompt_only", N, 0, np.zeros((N, len(FEATURES)), np.float32),
                         np.eye(1, N, dtype=np.int32)[0])  # fmt: skip
    dataset.write_part([bare], folder, "bare")
    add_network(folder, vectors, "hash-bfloat16", dataclasses.replace(PARAMS, epochs=1), tmp_path / "n.safetensors")
    [matrix] = dataset.read(folder, "test", "prompt_only").matrices()
    assert np.isnan(matrix[:, COLUMN["network"]]).all()
    assert (matrix[:, : COLUMN["network"]] == 0).all(), "the other columns are as they were"


def test_networks_fitted_side_by_side_are_those_fitted_one_by_one(tmp_path: Path, vectors: Vectors) -> None:
    folder = tmp_path / "groups"
    for provider in ("p", "q", "r"):
        write(folder, vectors, "train", provider, 40, False, 0)
    params = dataclasses.replace(PARAMS, epochs=2, dropout=0.3, members=2)
    made = []
    for workers in (1, 3):
        add_network(folder, vectors, "hash-bfloat16", params, tmp_path / f"{workers}.safetensors", workers)
        made.append((network.load(tmp_path / f"{workers}.safetensors"), dataset.read(folder, "train", "prompt_only")))
    (alone, one), (beside, three) = made
    for a, b in zip(alone.members, beside.members, strict=True):
        for mine, theirs in zip(dataclasses.astuple(a), dataclasses.astuple(b), strict=True):
            np.testing.assert_array_equal(mine, theirs)
    assert not np.array_equal(alone.members[0].card, alone.members[1].card), "chance differs from member to member"
    for before, after in zip(one.matrices(), three.matrices(), strict=True):
        np.testing.assert_array_equal(before, after)
