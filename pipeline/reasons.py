"""Why a candidate is offered, in one plain sentence that is true of it.

The ranker says which features raised a row (`Scores.because`); here each feature has its clause, told only when the
row's value bears it out, with the facts at hand: values and calls they came from, words of the prompt, the operation
before. The two strongest clauses of different topics make the sentence. What the generator says of its own choice
goes before. Called by `pipeline/predict.py` for what is shown.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Sequence

import numpy as np

from pipeline.catalog.stem import stems
from pipeline.ranking.table import COLUMN, DECAYED, FEATURES, PAIRS
from pipeline.types import SHOW, Candidate, GroundedQuery, Query

_FAINT = 0.5  # what a thing is by itself, or where it stands, explains less than what binds it to session and prompt
_SECOND = 0.25  # a second clause is told when its part is at least this share of the first one's
_WORDS_READ = 200  # of a prompt
_WORDS_TOLD = 3
_VALUES_TOLD = 2
_VALUE_MAX, _NAME_MAX = 60, 120  # characters
_WORD = re.compile(r"[^\W_]+")
_VERBS = {"read": "reading", "create": "creating", "update": "changing", "delete": "deleting", "action": "doing"}
_LAST = {"read": "read", "create": "created", "update": "changed", "delete": "deleted", "action": "did"}
_FAINTLY = frozenset(
    [f.name for f in FEATURES if f.group in ("prior", "last class")]
    + ["last_order", "past_order", "last_next", "last_prefix", "past_prefix", "last_prefix_of_last"]
)

# Looked at in this order where the ranker named nothing that can be said.
_PLAIN = ("generator_rank", "last_supplied", "match", "cosine", "last_lifecycle", "last_same_resource", "last_child",
          "last_same_path", "last_sibling", "last_same_tag", "last_named", "ready", "needs", "is_read", "is_create",
          "is_update", "is_delete", "is_action")  # fmt: skip


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
                told.setdefault(SAYINGS[name][0], _Topic()).add(clause, part * (_FAINT if name in _FAINTLY else 1.0))
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
        self.last = reasons.last
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
        taken = [f"{name} {_text(c.params[name], _VALUE_MAX)}" for name, (_, call) in c.origins.items()
                 if call == latest and name in c.params]  # fmt: skip
        when = "just" if latest == len(calls) - 1 else "earlier"
        if not taken:
            return ""
        return f"it takes {_listed(taken[:_VALUES_TOLD])}, {when} seen in {_text(calls[latest].endpoint, _NAME_MAX)}"

    @functools.cached_property
    def given(self) -> str:
        """A value that the prompt gives."""
        c = self.candidate
        for name, (kind, _) in c.origins.items():
            if kind == "prompt" and name in c.params:
                return f"the prompt gives {name} {_text(c.params[name], _VALUE_MAX)}"
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


def say(name: str, view: View) -> str:
    """The clause of a feature for a candidate; "" where its value does not bear it out."""
    topic_and_clause = SAYINGS.get(name)
    return topic_and_clause[1](view) if topic_and_clause else ""


Clause = Callable[[View], str]


def _when(holds: Callable[[View], bool], clause: Clause) -> Clause:
    return lambda view: clause(view) if holds(view) else ""


def _positive(name: str, text: str, least: float = 0.0) -> Clause:
    """`text`, with {last} filled in, where the feature is above `least`."""
    return lambda view: text.replace("{last}", view.last) if view[name] > least else ""


def _matched(name: str) -> Clause:
    """The words of the prompt it has, else that nothing fits better or that it is among the nearer in meaning."""
    return lambda view: _fit(view) if view[name] > 0 else ""


def _fit(view: View) -> str:
    if view.words:
        return view.words
    if view["match_rank"] == 1 and view["match"] > 0:
        return "nothing else fits the prompt better"
    return _nearer(view)


def _nearer(view: View) -> str:
    return "in meaning it is nearer to the prompt than most" if view["cosine"] > 0 else ""


def _bound(view: View) -> str:
    return view.is_bound


def _fitting_now(view: View) -> str:
    if not (view["goal_ready"] > 0 and view["unbound"] == 0):
        return ""
    free = view["needs"] == 0 and view["match"] >= 0.5
    return view.is_bound or ("it fits the prompt and needs no identifier" if free else "")


def _taken_before(view: View) -> str:
    return view.values or "it works on what an earlier call was given"


def _verb(view: View) -> str:
    return f"the prompt has a verb of {_VERBS[view.candidate.verb]}" if view["verb_agrees"] > 0 else ""


def _generated(view: View) -> str:
    if not view["generator_rank"] > 0:
        return ""
    return "the language model chose it first" if view["generator_rank"] == 1 else "the language model chose it"


def _repeated(view: View) -> str:
    if not view["is_last"] > 0:
        return ""
    times = round(3 * view["run"])
    often = "at least three times" if times > 2 else "twice"
    return f"it was {view.seen} last" if times < 2 else f"it was {view.seen} {often} in a row"


def _counted(view: View) -> str:
    if view["is_last"] > 0:
        return _repeated(view)
    times = round(4 * view["count"]) if view["count"] > 0 else 0
    if not times:
        return ""
    often = {1: "once", 2: "twice", 3: "three times"}.get(times, "four times or more")
    return f"it was {view.seen} {often} in this session"


def _recent(view: View) -> str:
    if not view["recency"] > 0:
        return ""
    ago = round(1 / view["recency"])
    return f"it was {view.seen} last" if ago == 1 else f"it was {view.seen} {ago} steps ago"


def _pair(which: str, pair: str) -> tuple[str, Clause]:
    """Topic and clause of a relation to the last call, or to one of the calls so far."""
    name = f"{which}_{pair}"
    topic, text, least = _PAIR_SAYINGS[pair]

    def clause(view: View) -> str:
        if not view[name] > least:
            return ""
        if topic == "values" and view.values:
            return view.values
        if which == "last":
            return _repeated(view) or text.replace("{last}", view.last)
        return _counted(view) or text.replace("{last}", view.earlier)

    return topic, clause


_PAIR_SAYINGS: dict[str, tuple[str, str, float]] = {  # topic, clause, above which value
    "prefix": ("near", "its path begins like that of {last}", 0.0),
    "prefix_of_last": ("near", "its path begins like that of {last}", 0.0),
    "same_path": ("near", "it has the path of {last}", 0.0),
    "child": ("near", "its path continues that of {last}", 0.0),
    "direct_child": ("near", "its path continues that of {last}", 0.0),
    "parent": ("near", "its path leads to that of {last}", 0.0),
    "sibling": ("near", "its path lies beside that of {last}", 0.0),
    "same_last": ("near", "its path names the same thing last as that of {last}", 0.0),
    "literals": ("near", "its path shares words with that of {last}", 0.0),
    "same_tag": ("near", "it belongs to the same group as {last}", 0.0),
    "same_resource": ("near", "it works on the same resource as {last}", 0.0),
    "supplied": ("values", "{last} seems to supply something it needs", 0.2),
    "instance": ("values", "it works below the same identifiers as {last}", 0.0),
    "order": ("near", "it stands near {last} in the spec", 0.5),
    "next": ("near", "it stands right after {last} in the spec", 0.0),
    "overlap": ("near", "its path has much in common with that of {last}", 0.0),
}

# A feature's topic, of which a sentence tells one, and its clause.
SAYINGS: dict[str, tuple[str, Clause]] = {
    "words_name": ("words", _matched("words_name")),
    "words_path": ("words", _matched("words_path")),
    "words_last": ("words", _matched("words_last")),
    "words_description": ("words", _positive("words_description", "its description has words of the prompt")),
    "words_parameters": ("words", _positive("words_parameters", "its parameters have words of the prompt")),
    "words_response": ("words", _positive("words_response", "its answer has fields of which the prompt speaks")),
    "cover_name": ("words", _matched("cover_name")),
    "cover_prompt": ("words", _matched("cover_prompt")),
    "match": ("words", _matched("match")),
    "match_rank": ("words", _matched("match")),
    "match_gap": ("words", _when(lambda v: v["match_rank"] == 1 and v["match"] > 0, _fit)),
    "residue": ("words", _matched("residue")),
    "novel": ("words", _matched("novel")),
    "cosine": ("meaning", _nearer),
    "cosine_gap": ("meaning", _nearer),
    "residual_cosine": ("meaning", _nearer),
    "verb_agrees": ("verb", _verb),
    "verb_contradicts": ("verb", _when(lambda v: v["verb_contradicts"] == 0, _verb)),
    "read_unasked": ("verb", _positive("read_unasked", "it looks first where the prompt asks for a change")),
    "many_collection": ("verb", _positive("many_collection", "the prompt asks for several and it lists them")),
    "goal_producer": ("goal", _positive("goal_producer", "it can supply what the prompt's goal still needs", 0.05)),
    "goal_producer_2": (
        "goal",
        _positive("goal_producer_2", "it can supply what a step towards the prompt's goal needs", 0.05),
    ),
    "goal_parent": ("goal", _positive("goal_parent", "its path leads to what the prompt asks for", 0.05)),
    "goal_ready": ("values", _fitting_now),
    "goal_blocked": ("words", _matched("goal_blocked")),
    "free_text": (
        "typed",
        _when(
            lambda v: v["free_text"] > 0,
            lambda v: v.given or "it takes a search text, and the prompt holds a name or a quote",
        ),
    ),
    "named_kind": ("typed", _positive("named_kind", "it searches for the kind of thing that the prompt names")),
    "typed_fields": (
        "typed",
        _when(lambda v: v["typed_fields"] > 0, lambda v: v.given or "the prompt holds a value of a kind it requires"),
    ),
    "identifier_unready": ("values", _when(lambda v: v["identifier_unready"] == 0 and v["needs"] > 0, _bound)),
    **{f"last_{pair}": _pair("last", pair) for pair in PAIRS},
    **{f"past_{pair}": _pair("past", pair) for pair in DECAYED},
    "last_overlap_rank": (
        "near",
        _when(
            lambda v: v["last_overlap_rank"] == 1 and v["last_overlap"] > 0,
            lambda v: _repeated(v) or f"no path is nearer to that of {v.last}",
        ),
    ),
    "last_named": (
        "near",
        _when(lambda v: v["last_named"] > 0, lambda v: _repeated(v) or f"its name shares words with that of {v.last}"),
    ),
    "last_cosine": (
        "near",
        _when(lambda v: v["last_cosine"] > 0.2, lambda v: _repeated(v) or f"in meaning it is close to {v.last}"),
    ),
    "last_lifecycle": (
        "near",
        _positive("last_lifecycle", "it is a usual kind of step after {last} on the same resource", 0.25),
    ),
    "past_named": (
        "near",
        _when(
            lambda v: v["past_named"] > 0, lambda v: _counted(v) or f"its name shares words with that of {v.earlier}"
        ),
    ),
    "past_cosine": (
        "near",
        _when(lambda v: v["past_cosine"] > 0.2, lambda v: _counted(v) or f"in meaning it is close to {v.earlier}"),
    ),
    "past_lifecycle": (
        "near",
        _when(lambda v: v["past_lifecycle"] > 0.25, lambda v: f"it is a usual kind of step after {v.earlier}"),
    ),
    "ready": ("values", _when(lambda v: v["ready"] > 0, _bound)),
    "unbound": ("values", _when(lambda v: v["unbound"] == 0, _bound)),
    "lacking": ("goal", _positive("lacking", "it can supply an identifier that the session has not", 0.3)),
    "having": ("goal", _positive("having", "its answer speaks of what the session already has", 0.3)),
    "used": ("values", _when(lambda v: v["used"] > 0, _taken_before)),
    "unused_write": ("values", _when(lambda v: v["used"] > 0 and v["unused_write"] < 1, _taken_before)),
    "newly": (
        "values",
        _when(lambda v: v["newly"] > 0, lambda v: v.values or "the last call gave something that it needs"),
    ),
    "is_last": ("repeat", _repeated),
    "run": ("repeat", _repeated),
    "repeat_habit": ("repeat", _positive("repeat_habit", "this session has repeated calls before", 0.2001)),
    "other_values": ("repeat", _positive("other_values", "it was called with different arguments before")),
    "count": ("repeat", _counted),
    "recency": ("repeat", _recent),
    "followed": ("repeat", _positive("followed", "it followed {last} before in this session")),
    "is_read": ("nature", _positive("is_read", "it only reads")),
    "is_create": ("nature", _positive("is_create", "it creates something")),
    "is_update": ("nature", _positive("is_update", "it changes something")),
    "is_delete": ("nature", _positive("is_delete", "it deletes something")),
    "is_action": ("nature", _positive("is_action", "it sets something going")),
    "item": ("nature", _positive("item", "it works on one thing")),
    "depth": ("nature", _when(lambda v: v["depth"] <= 0.25, lambda v: "its path is short")),
    "needs": ("needs", _when(lambda v: v["needs"] == 0, lambda v: "it needs no identifier")),
    "given": ("nature", _when(lambda v: v["given"] == 0, lambda v: "nothing else has to be filled in for it")),
    "free": ("nature", _positive("free", "it takes a search text")),
    "deprecated": (
        "nature",
        _when(lambda v: v["deprecated"] == 0 and v.has_deprecated, lambda v: "unlike others here it is not deprecated"),
    ),
    "hub": ("nature", _positive("hub", "much of the API lies below its path", 0.4)),
    "demand": ("nature", _positive("demand", "many operations need what it supplies", 0.4)),
    "document_order": (
        "nature",
        _when(lambda v: v["document_order"] <= 0.1, lambda v: "it stands near the beginning of the spec"),
    ),
    **{
        f"after_{verb}": ("nature", _positive(f"after_{verb}", f"the last call {does} something"))
        for verb, does in _LAST.items()
    },
    "after_item": ("nature", _positive("after_item", "the last call worked on one thing")),
    "generator_rank": ("generator", _generated),
    "generator_margin": ("generator", _when(lambda v: v["generator_margin"] > 0, _generated)),
    "generator_votes": ("generator", _when(lambda v: v["generator_votes"] > 0, _generated)),
}


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
