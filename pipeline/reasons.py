"""Why a candidate is offered, in one plain sentence that is true of it.

The ranker says which features raised a row (`Scores.because`); here each has its clause (`sayings.py`), told only
when the row's value bears it out, with the facts at hand: values and calls they came from, words of the prompt, the
operation before. The two strongest clauses of different topics make the sentence. What the generator says of its own
choice goes before. Called by `pipeline/predict.py` for what is shown.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence

import numpy as np

from pipeline.candidates.seen import at
from pipeline.catalog.stem import stems
from pipeline.ranking.contributions import spread
from pipeline.ranking.table import COLUMN, FEATURES
from pipeline.sayings import SAYINGS, say
from pipeline.types import SHOW, Candidate, Explanation, GroundedQuery, Query, Scores

_FAINT = 0.5  # what a thing is by itself, where it stands and what others did explain less than session and prompt
_OPAQUE = 0.02  # what a network makes of all of these is told where nothing plainer can be
_SECOND = 0.25  # a second clause is told when its part is at least this share of the first one's
_WORDS_READ = 200  # of a prompt
_WORDS_TOLD = 3
_VALUES_TOLD = 2
_VALUE_MAX, _NAME_MAX = 60, 120  # characters
_WORD = re.compile(r"[^\W_]+")
_WEIGHT = dict.fromkeys(
    [f.name for f in FEATURES if f.group in ("prior", "last class")]
    + ["last_order", "past_order", "last_next", "last_prefix", "past_prefix", "last_prefix_of_last"],
    _FAINT,
) | {"network": _OPAQUE}

# Looked at in this order where the ranker named nothing that can be said.
_PLAIN = ("generator_rank", "last_supplied", "match", "cosine", "last_lifecycle", "last_same_resource", "last_child",
          "last_same_path", "last_sibling", "last_same_tag", "last_named", "ready", "needs", "is_read", "is_create",
          "is_update", "is_delete", "is_action")  # fmt: skip


def explained(index: int, scores: Scores, matrix: np.ndarray) -> Explanation:
    """The numbers behind candidate `index`, for who asks; `matrix` is float32 [n_candidates, n_features]."""
    parts = tuple((column, float(matrix[index, column]), part) for column, part in scores.because.get(index, ()))
    mean = float(scores.raw[spread(len(scores.raw))].mean())
    return Explanation(parts, float(scores.raw[index]) - mean, float(scores.confidence[index]))


class Reasons:
    """The reasons of one prediction; `matrix` is float32 [n_candidates, n_features]."""

    def __init__(self, query: Query, grounded: GroundedQuery, matrix: np.ndarray) -> None:
        self.calls = query.calls
        self.last = _named(grounded)
        self._candidates = grounded.candidates
        self._matrix = matrix
        self.has_calls = bool(grounded.previous)
        self.is_first = len(grounded.previous) == 1
        self._prompt = [(word, stems(word)) for word in _WORD.findall(query.prompt)[:_WORDS_READ]]

    def tell(self, index: int, because: Sequence[tuple[int, float]] = ()) -> str:
        """The sentence for candidate `index`, whose features `because` (column, part) raised it, strongest first."""
        view = View(self, self._candidates[index], self._matrix[index])
        if view.candidate.reason:
            return view.candidate.reason
        told: dict[str, _Topic] = {}
        for column, part in because:
            name = FEATURES[column].name
            if clause := say(name, view):
                told.setdefault(SAYINGS[name][0], _Topic()).add(clause, part * _WEIGHT.get(name, 1.0))
        clauses = [(t.clause, t.total) for t in sorted(told.values(), key=lambda t: -t.total)]
        if not clauses:
            clauses = [(clause, 1.0) for name in _PLAIN if (clause := say(name, view))][:1]
        if "habit" in view.candidate.sources and len(clauses) < 2:
            clauses.append((view.habit, 1.0))
        if len(clauses) > 1 and clauses[1][1] < _SECOND * clauses[0][1]:
            clauses = clauses[:1]
        said = list(dict.fromkeys(clause for clause, _ in clauses))[:2]
        if not said:
            if not self.has_calls and not self._prompt:
                return "Nothing is known yet that speaks for another: the order of the list counts."
            return "Nothing in particular speaks for it."
        sentence = ", and ".join(said)
        return sentence[0].upper() + sentence[1:] + "."

    def column(self, name: str) -> np.ndarray:
        """A feature of all candidates."""
        return self._matrix[:, COLUMN[name]]

    def words_shared(self, text: str) -> list[str]:
        """Words of the prompt, as it writes them, whose stems are in `text`."""
        known = set(stems(text))
        found: dict[tuple[str, ...], str] = {}
        for word, parts in self._prompt:
            if parts and known.issuperset(parts):
                found.setdefault(parts, word)
        return list(found.values())


class _Topic:
    """What one prediction's features say of one topic: their parts together, the strongest one's clause."""

    def __init__(self) -> None:
        self.clause = ""
        self.total = self._most = 0.0

    def add(self, clause: str, part: float) -> None:
        self.total += part
        if part > self._most:
            self.clause, self._most = clause, part


class View:
    """One candidate with its row, and the facts that clauses are made of."""

    def __init__(self, reasons: Reasons, candidate: Candidate, row: np.ndarray) -> None:
        self.candidate = candidate
        self.last: str = reasons.last
        self._reasons = reasons
        self._row = row

    def __getitem__(self, name: str) -> float:
        """The value of a feature; NaN where there was nothing to look at, of which no comparison holds."""
        return float(self._row[COLUMN[name]])

    @functools.cached_property
    def words(self) -> str:
        """The prompt's words that stand in the candidate's name or path."""
        c = self.candidate
        places = {"title": c.summary} if c.is_proposition else {"name": f"{c.summary} {c.operation_id}", "path": c.path}
        for place, text in places.items():
            if shared := self._reasons.words_shared(text):
                quoted = [f"'{word[:40]}'" for word in shared[:_WORDS_TOLD]]
                return f"the prompt's {_listed(quoted)} {'is' if len(quoted) == 1 else 'are'} in its {place}"
        return ""

    @functools.cached_property
    def values(self) -> str:
        """The values of the session it takes, those of the latest call, and where they were seen."""
        c, calls = self.candidate, self._reasons.calls
        latest = max((call for _, call in c.origins.values()), default=-1)
        if not 0 <= latest < len(calls):
            return ""
        taken = [f"{name} {_text(value, _VALUE_MAX)}" for name, (_, call) in c.origins.items()
                 if call == latest and (value := at(c.params, name)) is not None]  # fmt: skip
        when = "just" if latest == len(calls) - 1 else "earlier"
        if not taken:
            return ""
        return f"it takes {_listed(taken[:_VALUES_TOLD])}, {when} seen in {_text(calls[latest].endpoint, _NAME_MAX)}"

    @functools.cached_property
    def given(self) -> str:
        """A value that the prompt gives."""
        c = self.candidate
        for name, (kind, _) in c.origins.items():
            if kind == "prompt" and (value := at(c.params, name)) is not None:
                return f"the prompt gives {name} {_text(value, _VALUE_MAX)}"
        return ""

    @functools.cached_property
    def habit(self) -> str:
        if self._reasons.has_calls:
            return f"it came after {self.last} in earlier sessions"
        return "earlier sessions began with it"

    @property
    def seen(self) -> str:
        return "seen" if self.candidate.is_proposition else "called"

    @property
    def earlier(self) -> str:
        if self._reasons.is_first:  # of which one there is
            return self.last
        return f"one of {'those' if self.candidate.is_proposition else 'the calls'} so far"

    @property
    def has_deprecated(self) -> bool:
        """Whether one of the candidates is."""
        return bool((self._reasons.column("deprecated") > 0).any())

    @property
    def is_bound(self) -> str:
        """That the session has all it needs; "" when it has not, or when it needs nothing."""
        if not (self["needs"] > 0 and self["unbound"] == 0):
            return ""
        return self.values or ("the calls so far seem to hold what it needs" if self["ready"] >= 0.5 else "")


def _named(grounded: GroundedQuery) -> str:
    """How the last operation that was called is spoken of."""
    if not grounded.previous:
        return "the last call"
    last = grounded.previous[-1]
    method, _, path = last.partition(" ")
    if method == SHOW:
        titles = {c.operation: c.summary for c in grounded.candidates}
        return f"'{_text(titles.get(last, path[1:]), _NAME_MAX)}'"
    return _text(last, _NAME_MAX)


def _listed(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def _text(value: object, most: int) -> str:
    """A value as a sentence can hold it."""
    text = "".join(c if c.isprintable() else " " for c in str(value)[: most + 1])
    return text if len(text) <= most else text[: most - 1] + "…"
