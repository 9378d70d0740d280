"""Feature matrices, in two pure halves.

`ground_block` turns the raw evidence of a shortlist into the columns that depend on the catalog;
`compute` adds the generator's and fixes the order of FEATURES. The same input gives the same bytes, served or
trained. Which columns there are is said in `table.py`, how they are weighed is the rankers'. Called by
`pipeline/predict.py` only; the table and the hand-set order are handed on for everyone else.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from pipeline.ranking import network
from pipeline.ranking.lifecycle import LIFECYCLE
from pipeline.ranking.prior import hand_score
from pipeline.ranking.table import COLUMN, DECAYED, FEATURES, FINGERPRINT, GROUND_NAMES, HEADS, NAMES, PAIRS, Head
from pipeline.types import GroundedQuery, Proposal, Query

__all__ = [
    "FEATURES",
    "FINGERPRINT",
    "GROUND_NAMES",
    "HEADS",
    "NAMES",
    "compute",
    "ground_block",
    "hand_score",
    "head",
    "prior_order",
]

_N_GROUND = len(GROUND_NAMES)
_WRITES = np.array([False, True, True, True, True])
_DECAY = 0.8  # of what an older call says, per call
_DECAYED_ROWS = np.array([PAIRS.index(name) for name in DECAYED])
_DAMPING = 11.0  # of ranks when two orders are joined, as in the union of the sources
_OVERLAP_SCALE = 0.125  # overlap counts segments; a path of eight is long


def head(query: Query) -> Head:
    """Which of the ranker's heads a query is for."""
    if not query.prompt.strip():
        return "history_only"
    return "prompt_history" if query.calls else "prompt_only"


def ground_block(evidence: Any, without: np.ndarray | None = None) -> np.ndarray:
    """The columns that depend on the catalog, from `catalog.retrieve.Evidence`.

    Returns float32 [n_candidates, len(GROUND_NAMES)], columns in the order of GROUND_NAMES; NaN where the
    table says `missing_without`, and in the columns `without`, bool [len(GROUND_NAMES)].
    """
    n = len(evidence.candidates)
    block = np.full((_N_GROUND, n), np.nan, dtype=np.float32)
    columns = _Columns(block)
    if evidence.match is not None:
        _prompt_columns(columns, evidence)
    if len(evidence.recent):
        _history_columns(columns, evidence)
        _repeat_columns(columns, evidence)
    _prior_columns(columns, evidence)
    if without is not None:
        block[without] = np.nan
    if evidence.meaning is not None and evidence.meaning.encoder:
        _network_column(columns, block, evidence.meaning)
    return np.ascontiguousarray(block.T)


def add_bound(block: np.ndarray, bound: Sequence[tuple[int, ...]], without: np.ndarray | None = None) -> None:
    """Fill the columns that depend on the candidates' arguments, in place; those in `without` stay missing.

    Of the candidate in each row `bound` has how many arguments it requires, how many have no value, how many the
    prompt gave, `anew`, and `caller`.
    """
    required, lacks, told, anew, caller = np.array(bound, dtype=np.float32).reshape(-1, 5).T
    some = np.maximum(required, np.maximum(lacks, 1.0))
    values_of = {
        "filled": 1.0 - lacks / some,
        "unfilled": np.minimum(lacks, 4.0) / 4.0,
        "told": told / some,
        "anew": anew,
        "caller": caller,
    }
    for name, values in values_of.items():
        if without is None or not without[COLUMN[name]]:
            block[:, COLUMN[name]] = values


def prior_order(block: np.ndarray, head: Head) -> np.ndarray:
    """The rows of a block in the shortlist's order, best first for who cuts at its end; int [n_candidates].

    With a prompt the shortlist's order and the hand-set one count by reciprocal rank (TMDB's first calls among 30 .98;
    .88 and 1.0 alone), without one the shortlist's (GitHub .60; the hand-set one .50); the network's, where there is
    one, as much as they do together.
    """
    places = np.arange(len(block))
    orders = [places]
    if head != "history_only":
        matrix = np.full((len(block), len(FEATURES)), np.nan, dtype=np.float32)
        matrix[:, :_N_GROUND] = block
        orders.append(_ranks(hand_score(matrix, head)))
    judged = block[:, COLUMN["network"]]
    if not np.isnan(judged).any():
        orders += [_ranks(judged)] * len(orders)
    return np.argsort(-sum(1.0 / (_DAMPING + order) for order in orders), kind="stable")


def _ranks(scores: np.ndarray) -> np.ndarray:
    """The place of each row, 0 the best; ties as they stand."""
    ranks = np.empty(len(scores), dtype=np.int64)
    ranks[np.argsort(-scores, kind="stable")] = np.arange(len(scores))
    return ranks


def compute(grounded: GroundedQuery, query: Query, proposal: Proposal | None) -> np.ndarray:
    """All columns of FEATURES for each candidate, in that order.

    Returns float32 [n_candidates, len(FEATURES)]; the generator's columns are NaN without a proposal.
    """
    n = len(grounded.candidates)
    matrix = np.full((n, len(FEATURES)), np.nan, dtype=np.float32)
    matrix[:, :_N_GROUND] = grounded.block
    if proposal is not None:
        matrix[:, _N_GROUND:] = 0.0
        picked = [index for index, _, _ in proposal.picks if 0 <= index < n]
        for place, index in enumerate(picked):
            row = matrix[index, _N_GROUND:]
            row[0] = max(row[0], 1.0 / (place + 1))
            row[2] += proposal.weights[place] if proposal.weights else 1.0 / len(picked)
        if picked and proposal.weights:
            matrix[picked[0], _N_GROUND + 1] = proposal.weights[0] - sum(proposal.weights[1:2])
        elif picked:
            second = next((place for place, index in enumerate(picked) if index != picked[0]), None)
            matrix[picked[0], _N_GROUND + 1] = 1.0 if second is None else 1.0 - 1.0 / (second + 1)
    return matrix


def _network_column(columns: _Columns, block: np.ndarray, meaning: Any) -> None:
    judge = network.packaged()
    if judge.reads(meaning.encoder):
        with np.errstate(over="ignore"):  # rounded as rankers get it, in training too
            before = block[: network.N_COLUMNS].T.astype(np.float16).astype(np.float32)
        columns["network"] = judge.log_shares(before, meaning.cards, meaning.prompt, meaning.calls)


class _Columns:
    """Writes a column by its name."""

    def __init__(self, block: np.ndarray) -> None:
        self._block = block

    def __setitem__(self, name: str, value: Any) -> None:
        self._block[COLUMN[name]] = value

    def __getitem__(self, name: str) -> np.ndarray:
        return self._block[COLUMN[name]]

    def run(self, first: str, values: np.ndarray) -> None:
        """Writes neighbouring columns, one per row of `values`."""
        start = COLUMN[first]
        self._block[start : start + len(values)] = values


def _prompt_columns(columns: _Columns, e: Any) -> None:
    verb = e.kind >> 1
    columns.run("words_name", e.words)
    columns.run("cover_name", e.cover)
    columns["match"] = e.match
    columns["match_rank"] = e.match_rank
    columns["match_gap"] = e.match_gap
    columns["residue"] = e.residue
    if e.cosine is not None:
        median, best = e.cosine_range
        scale = max(best - median, 1e-6)
        columns["cosine"] = (e.cosine - median) / scale
        columns["cosine_gap"] = e.cosine - best
        columns["residual_cosine"] = e.residual_cosine
    said = e.verbs[verb]
    columns["verb_agrees"] = said
    columns["verb_first"] = verb == e.first_verb
    columns["verb_word"] = e.acted
    columns["verb_contradicts"] = _WRITES[verb] & ~said
    columns["read_unasked"] = (verb == 0) & bool(e.verbs.any() and not e.verbs[0])
    named, identified, many = e.flags.tolist()
    columns["many_collection"] = (e.kind == 0) if many else 0.0
    columns["goal_producer"] = e.producer
    columns["goal_producer_2"] = e.producer_2
    columns["goal_parent"] = e.goal_parent
    blocked = e.unbound > 0
    columns["goal_ready"] = e.match * e.ready * np.where(blocked, 0.5, 1.0)
    columns["goal_blocked"] = np.where(blocked, e.match, 0.0)
    columns["free_text"] = e.free * ((0.3 if e.searched else 1.0) if named else 0.0)
    columns["named_kind"] = e.named * (e.free > 0) * (0.3 if e.searched else 1.0)
    columns["named_gap"] = e.named_gap * (0.3 if e.searched else 1.0)
    columns["own_kind"] = e.own
    columns["typed_fields"] = (2.0 * e.typed - 1.0) @ e.demands
    columns["told_ready"] = e.told_ready
    columns["told_unmet"] = np.minimum(e.told_unmet, 4) / 4.0
    columns["told_used"] = e.told_used
    columns["told_goal"] = e.match * e.told_ready * np.where(e.told_unmet > 0, 0.5, 1.0)
    columns["identifier_unready"] = np.where(e.needs > 0, 1.0 - e.ready, 0.0) if identified else 0.0


def _history_columns(columns: _Columns, e: Any) -> None:
    decay = (_DECAY**e.ages).astype(np.float32)  # [h]
    pairs = e.pairs  # [h, len(PAIRS), n]
    columns.run("last_prefix", pairs[0])
    columns["last_overlap"] = pairs[0, PAIRS.index("overlap")] * _OVERLAP_SCALE
    columns["last_overlap_rank"] = e.overlap_rank
    columns["last_named"] = e.like_named[0]
    best = (pairs * decay[:, None, None]).max(axis=0)
    columns.run("past_prefix", best[_DECAYED_ROWS])
    columns["past_overlap"] = best[PAIRS.index("overlap")] * _OVERLAP_SCALE
    columns["past_named"] = (e.like_named * decay[:, None]).max(axis=0)
    likeness = e.like_named
    if e.recent_cosine is not None:
        columns["last_cosine"] = e.recent_cosine[0]
        columns["past_cosine"] = (e.recent_cosine * decay[:, None]).max(axis=0)
        likeness = e.recent_cosine
    if e.match is not None:
        columns["novel"] = e.match - 0.5 * likeness.max(axis=0)
        columns["goal_called"] = e.goal_called
        columns["last_match"] = e.last_match
        again = np.isin(e.candidates, e.history) | (e.free > 0)
        columns["values_left"] = np.where(again, e.values_left, 0.0)
    classes = np.array([e.history_class[np.flatnonzero(e.history == h)[0]] for h in e.recent.tolist()])
    usual = LIFECYCLE[classes][:, e.kind] * pairs[:, PAIRS.index("same_resource")]
    columns["last_lifecycle"] = usual[0]
    columns["past_lifecycle"] = (usual * decay[:, None]).max(axis=0)
    columns["newly"] = e.newly
    columns["used"] = e.used
    columns["unused_write"] = np.where((e.needs > 0) & (e.kind >= 2), 1.0 - e.used, 0.0)
    columns.run(
        "after_read", (np.arange(5) == classes[0] >> 1)[:, None].astype(np.float32) * np.ones(len(e.candidates))
    )
    writes = e.history_class[e.history >= 0] >= 2
    columns["past_writes"] = float(writes.mean())
    columns["after_item"] = float(classes[0] & 1)


def _repeat_columns(columns: _Columns, e: Any) -> None:
    calls = e.history[e.history >= 0]
    values = e.values[e.history >= 0]
    last, steps = int(calls[-1]), len(calls)
    is_last = e.candidates == last
    called = calls[:, None] == e.candidates[None, :]  # [steps, n]
    count = called.sum(axis=0)
    run = 1
    while run < min(steps, 3) and calls[-1 - run] == last:
        run += 1
    columns["is_last"] = is_last
    columns["run"] = is_last * (run / 3.0)
    repeats = int((calls[1:] == calls[:-1]).sum())
    columns["repeat_habit"] = is_last * ((repeats + 0.2) / steps)
    columns["count"] = np.minimum(count, 4) / 4.0
    ago = np.where(count > 0, 1 + called[::-1].argmax(axis=0), np.inf)
    columns["recency"] = 1.0 / ago
    varied: dict[int, set[int]] = {}
    for operation, value in zip(calls.tolist(), values.tolist(), strict=True):
        varied.setdefault(operation, set()).add(value)
    columns["other_values"] = np.isin(e.candidates, [op for op, seen in varied.items() if len(seen) > 1])
    followers = calls[1:][calls[:-1] == last]
    columns["followed"] = (followers[:, None] == e.candidates).mean(axis=0) if len(followers) else 0.0


def _prior_columns(columns: _Columns, e: Any) -> None:
    columns["ready"] = e.ready
    columns["lacking"] = e.lacking
    columns["having"] = e.having
    columns["unbound"] = np.minimum(e.unbound, 4) / 4.0
    columns.run("is_read", np.arange(5)[:, None] == (e.kind >> 1))
    columns["item"] = e.kind & 1
    columns["depth"] = np.minimum(e.depth, 8) / 8.0
    columns["needs"] = np.minimum(e.needs, 4) / 4.0
    columns["given"] = np.minimum(e.given, 4) / 4.0
    columns["free"] = e.free
    columns["deprecated"] = e.deprecated
    columns["hub"] = e.hub
    columns["demand"] = e.demand
    columns["document_order"] = e.document_order
