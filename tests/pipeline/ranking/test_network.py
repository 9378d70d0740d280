"""The network: what it says of a shortlist, and which file it takes for one."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from pipeline.catalog.retrieve import Meaning
from pipeline.errors import RankerArtifactError
from pipeline.ranking import features, network
from pipeline.ranking.network import CALLS, N_COLUMNS, Member, Network
from pipeline.ranking.propositions import NEEDS_OPERATION
from pipeline.ranking.table import COLUMN, GROUND_NAMES
from tests.pipeline.ranking.test_features import evidence_of

DIMS, RANK, HIDDEN = 6, 4, 5


def made(seed: int = 0, members: int = 2) -> Network:
    rng = np.random.default_rng(seed)

    def weights(*shape: int) -> np.ndarray:
        return rng.normal(size=shape).astype(np.float32)

    return Network(
        "words-1",
        weights(N_COLUMNS),
        np.abs(weights(N_COLUMNS)) + 0.5,
        tuple(
            Member(
                weights(DIMS, RANK),
                weights(DIMS, RANK),
                weights(CALLS, DIMS, RANK),
                weights((2 + CALLS) * RANK + N_COLUMNS, HIDDEN),
                weights(HIDDEN),
                weights(HIDDEN),
            )
            for _ in range(members)
        ),
    )


def shortlist(n: int = 7, seed: int = 1) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    shapes = ((n, N_COLUMNS), (n, DIMS), (DIMS,), (CALLS, DIMS))
    block, cards, prompt, calls = (rng.normal(size=shape).astype(np.float32) for shape in shapes)
    return block, cards, prompt, calls


def test_members_give_the_geometric_mean_of_their_probabilities() -> None:
    whole = made()
    alone = [dataclasses.replace(whole, members=(member,)).log_shares(*shortlist()) for member in whole.members]
    for logs in (*alone, whole.log_shares(*shortlist())):
        assert np.exp(logs).sum() == pytest.approx(1.0, abs=1e-5)
    mean = np.exp(np.mean(alone, axis=0))
    np.testing.assert_allclose(np.exp(whole.log_shares(*shortlist())), mean / mean.sum(), rtol=1e-4, atol=1e-12)


def test_the_order_of_the_candidates_does_not_count() -> None:
    block, cards, prompt, calls = shortlist()
    order = np.random.default_rng(2).permutation(len(block))
    one = made().log_shares(block, cards, prompt, calls)
    other = made().log_shares(block[order], cards[order], prompt, calls)
    np.testing.assert_allclose(other, one[order], rtol=1e-4, atol=1e-5)


def test_prompt_calls_and_their_order_count_and_what_is_missing_is_no_number_of_its_own() -> None:
    block, cards, prompt, calls = shortlist()
    logs = made().log_shares(block, cards, prompt, calls)
    for other in (
        made().log_shares(block, cards, None, calls),
        made().log_shares(block, cards, prompt, calls[:0]),
        made().log_shares(block, cards, prompt, calls[::-1]),
    ):
        assert np.isfinite(other).all()
        assert not np.allclose(logs, other)
    holes = block.copy()
    holes[:, ::3] = np.nan
    holes[0, 1], holes[1, 1] = np.inf, -np.inf
    as_mean = np.where(np.isfinite(holes), holes, made().center)
    np.testing.assert_allclose(
        made().log_shares(holes, cards, prompt, calls), made().log_shares(as_mean, cards, prompt, calls), rtol=1e-5
    )


def test_a_file_gives_back_what_was_written(tmp_path: Path) -> None:
    file = tmp_path / "network.safetensors"
    network.save(made(), file)
    again = network.load(file)
    assert again.encoder == "words-1"
    np.testing.assert_allclose(again.log_shares(*shortlist()), made().log_shares(*shortlist()), atol=0.05)


def test_what_is_no_network_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "network.safetensors"
    with pytest.raises(RankerArtifactError, match="cannot be read"):
        network.load(file)
    file.write_bytes(b"something else")
    with pytest.raises(RankerArtifactError, match="cannot be read"):
        network.load(file)
    network.save(made(), file)
    monkeypatch.setattr(network, "GROUND_NAMES", ("other", *network.GROUND_NAMES[1:]))
    with pytest.raises(RankerArtifactError, match="another feature table"):
        network.load(file)


def test_it_reads_one_encoder_whatever_that_computes_in() -> None:
    assert made().reads("words-1-bfloat16")
    assert made().reads("words-1-float32")
    assert not made().reads("words-2-bfloat16")
    assert not made().reads("")


def test_the_column_is_there_for_the_packaged_encoder_only() -> None:
    evidence = evidence_of("get a user", "GET /users")
    judge = network.load(network.PATH)
    rng = np.random.default_rng(3)
    dims = judge.members[0].card.shape[0]
    for encoder, there in ((f"{judge.encoder}-float32", True), ("another-float32", False)):
        vectors = [rng.normal(size=shape).astype(np.float32) for shape in ((6, dims), (dims,), (1, dims))]
        meant = dataclasses.replace(evidence, meaning=Meaning(encoder, *vectors))
        column = features.ground_block(meant)[:, COLUMN["network"]]
        assert np.isfinite(column).all() if there else np.isnan(column).all()
        assert not there or np.exp(column).sum() == pytest.approx(1.0, abs=1e-3)


def test_of_propositions_it_reads_what_holds_of_them() -> None:
    evidence = evidence_of("get a user", "GET /users")
    judge = network.load(network.PATH)
    dims = judge.members[0].card.shape[0]
    same = np.ones((6, dims), dtype=np.float32)
    meant = dataclasses.replace(evidence, meaning=Meaning(f"{judge.encoder}-float32", same, same[0], same[:1]))
    block = features.ground_block(meant, NEEDS_OPERATION)
    assert np.isnan(block[:, NEEDS_OPERATION]).all()
    assert np.isfinite(block[:, COLUMN["network"]]).all()
    changed = dataclasses.replace(meant, kind=np.roll(meant.kind, 1, axis=0))  # another method: no proposition has one
    whole, other = features.ground_block(meant), features.ground_block(changed)
    assert not np.allclose(whole[:, COLUMN["network"]], other[:, COLUMN["network"]])
    np.testing.assert_array_equal(features.ground_block(changed, NEEDS_OPERATION), block)


def test_what_it_puts_first_comes_forward_in_the_shortlist() -> None:
    block = np.full((40, len(GROUND_NAMES)), np.nan, dtype=np.float32)
    assert features.prior_order(block, "history_only").tolist() == list(range(40))
    block[:, COLUMN["network"]] = -5.0
    block[30, COLUMN["network"]] = -0.1
    for head in ("prompt_only", "prompt_history", "history_only"):
        order = features.prior_order(block, head).tolist()
        assert sorted(order) == list(range(40))
        assert order.index(30) < 8
        assert order[0] == 0  # the union's own is not forgotten
