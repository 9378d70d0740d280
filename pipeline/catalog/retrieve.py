"""The shortlist of a query, and the raw evidence for each operation on it.

Sources propose operations (the prompt's words, its meaning, neighbours of the last calls, producers of what
the goal still needs, habit) and a reciprocal-rank union orders them (G. Cormack et al., "Reciprocal Rank
Fusion", 2009). A small catalog is offered whole. What the evidence is worth is decided in `ranking/`.
Called by `pipeline.predict.prepare`, for every query.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np

from pipeline.catalog import session as sessions
from pipeline.catalog.goals import Goals, find_goals
from pipeline.catalog.kept import Kept
from pipeline.catalog.mentions import Told, mentions, told
from pipeline.catalog.relations import PAIRS, Relations
from pipeline.catalog.session import Session
from pipeline.catalog.wish import Wish, products, read_wish
from pipeline.catalog.words import Words
from pipeline.settings import Shortlist
from pipeline.types import Catalog, Match, Query

_RRF = 10.0  # ranks are damped by this; 60 is usual for long lists, ours are short and their heads matter
_PRODUCERS = 0.5  # producers stand beside what the prompt names, not above it
_RECENT = 3  # last calls, whose neighbours are offered and whose cards are handed on
_DECAY = 0.8  # of what an older call says, per call

# What makes an operation a neighbour: a hand-set sum over a row of Relations, and likeness of names.
_NEIGHBOUR = {
    "overlap": 0.35, "same_path": 0.3, "child": 0.3, "direct_child": 0.3, "sibling": 0.2, "parent": 0.1,
    "same_last": 0.2, "literals": 0.5, "same_tag": 0.5, "same_resource": 0.5, "supplied": 0.8, "instance": 0.5,
    "order": 0.6,
}  # fmt: skip
_NEIGHBOUR_WEIGHTS = np.array([_NEIGHBOUR.get(name, 0.0) for name in PAIRS], dtype=np.float32)
_LIKE_NAMED = 0.5
_LIKE_MEANT = 1.5  # centred cosine of the cards
# Of operations alike near: those much of the API lies below, reads, and those that could be called now.
_HUB, _READ, _UNBOUND = 0.6, 0.3, -0.1


class Compiled(Protocol):
    """What of a compiled catalog is read here (`library.Compiled`)."""

    @property
    def catalog(self) -> Catalog: ...
    @property
    def relations(self) -> Relations: ...
    @property
    def words(self) -> Words: ...
    @property
    def vectors(self) -> np.ndarray | None: ...
    @property
    def encoder(self) -> str: ...
    @property
    def near(self) -> Kept: ...


@dataclasses.dataclass(frozen=True, slots=True)
class Meaning:
    """The vectors behind a shortlist, float32 of unit length."""

    encoder: str  # whose vectors they are
    cards: np.ndarray  # [n, n_dims]
    prompt: np.ndarray | None  # [n_dims], None without a prompt
    calls: np.ndarray  # [at most _RECENT, n_dims] cards of the last calls, the latest first


@dataclasses.dataclass(frozen=True, slots=True)
class Evidence:
    """Raw evidence for the shortlist, in the union's order; plain arrays, n candidates.

    None stands for what is not known: no prompt, no history, no vectors.
    """

    candidates: np.ndarray  # [n] int32, index into the catalog
    sources: tuple[tuple[str, ...], ...]  # of each candidate: words | meaning | relations | habit

    # The prompt's words, None without a prompt.
    words: np.ndarray | None  # [6, n] BM25 of each field (words.FIELDS), as a share of the catalog's best
    cover: np.ndarray | None  # [2, n] share of the name covered by the prompt, of the prompt covered by the card
    match: np.ndarray | None  # [n] all fields and meaning together, as a share of the catalog's best
    match_rank: np.ndarray | None  # [n] reciprocal rank of `match` in the catalog
    match_gap: np.ndarray | None  # [n] `match` less the best of the others
    residue: np.ndarray | None  # [n] the same match of what no past call explains
    named: np.ndarray | None  # [n] it is about the kind of thing that the prompt names
    named_gap: np.ndarray | None  # [n] the same of what takes a search text, less the best of the others
    own: np.ndarray | None  # [n] it reads the caller's own of a kind that the prompt says is his
    verbs: np.ndarray | None  # [5] does the prompt use a word of each class (relations.VERBS)
    first_verb: int  # class of the first verb that the prompt asks for, -1 without one
    acted: np.ndarray | None  # [n] it is called by a verb that the prompt asks for
    typed: np.ndarray | None  # [5] is there a value of each kind (typed.TYPED) in the prompt
    told_ready: np.ndarray | None  # [n] how surely session or prompt have what it needs; 1 if it needs nothing
    told_unmet: np.ndarray | None  # [n] needs that neither has, less the prompt's loose identifiers
    told_used: np.ndarray | None  # [n] share of the entities identified by the prompt that it needs
    goal_called: float  # the best match among the recent calls
    last_match: float  # the match of the last call
    values_left: float  # share of the prompt's values that no call carries
    flags: np.ndarray | None  # [3] the prompt has a proper noun or a quote; an identifier; asks for many

    # Its meaning, None without vectors of both.
    cosine: np.ndarray | None  # [n] of prompt and card
    cosine_range: tuple[float, float]  # median and best over the catalog
    residual_cosine: np.ndarray | None  # [n] with what the last calls mean taken out of the prompt
    meaning: Meaning | None  # the vectors themselves; None where one that there could be is missing

    # What the prompt's goals ask for, None without a prompt.
    producer: np.ndarray | None  # [n] supplies what a goal still needs
    producer_2: np.ndarray | None  # [n] supplies what such a producer still needs
    goal_parent: np.ndarray | None  # [n] its path leads to a goal

    # The session. `history` is empty without a matched call, and what follows it is then None.
    history: np.ndarray  # [n_calls] int32, oldest first; -1 for a call that is no operation of the catalog
    values: np.ndarray  # [n_calls] int64, equal for calls with equal arguments
    history_class: np.ndarray  # [n_calls] int8, class of each call's operation as in `kind`, -1 unmatched
    recent: np.ndarray  # [h] int32, distinct operations of the last calls, newest first
    ages: np.ndarray  # [h] int32, how many calls ago
    pairs: np.ndarray | None  # [h, len(PAIRS), n] rows of Relations
    like_named: np.ndarray | None  # [h, n] share of the candidate's name covered by the recent one's
    recent_cosine: np.ndarray | None  # [h, n] centred; None without vectors
    overlap_rank: np.ndarray | None  # [n] reciprocal rank of path overlap with the last call, in the catalog
    ready: np.ndarray  # [n] how surely the session has what the candidate needs; 1 if it needs nothing
    unbound: np.ndarray  # [n] needs it has not
    used: np.ndarray  # [n] share of its needs that a call took as an argument
    lacking: np.ndarray  # [n] best grade at which it supplies what the session has not
    having: np.ndarray  # [n] the same of what the session has
    newly: np.ndarray  # [n] bool: some need was met by the last call only
    searched: bool  # one of the recent operations took a search text

    # The operations themselves.
    kind: np.ndarray  # [n] int8: 2 x verb class (relations.VERBS) + works on one thing
    depth: np.ndarray  # [n] path segments
    needs: np.ndarray  # [n] identifiers it requires
    given: np.ndarray  # [n] other arguments it requires
    free: np.ndarray  # [n] takes a search text: 1 required, .5 optional
    demands: np.ndarray  # [5, n] bool: requires a field of each kind (typed.TYPED)
    deprecated: np.ndarray  # [n] bool
    hub: np.ndarray  # [n] how much of the API lies below its path, 0..1
    demand: np.ndarray  # [n] how much of the API needs what it supplies, 0..1
    document_order: np.ndarray  # [n] place in the document, 0..1

    def leading(self, order: np.ndarray, most: int) -> np.ndarray:
        """The first `most` rows of `order`, and behind them what habit proposed; [at most n]."""
        by_habit = np.array(["habit" in named for named in self.sources], dtype=bool)
        return order[(np.arange(len(order)) < most) | by_habit[order]]


def gather(
    compiled: Compiled,
    query: Query,
    matches: Sequence[Match | None],
    prompt_vector: np.ndarray | None,
    habit: Mapping[str, float],
    limits: Shortlist,
) -> Evidence:
    """The shortlist with its evidence: at most `limits.total` operations, all of them where there are no more.

    `matches` has one entry per call of the query; `prompt_vector` is float32 [n_dims] of unit length.
    """
    relations, words = compiled.relations, compiled.words
    session = sessions.read(relations, words, query.calls, matches)
    vectors = compiled.vectors
    wish = read_wish(query.prompt, relations, words, session, vectors, prompt_vector) if query.prompt.strip() else None
    given = told(query.prompt, relations.entities) if wish else None
    goals = None
    if wish is not None and given is not None:
        goals = find_goals(relations, session, wish, np.maximum(session.state, given.state))
    near = _neighbours(compiled, session)

    chosen, sources = _union(compiled, wish, goals, near, session, habit, limits)
    meaning = _meaning(compiled, session, prompt_vector, chosen) if wish is None or prompt_vector is not None else None
    left = _values_left(query)
    return _evidence(relations, words, vectors, session, wish, given, goals, chosen, sources, left, meaning)


def _meaning(
    compiled: Compiled, session: Session, prompt_vector: np.ndarray | None, chosen: np.ndarray
) -> Meaning | None:
    if compiled.vectors is None:
        return None
    calls = session.history[session.history >= 0][::-1][:_RECENT]
    return Meaning(compiled.encoder, compiled.vectors[chosen], prompt_vector, compiled.vectors[calls])


def _neighbours(compiled: Compiled, session: Session) -> np.ndarray | None:
    """How near each operation is to the last calls; float32 [n_operations], None without any."""
    best: np.ndarray | None = None
    last = [
        (operation, age)
        for operation, age in zip(session.recent.tolist(), session.ages.tolist(), strict=True)
        if age < _RECENT
    ] or [(h, a) for h, a in zip(session.recent[:1].tolist(), session.ages[:1].tolist(), strict=True)]
    if not last:
        return None
    for operation, age in last:
        near = compiled.near.get(operation, functools.partial(_near, compiled)) * np.float32(_DECAY**age)
        best = near if best is None else np.maximum(best, near)
    assert best is not None
    relations = compiled.relations
    return best + _HUB * relations.hub + _READ * (relations.verb == 0) + _UNBOUND * relations.ready(session.state)[1]


def _near(compiled: Compiled, operation: int) -> np.ndarray:
    """How near each operation is to `operation`: by structure, by name, by meaning; float32 [n_operations]."""
    relations = compiled.relations
    pairs = relations.pairs(np.array([operation]), np.arange(relations.size))[0]
    near = np.einsum("p,pn->n", _NEIGHBOUR_WEIGHTS, pairs)
    near += _LIKE_NAMED * compiled.words.similar(operation)
    if compiled.vectors is not None:
        near += _LIKE_MEANT * _centred(compiled.vectors, [operation], None)[0]
    return near


def _union(
    compiled: Compiled,
    wish: Wish | None,
    goals: Goals | None,
    near: np.ndarray | None,
    session: Session,
    habit: Mapping[str, float],
    limits: Shortlist,
) -> tuple[np.ndarray, tuple[tuple[str, ...], ...]]:
    """Indices of the shortlist, best first, and who proposed each."""
    n = compiled.relations.size
    lists: list[tuple[str, float, np.ndarray]] = []
    if wish is not None:
        lists.append(("words", 1.0, _top(wish.words_match, limits.words)))
        if wish.cosine is not None:
            lists.append(("meaning", 1.0, _top(wish.cosine - wish.cosine.min(), limits.meaning)))
    if near is not None:
        lists.append(("relations", 1.0, _top(near, limits.neighbours)))
    if goals is not None:
        lists.append(("relations", _PRODUCERS, _top(np.maximum(goals.producer, goals.producer_2), limits.producers)))
    if habit:
        index = compiled.relations.index
        known = sorted((-value, index[key]) for key, value in habit.items() if key in index and value > 0)
        lists.append(("habit", 1.0, np.array([i for _, i in known[: limits.habit]], dtype=np.int64)))

    total = np.zeros(n, dtype=np.float64)
    named: dict[int, dict[str, None]] = {}
    for source, weight, ranked in lists:
        total[ranked] += weight / (_RRF + np.arange(1, len(ranked) + 1))
        for i in ranked.tolist():
            named.setdefault(i, {})[source] = None
    # What no source named comes last: nearer ones first, then as a newcomer would read the document.
    entry = _entry(compiled.relations) if near is None else near
    low = entry - entry.min() if n else entry
    total += 1e-6 * low / max(float(low.max()) if n else 0.0, 1e-9)
    order = np.argsort(-total, kind="stable")[: max(limits.total, 1)]
    return order.astype(np.int32), tuple(tuple(named.get(i, ())) for i in order.tolist())


def _entry(relations: Relations) -> np.ndarray:
    """How likely an operation opens a session: reads that need nothing."""
    reads = (relations.verb == 0).astype(np.float32)
    return reads - 0.5 * relations.entities.need_counts - 0.1 * relations.depth


def _top(score: np.ndarray, most: int) -> np.ndarray:
    """Indices of the `most` best positive scores, best first, ties in document order."""
    if most <= 0:
        return np.zeros(0, dtype=np.int64)
    if most < len(score):
        least = np.partition(score, len(score) - most)[len(score) - most]
        some = np.flatnonzero(score >= max(least, 1e-9))
    else:
        some = np.flatnonzero(score > 1e-9)
    return some[np.argsort(-score[some], kind="stable")][:most]


def reciprocal_rank(score: np.ndarray) -> np.ndarray:
    """1 / rank of each score, equal ones sharing the best rank; float32."""
    ascending = np.sort(score)
    rank = len(score) - np.searchsorted(ascending, score, side="right") + 1
    return (1.0 / rank).astype(np.float32)


def _evidence(
    relations: Relations,
    words: Words,
    vectors: np.ndarray | None,
    session: Session,
    wish: Wish | None,
    given: Told | None,
    goals: Goals | None,
    chosen: np.ndarray,
    sources: tuple[tuple[str, ...], ...],
    values_left: float,
    meaning: Meaning | None,
) -> Evidence:
    recent = session.recent.tolist()
    pairs = like_named = recent_cosine = overlap_rank = None
    if recent:
        pairs = relations.pairs(session.recent, chosen, session.asked)
        like_named = np.stack([words.similar(h)[chosen] for h in recent])
        overlap = relations.overlap(recent[0])
        overlap[recent[0]] -= 0.15
        overlap_rank = reciprocal_rank(overlap)[chosen]
        if vectors is not None:
            recent_cosine = _centred(vectors, recent, chosen)
    e = relations.entities
    ready, unbound = relations.ready(session.state)
    lacking, having = relations.fresh(session.state)
    ready_before, _ = relations.ready(session.state_before)
    newly = ready[chosen] > ready_before[chosen] + 0.2
    known = {}
    if wish is not None and given is not None:
        told_ready, told_unbound = relations.ready(np.maximum(session.state, given.state))
        known = {
            "told_ready": told_ready[chosen],
            "told_unmet": np.maximum(told_unbound - given.loose, 0.0)[chosen],
            "told_used": relations.taking(given.state)[chosen],
            "goal_called": float(wish.match[session.recent].max(initial=0.0)),
            "last_match": float(wish.match[session.recent[0]]) if recent else 0.0,
            "values_left": values_left,
            "words": wish.words[:6, chosen],
            "cover": wish.words[6:, chosen],
            "match": wish.match[chosen],
            "match_rank": reciprocal_rank(wish.match)[chosen],
            "match_gap": _gap(wish.match)[chosen],
            "residue": wish.residue[chosen],
            "named": wish.named[chosen],
            "named_gap": _gap(wish.named * (relations.free > 0))[chosen],
            "own": wish.own[chosen],
            "verbs": wish.verbs,
            "first_verb": wish.first_verb,
            "acted": wish.acted[chosen],
            "typed": wish.typed,
            "flags": wish.flags,
            "cosine": None if wish.cosine is None else wish.cosine[chosen],
            "cosine_range": wish.cosine_range,
            "residual_cosine": None if wish.residual_cosine is None else wish.residual_cosine[chosen],
        }
    return Evidence(
        candidates=chosen,
        sources=sources,
        **{**_NO_WISH, **known},  # type: ignore[arg-type]
        producer=None if goals is None else goals.producer[chosen],
        producer_2=None if goals is None else goals.producer_2[chosen],
        goal_parent=None if goals is None else goals.parent[chosen],
        meaning=meaning,
        history=session.history,
        values=session.values,
        history_class=session.classes,
        recent=session.recent,
        ages=session.ages,
        pairs=pairs,
        like_named=like_named,
        recent_cosine=recent_cosine,
        overlap_rank=overlap_rank,
        ready=ready[chosen],
        unbound=unbound[chosen],
        used=relations.used(session.state)[chosen],
        lacking=lacking[chosen],
        having=having[chosen],
        newly=newly,
        searched=session.searched,
        kind=(2 * relations.verb + relations.item)[chosen].astype(np.int8),
        depth=relations.depth[chosen],
        needs=e.need_counts[chosen],
        given=relations.given[chosen],
        free=relations.free[chosen],
        demands=relations.typed[chosen].T,
        deprecated=relations.deprecated[chosen],
        hub=relations.hub[chosen],
        demand=relations.demand[chosen],
        document_order=(chosen / max(relations.size - 1, 1)).astype(np.float32),
    )


_NO_WISH = {
    "words": None, "cover": None, "match": None, "match_rank": None, "match_gap": None, "residue": None, "named": None,
    "named_gap": None, "own": None, "verbs": None, "first_verb": -1, "acted": None, "typed": None, "flags": None,
    "cosine": None,
    "cosine_range": (0.0, 1.0), "residual_cosine": None, "told_ready": None, "told_unmet": None, "told_used": None,
    "goal_called": 0.0,
    "last_match": 0.0, "values_left": 0.0,
}  # fmt: skip


def _values_left(query: Query) -> float:
    """Share of the values named in the prompt that no call carries yet."""
    values = {m.value for m in mentions(query.prompt)} if query.prompt else set()
    if not values or not query.calls:
        return float(bool(values))
    carried = "\0".join(f"{call.path}\0{call.params}" for call in query.calls[-20:])
    return sum(value not in carried for value in values) / len(values)


def _gap(match: np.ndarray) -> np.ndarray:
    """Each match less the best of the others."""
    if len(match) < 2:
        return np.zeros_like(match)
    first = int(match.argmax())
    best, others = float(match[first]), match.copy()
    others[first] = -np.inf
    gap = match - np.float32(best)
    gap[first] = best - float(others.max())
    return gap


def _centred(vectors: np.ndarray, recent: list[int], chosen: np.ndarray | None) -> np.ndarray:
    """Cosines of recent operations and candidates (None: all) after the catalog's common direction is taken out.

    Float32 [h, n]. The vectors have unit length, so one pass over them gives the dot products and the lengths.
    """
    step = max(1, len(vectors) // 256)
    mean = vectors[::step].mean(axis=0, dtype=np.float32)
    theirs = vectors[recent].astype(np.float32) - mean
    theirs /= np.maximum(np.linalg.norm(theirs, axis=1, keepdims=True), 1e-6)
    dots = products(np.vstack([theirs, mean[None]]), vectors if chosen is None else vectors[chosen])
    lengths = np.sqrt(np.maximum(1.0 - 2.0 * dots[-1] + float(mean @ mean), 1e-6))
    return ((dots[:-1] - (theirs @ mean)[:, None]) / lengths).astype(np.float32)
