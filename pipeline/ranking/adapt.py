"""What was learnt here since the ranker was trained: its scores, moved by what people then did.

Several experts read the same counts of what followed what and the same prompt memory, and one of them trusts the
ranker alone. Each gives every candidate a probability; they are mixed by how well each foretold the latest choices in
this lineage (S. Vovk's aggregating algorithm, 1990, with the past fading), so that a habit is followed where habits
hold and the ranker where they do not. What a generator said is heeded as far as that foretold them, in the same way,
before any expert reads the ranker. The first place is the mixture's only while it leads: until it has had one more
than the ranker alone, it orders what comes after. While answers have gained nothing by it that could be lost, it must
be much surer besides, and the ranker alone wrong in seven choices of ten. Nothing is fitted and nothing is kept here:
what is known comes from the state's recall, and the losses returned go with the impression, to be kept once it is
known what was chosen.

It acts on scores alone. A ranker whose features hold what is learnt online would count it twice. Called by
`pipeline/predict.py`, and by `train/prequential.py` to draw how it learns.
"""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np

from pipeline.types import Remembered, Scores

Array = np.ndarray[Any, np.dtype[Any]]


class Followed(Protocol):
    """Counts of what followed what, aged: see `stores/counts.py`."""

    def after(self, *context: str) -> Mapping[str, float]: ...

    def total(self, *context: str) -> float: ...


class Known(Protocol):
    """What of the state's recall is read here."""

    @property
    def followed(self) -> Followed: ...  # by everybody of the tenant

    @property
    def own_followed(self) -> Followed: ...  # by this user

    @property
    def prompts(self) -> Sequence[Remembered]: ...  # newest first

    @property
    def own_prompts(self) -> Sequence[Remembered]: ...

    @property
    def losses(self) -> Sequence[bytes]: ...  # of this lineage, newest first: those of what was chosen


class _Unseen:
    def after(self, *context: str) -> Mapping[str, float]:
        return {}

    def total(self, *context: str) -> float:
        return 0.0


class Nothing:
    """What is known where nothing was learnt."""

    followed: Followed = _Unseen()
    own_followed: Followed = _Unseen()
    prompts: Sequence[Remembered] = ()
    own_prompts: Sequence[Remembered] = ()
    losses: Sequence[bytes] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class Adapted:
    """A query group after adaptation."""

    probability: Array  # [n] float32, of being the next call; they sum to at most 1
    scores: Array  # [n] float32, higher is better: the ranker's own where nothing is known, else log-odds
    losses: tuple[bytes, ...]  # for each candidate, what is lost and won should it be chosen; () when nobody knows


class Expert(NamedTuple):
    """How one expert makes its probabilities.

    static: the ranker's. linear: those as imaginary observations below P(op | last), and that below P(op | last two).
    product: the ranker's times what followed the last calls, to a power: high where both are.
    """

    kind: Literal["static", "linear", "product"]
    power: float = 0.0
    memory: bool = False  # with what was chosen for like prompts
    own: bool = False  # with the user's own counts on top


EXPERTS = (
    Expert("static"),
    Expert("linear"),
    Expert("linear", memory=True),
    Expert("linear", memory=True, own=True),
    Expert("product", 0.2),
    Expert("product", 0.45),
    Expert("product", 0.9),
    Expert("product", 0.45, memory=True),
    Expert("product", 0.45, memory=True, own=True),
)
# Trust before anything was tried. A prompt says more than what followed: beside one, counts have to prove themselves.
_PRIOR = np.array([[4, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5], [9, 0.05, 0.05, 0.05, 0.3, 0.2, 0.05, 0.15, 0.15]])

# How far a generator is heeded: not at all, as the ranker does, which may never have met one, or further.
HEED = (0.0, 1.0, 5.0, 12.0)
_HEED_PRIOR = np.array([1.0, 4.0, 1.0, 0.5])

_BACK_OFF, _BACK_OFF_TWO = 4.0, 3.0  # imaginary observations of the simpler distribution: ranking.md, untuned and fine
_DOUBT, _LIKELY = 3.0, 30.0  # imaginary observations of a product, spread over so many operations
_SHARPEN = 1.1  # power of the ranker's probability in a product, fitted on dev suites and written sessions
_LIKE = 2.5  # observations that an equal prompt is worth
_LIKE_POWER = 10.0  # of the same in a product, which takes its logarithm
_LEAST = 1e-4  # probability of what a distribution does not know
_HAIR = 1.001  # by which the first place leads where it is not the mixture's
_TIE = 0.02  # confidences may tie; the raw order then tells, within two per cent

_FADE = 0.97  # of a loss with each later one
_SURPRISE_MAX = 6.9  # -log of a thousandth: nobody is ruined by one event, be it noise
_SURPRISE, _MISS = 0.5, 1.0  # what an expert loses by its surprise at a choice, and by another first place
_STEP = (_SURPRISE * _SURPRISE_MAX + _MISS) / 255.0  # a loss is kept in a byte
_FEW, _SURER = 2.0, 2.0  # where the last call was seen less often than that, the mixture must be so much surer
_SURE = 4.0  # and so much where there is nothing to lose: what its first places gained, and one in so many
_STAKE = 100
_POOR, _CREDIT = 0.3, 1.0  # and only beside a ranker that had less than this of what was chosen, and of so many more
# A row's last byte: the ranker alone had it first, the mixture had; the lead before it; the mixture's was the answer's.
_ALONE, _MIXED, _LEAD, _SHOWN = 1, 2, 4, 128
_LEAD_MAX = 16  # so many first places later a drift of habits has ended it
_OF_EXPERTS, _OF_HEED = slice(1, 1 + len(EXPERTS)), slice(1 + len(EXPERTS), 1 + len(EXPERTS) + len(HEED))
_WIDTH = _OF_HEED.stop + 1  # bytes of a row: whose, what each expert loses, and each way to heed, who had it first
# Rows of others are not read.
_TAG = zlib.crc32(repr((EXPERTS, HEED, _SURPRISE, _MISS, _FEW, _SURER, _SURE, _STAKE)).encode()) & 0xFE


def adapt(
    scores: Scores,
    operations: Sequence[str],
    history: Sequence[str],
    terms: Sequence[int],
    known: Known,
    unheeded: Scores | None = None,
) -> Adapted:
    """Probabilities of the candidates after what was learnt of this lineage and user.

    `operations` are the candidates' keys, `history` those of the last calls' operations, oldest first; `terms` is
    what `catalog/terms.py` makes of the prompt, () without one. Where a generator spoke, `unheeded` is what the ranker
    says without it. Where nothing is known it is the ranker's confidence.
    """
    last = history[-1] if history else ""
    before = (history[-2] if len(history) > 1 else "", last) if history else None
    index = {operation: i for i, operation in enumerate(operations)}
    everybody = _Counts(known.followed, (last,), before, index)
    own = _Counts(known.own_followed, (last,), before, index)
    memory = _alike(known, last, terms, index)
    is_known = bool(everybody.total or own.total or memory.total)
    if not is_known and unheeded is None:
        return unchanged(scores)
    heeding = _heeding(scores, unheeded)
    views = _views(heed(known.losses) @ heeding, everybody, own, memory)
    probability = trust(known.losses, bool(terms)) @ views
    ranks, ahead = _ranks(scores.raw), lead(known.losses, bool(terms))
    alone, mixed = int(ranks.argmax()), int((probability + 1e-9 * ranks).argmax())
    surer = probability[mixed] / max(probability[alone], 1e-9)
    is_sure = everybody.total >= _FEW or surer >= _SURER
    may_dare = surer >= _SURE and record(known.losses) < _POOR
    is_shown = ahead > 0 and is_sure and (may_dare or stake(known.losses) > 0)
    losses = _losses(views, heeding, ranks, bool(terms), alone, mixed if is_sure else alone, ahead, is_shown)
    if not is_known and not known.losses:  # but what comes of it tells whom to heed
        return Adapted(scores.confidence, scores.raw, losses)
    if alone != mixed and not is_shown:  # the first place stays the ranker's, by a hair: both are as likely
        whole = probability.sum()
        probability[alone] = _HAIR * probability[mixed]
        probability *= whole / probability.sum()
    odds = np.clip(probability, 1e-9, 1 - 1e-9)
    return Adapted(probability.astype(np.float32), np.log(odds / (1.0 - odds)).astype(np.float32), losses)


def unchanged(scores: Scores) -> Adapted:
    """The ranker's scores as they are."""
    return Adapted(scores.confidence, scores.raw, ())


def trust(losses: Sequence[bytes], prompted: bool) -> Array:
    """How far each expert is trusted by its latest losses, with or without a prompt; [len(EXPERTS)] float64, sum 1."""
    return _weigh(_PRIOR[int(prompted)], _rows(losses, prompted)[:, _OF_EXPERTS])


def heed(losses: Sequence[bytes]) -> Array:
    """How far each way to heed a generator is trusted by its latest losses; [len(HEED)] float64, sum 1."""
    rows = _rows(losses, True, False)[:, _OF_HEED]
    return _weigh(_HEED_PRIOR, rows[np.ptp(rows, axis=1) > 0])  # where none spoke, all lose the same


def _weigh(prior: Array, lost: Array) -> Array:
    log_weights = np.log(prior) - _STEP * (_FADE ** np.arange(len(lost)) @ lost)
    weights = np.exp(log_weights - log_weights.max())
    return weights / weights.sum()


def lead(losses: Sequence[bytes], prompted: bool) -> int:
    """First places that the mixture has had more than the ranker alone, since it last had none ahead.

    A lead that was lost counts as none and not as arrears (E. S. Page's cumulative sum, 1954): after a drift of
    habits it is won as quickly as at first.
    """
    rows = _rows(losses, prompted)[::-1, -1].tolist()
    ahead = rows[0] % _SHOWN // _LEAD if rows else 0  # what went before the losses that are kept
    for had in rows:
        ahead = min(_LEAD_MAX, max(0, ahead + bool(had & _MIXED) - bool(had & _ALONE)))
    return ahead


def stake(losses: Sequence[bytes]) -> int:
    """First places that may be lost: what answers had more by the mixture's than by the ranker's alone, and one in
    `_STAKE` of what was chosen since."""
    rows = _firsts(losses)
    shown = [had for had in rows if had & _SHOWN]
    return sum(bool(had & _MIXED) - bool(had & _ALONE) for had in shown) + len(rows) // _STAKE


def record(losses: Sequence[bytes]) -> float:
    """Share of what was chosen that the ranker alone had first, `_CREDIT` beside it."""
    rows = _firsts(losses)
    return (sum(bool(had & _ALONE) for had in rows) + _CREDIT) / (len(rows) + _CREDIT)


def _firsts(losses: Sequence[bytes]) -> list[int]:
    """The last bytes of the rows, with a prompt and without."""
    return _rows(losses, True, False)[:, -1].tolist()


def _rows(losses: Sequence[bytes], *prompted: bool) -> Array:
    """What was lost with a prompt, without or both, newest first; [n, _WIDTH] uint8."""
    mine = [row for row in losses if len(row) == _WIDTH and row[0] - _TAG in prompted]
    return np.frombuffer(b"".join(mine), dtype=np.uint8).reshape(len(mine), _WIDTH)


class _Counts:
    """What followed the last call, and the last two, of the candidates of one query."""

    def __init__(
        self, followed: Followed, last: tuple[str], before: tuple[str, str] | None, index: Mapping[str, int]
    ) -> None:
        self._one = _column(followed.after(*last), index)
        self.total = followed.total(*last)
        self._two = _column(followed.after(*before), index) if before else None
        self._total_two = followed.total(*before) if before else 0.0

    def over(self, prior: Array) -> Array:
        """P(op | last two), which backs off to P(op | last), which backs off to `prior`; [n]."""
        p = (self._one + _BACK_OFF * prior) / (self.total + _BACK_OFF)
        if self._two is not None and self._total_two:
            p = (self._two + _BACK_OFF_TWO * p) / (self._total_two + _BACK_OFF_TWO)
        return p

    def tilt(self) -> Array:
        """Logarithm of how much likelier than others what was seen makes each; [n], all equal when nothing was."""
        one = (self._one + _DOUBT / _LIKELY) / (self.total + _DOUBT)
        if self._two is None or not self._total_two:
            return np.log(one)
        return np.log((self._two + _DOUBT * one) / (self._total_two + _DOUBT))


@dataclasses.dataclass(frozen=True, slots=True)
class _Memory:
    """What was chosen for prompts like this one after the same call."""

    likeness: Array  # [n]
    total: float  # also of what is no candidate


def _views(static: Array, everybody: _Counts, own: _Counts, memory: _Memory) -> Array:
    """What each expert makes of it; [len(EXPERTS), n] float64."""
    linear = everybody.over(static)
    tilt, own_tilt = everybody.tilt(), own.tilt()
    like = np.log1p(_LIKE_POWER * memory.likeness)
    sharp = _SHARPEN * np.log(np.maximum(static, _LEAST))
    views = np.empty((len(EXPERTS), len(static)))
    for row, expert in enumerate(EXPERTS):
        if expert.kind == "static":
            views[row] = static
        elif expert.kind == "linear":
            view = linear
            if expert.memory and memory.total:
                view = (_LIKE * memory.likeness + view) / (_LIKE * memory.total + 1.0)
            views[row] = own.over(view) if expert.own else view
        else:
            z = sharp + expert.power * (tilt + own_tilt if expert.own else tilt)
            z = z + like if expert.memory else z
            e = np.exp(z - z.max())
            views[row] = e / e.sum()
    return views


def _losses(
    views: Array, heeding: Array, ranks: Array, prompted: bool, alone: int, mixed: int, ahead: int, is_shown: bool
) -> tuple[bytes, ...]:
    """For each candidate, what each expert loses should it be chosen, and who has it first."""
    table = np.zeros((views.shape[1], _WIDTH), dtype=np.uint8)
    table[:, 0] = _TAG + prompted
    table[:, _OF_EXPERTS], table[:, _OF_HEED] = _lost(views, ranks), _lost(heeding, ranks)
    table[:, -1] = ahead * _LEAD + is_shown * _SHOWN
    table[alone, -1] |= _ALONE
    table[mixed, -1] |= _MIXED
    data = table.tobytes()
    return tuple(data[start : start + _WIDTH] for start in range(0, len(data), _WIDTH))


def _lost(views: Array, ranks: Array) -> Array:
    """What each of `views` loses should a candidate be chosen, in steps; [n, len(views)]."""
    losses = _SURPRISE * np.minimum(-np.log(np.maximum(views, 1e-9)), _SURPRISE_MAX) + _MISS
    losses[np.arange(len(views)), (views + 1e-9 * ranks).argmax(axis=1)] -= _MISS
    return np.rint(losses.T / _STEP)


def _heeding(scores: Scores, unheeded: Scores | None) -> Array:
    """The ranker's probabilities by how far the generator is heeded; [len(HEED), n] float64."""
    static = _spread(scores)
    if unheeded is None:
        return np.tile(static, (len(HEED), 1))
    said, before = (np.log(np.maximum(p, _LEAST)) for p in (static, _spread(unheeded)))
    views = np.exp(before + np.outer(HEED, said - before))
    return views * (static.sum() / views.sum(axis=1, keepdims=True))


def _spread(scores: Scores) -> Array:
    """The ranker's probabilities [n] float64, told apart by the raw order where confidence is equal."""
    p = np.maximum(scores.confidence.astype(np.float64), 0.0) * (1.0 + _TIE * _ranks(scores.raw))
    return p / max(p.sum(), 1.0)


def _ranks(raw: Array) -> Array:
    """Places in ascending order as a share of all; [n]."""
    places = np.empty(len(raw))
    places[np.argsort(raw, kind="stable")] = np.arange(len(raw))
    return places / max(len(raw), 1)


def _column(counts: Mapping[str, float], index: Mapping[str, int]) -> Array:
    column = np.zeros(len(index))
    for operation, count in counts.items():
        if (i := index.get(operation)) is not None:
            column[i] = count
    return column


def _alike(known: Known, last: str, terms: Sequence[int], index: Mapping[str, int]) -> _Memory:
    """Jaccard likeness of prompts, squared, summed by what was chosen; a user's own prompts count once more."""
    likeness, total = np.zeros(len(index)), 0.0
    if terms:
        asked, size = frozenset(terms), len(terms)
        for entries in (known.prompts, known.own_prompts):
            for entry in entries:
                if entry.last == last and not asked.isdisjoint(entry.terms):
                    shared = len(asked.intersection(entry.terms))
                    like = entry.weight * (shared / (size + len(entry.terms) - shared)) ** 2
                    total += like
                    if (i := index.get(entry.chosen)) is not None:
                        likeness[i] += like
    return _Memory(likeness, total)
