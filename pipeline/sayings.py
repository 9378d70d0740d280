"""What each feature of the ranker says for a candidate: one clause, or nothing where its value does not bear it out.

Read by `reasons.py`, which hands in the candidate with the facts that clauses are made of (`reasons.View`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from pipeline.ranking.table import DECAYED, PAIRS

if TYPE_CHECKING:
    from pipeline.reasons import View

_VERBS = {"read": "reading", "create": "creating", "update": "changing", "delete": "deleting", "action": "doing"}
_OFTEN = math.log(0.2)  # the network's probability from which a step is called frequent
_LAST = {"read": "read", "create": "created", "update": "changed", "delete": "deleted", "action": "did"}


def say(name: str, view: View) -> str:
    """The clause of a feature for a candidate; "" where its value does not bear it out."""
    topic_and_clause = SAYINGS.get(name)
    return topic_and_clause[1](view) if topic_and_clause else ""


Clause = Callable[["View"], str]


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


def _told(view: View) -> str:
    return view.given or view.is_bound


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


def _judged(view: View) -> str:
    if view.candidate.is_proposition or not view["network"] >= _OFTEN:
        return ""
    return "such a step often comes next in sessions on other APIs"


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
    "verb_first": ("verb", _when(lambda v: v["verb_first"] > 0, _verb)),
    "verb_word": ("verb", _positive("verb_word", "the prompt has the verb that it is called by")),
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
    "named_gap": ("typed", _positive("named_gap", "it searches for the kind of thing that the prompt names")),
    "own_kind": ("typed", _positive("own_kind", "it reads what the prompt calls the caller's own")),
    "typed_fields": (
        "typed",
        _when(lambda v: v["typed_fields"] > 0, lambda v: v.given or "the prompt holds a value of a kind it requires"),
    ),
    "told_ready": ("values", _when(lambda v: v["told_ready"] >= 0.3 and v["needs"] > 0, _told)),
    "told_unmet": ("values", _when(lambda v: v["told_unmet"] == 0 and v["needs"] > 0, _told)),
    "told_used": (
        "values",
        _when(lambda v: v["told_used"] > 0, lambda v: v.given or "it works on what the prompt identifies"),
    ),
    "told_goal": ("words", _matched("told_goal")),
    "goal_called": ("nature", _positive("goal_called", "what the prompt asks for most was called already", 0.9)),
    "last_match": ("nature", _positive("last_match", "{last} is what the prompt asks for most", 0.9)),
    "values_left": ("typed", _positive("values_left", "the prompt names values that no call has used yet")),
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
    "past_writes": ("nature", _positive("past_writes", "calls before it write")),
    "after_item": ("nature", _positive("after_item", "the last call worked on one thing")),
    "filled": ("values", _when(lambda v: v["filled"] == 1 and v["needs"] > 0, _bound)),
    "unfilled": ("values", _when(lambda v: v["unfilled"] == 0 and v["needs"] > 0, _bound)),
    "told": ("values", _when(lambda v: v["told"] > 0, _bound)),
    "caller": ("values", _positive("caller", "the prompt says who is calling, and it reads that")),
    "anew": ("repeat", _positive("anew", "there are values that no earlier call of it had")),
    "network": ("network", _judged),
    "generator_rank": ("generator", _generated),
    "generator_margin": ("generator", _when(lambda v: v["generator_margin"] > 0, _generated)),
    "generator_votes": ("generator", _when(lambda v: v["generator_votes"] > 0, _generated)),
}
