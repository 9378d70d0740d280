"""The table of features: what the ranker sees of each candidate, column by column.

Computed in `features.py`; `ranker.py` refuses an artefact of another FINGERPRINT. NaN means that there was
nothing to look at (`missing_without`); the size of the catalog, the length of the history and ids of any
vocabulary are left out on purpose: they are what a model learns of its training specs.
"""

from __future__ import annotations

import hashlib
from typing import Literal, NamedTuple

VERSION = 6  # raised when a column is computed otherwise under the same name and meaning

Head = Literal["prompt_only", "prompt_history", "history_only"]
HEADS: tuple[Head, ...] = ("prompt_only", "prompt_history", "history_only")
Condition = Literal[
    "", "prompt", "meaning", "history", "history+prompt", "history+vectors", "network", "bound", "generator"
]


class Feature(NamedTuple):
    """One column: what it means, which way more of it points, and without what it is NaN."""

    name: str
    meaning: str
    group: str
    direction: int  # +1 more is better, -1 worse, 0 either
    missing_without: Condition = ""

    @property
    def half(self) -> Literal["catalog", "generator"]:
        return "generator" if self.group == "generator" else "catalog"


_FIELD_NAMES = ("name", "path", "last segment", "description", "parameters", "response")
_VERB_NAMES = ("read", "create", "update", "delete", "action")
_TEXT = "prompt"
_PAIR_MEANINGS = {
    "prefix": "share of its path that is a common prefix",
    "prefix_of_last": "share of the other's path that is a common prefix",
    "same_path": "the paths are equal",
    "child": "its path continues the other's",
    "direct_child": "its path continues the other's by one segment",
    "parent": "the other's path continues its own",
    "sibling": "the paths differ in the last segment only",
    "same_last": "the last literal segments are equal",
    "literals": "Jaccard of the literal segments",
    "same_tag": "the first tags are equal",
    "same_resource": "both work on the same resource",
    "supplied": "grade at which the other supplies what it needs",
    "instance": "share of its path parameters inside the common prefix",
    "order": "nearness in the document",
    "next": "it is the next one in the document",
    "overlap": "common segments, less what is beside them",
}
PAIRS = tuple(_PAIR_MEANINGS)  # rows of Evidence.pairs, in this order
DECAYED = ("prefix", "same_path", "child", "direct_child", "parent", "sibling", "same_last", "literals", "same_tag",
            "same_resource", "supplied", "instance", "order", "overlap")  # fmt: skip
_FREE = frozenset({"parent", "same_path", "same_last", "order", "next", "same_resource"})  # no known direction

FEATURES: tuple[Feature, ...] = (
    *(
        Feature(f"words_{name.split()[0]}", f"BM25 on {name}, over the catalog's best", _TEXT, 1, "prompt")
        for name in _FIELD_NAMES
    ),
    Feature("cover_name", "share of the name's words, by rarity, that the prompt has", _TEXT, 1, "prompt"),
    Feature("cover_prompt", "share of the prompt's words, by rarity, that the card has", _TEXT, 1, "prompt"),
    Feature("match", "words and meaning together, over the catalog's best", _TEXT, 1, "prompt"),
    Feature("match_rank", "reciprocal rank of match", _TEXT, 1, "prompt"),
    Feature("match_gap", "match less the best of the others", _TEXT, 1, "prompt"),
    Feature("residue", "match of the words and meaning that no past call explains", _TEXT, 1, "prompt"),
    Feature("cosine", "cosine of prompt and card, 0 at the median, 1 at the best", "meaning", 1, "meaning"),
    Feature("cosine_gap", "the same cosine, raw, less the best", "meaning", 1, "meaning"),
    Feature("residual_cosine", "cosine with what the last calls mean taken out of the prompt", "meaning", 1, "meaning"),
    Feature("novel", "match less half its likeness to the nearest recent call", _TEXT, 1, "history+prompt"),
    Feature("verb_agrees", "the prompt uses a verb of its class", "verb", 1, "prompt"),
    Feature("verb_first", "its class is that of the first verb the prompt asks for", "verb", 1, "prompt"),
    Feature("verb_word", "it is called by a verb the prompt asks for", "verb", 1, "prompt"),
    Feature("verb_contradicts", "it writes and the prompt has no verb of its class", "verb", -1, "prompt"),
    Feature("read_unasked", "it reads and the prompt has verbs, all of them writing", "verb", 0, "prompt"),
    Feature("many_collection", "the prompt asks for many and it reads a collection", "verb", 1, "prompt"),
    Feature("goal_producer", "supplies what the prompt's goals still need", "goal", 1, "prompt"),
    Feature("goal_producer_2", "supplies what such producers still need", "goal", 1, "prompt"),
    Feature("goal_parent", "its path leads to a goal", "goal", 1, "prompt"),
    Feature("goal_ready", "match, as far as the session has what it needs", "goal", 1, "prompt"),
    Feature("goal_blocked", "match, where the session lacks something it needs", "goal", 0, "prompt"),
    Feature("free_text", "it takes a search text and the prompt holds a name or a quote", "typed", 1, "prompt"),
    Feature("named_kind", "it takes a search text, about the kind of thing the prompt names", "typed", 1, "prompt"),
    Feature("named_gap", "the same, less the best of the others", "typed", 1, "prompt"),
    Feature("own_kind", "it reads the caller's own of a kind that the prompt says is theirs", "typed", 1, "prompt"),
    Feature("typed_fields", "required mail, zip, name, date: in the prompt less not in it", "typed", 1, "prompt"),
    Feature("identifier_unready", "the prompt holds an identifier and it lacks one", "typed", 0, "prompt"),
    Feature("told_ready", "how surely session or prompt give its needs; 1 if it needs nothing", "told", 1, "prompt"),
    Feature("told_unmet", "needs that neither gives, less the prompt's loose identifiers", "told", -1, "prompt"),
    Feature("told_used", "share of the entities the prompt identifies that it needs", "told", 1, "prompt"),
    Feature("told_goal", "match, as far as session and prompt give what it needs", "told", 1, "prompt"),
    Feature("goal_called", "the best match among the recent calls", "told", 0, "history+prompt"),
    Feature("last_match", "the match of the last call", "told", 0, "history+prompt"),
    Feature("values_left", "share of the prompt's values no call carries, if it was called or takes text", "told", 0,
            "history+prompt"),
    *(
        Feature(f"last_{name}", f"against the last call: {meaning}", "last", 0 if name in _FREE else 1, "history")
        for name, meaning in _PAIR_MEANINGS.items()
    ),
    Feature("last_overlap_rank", "reciprocal rank of overlap with the last call", "last", 1, "history"),
    Feature("last_named", "share of its name that the last call's name covers", "last", 0, "history"),
    Feature("last_cosine", "centred cosine with the last call's card", "last", 0, "history+vectors"),
    Feature("last_lifecycle", "how usual its kind is after the last call's on the same resource", "last", 1, "history"),
    *(
        Feature(f"past_{n}", f"best over recent calls, .8 a call: {_PAIR_MEANINGS[n]}", "past", 0 if n in _FREE else 1,
                "history")
        for n in DECAYED
    ),
    Feature("past_named", "best over recent calls: share of its name that theirs cover", "past", 0, "history"),
    Feature("past_cosine", "best over recent calls: centred cosine of the cards", "past", 0, "history+vectors"),
    Feature("past_lifecycle", "best over recent calls: how usual its kind is after theirs", "past", 1, "history"),
    Feature("ready", "how surely the session has what it needs; 1 if it needs nothing", "state", 1),
    Feature("unbound", "identifiers it needs and the session has not", "state", -1),
    Feature("lacking", "best grade at which it supplies what the session has not", "state", 0),
    Feature("having", "best grade at which it supplies what the session already has", "state", 0),
    Feature("used", "share of its needs that a past call took as an argument", "state", 0, "history"),
    Feature("unused_write", "it writes to what no past call took as an argument", "state", -1, "history"),
    Feature("newly", "some need was met by the last call only", "state", 1, "history"),
    Feature("is_last", "it is the last call's operation", "repeat", 0, "history"),
    Feature("run", "length of the last operation's run, up to 3, if it is that one", "repeat", 0, "history"),
    Feature("repeat_habit", "share of repeats in the session, if it is the last operation", "repeat", 1,
            "history"),
    Feature("other_values", "it was called with different arguments before", "repeat", 0, "history"),
    Feature("count", "how often it was called, saturating", "repeat", 0, "history"),
    Feature("recency", "1 / how many calls ago it was called", "repeat", 0, "history"),
    Feature("followed", "how often it followed the last operation before", "repeat", 1, "history"),
    *(Feature(f"is_{name}", f"its verb class is {name}", "prior", 0) for name in _VERB_NAMES),
    Feature("item", "it works on one thing, not on a collection", "prior", 0),
    Feature("depth", "path segments, saturating", "prior", 0),
    Feature("needs", "identifiers it requires, saturating", "prior", 0),
    Feature("given", "other arguments it requires, saturating", "prior", 0),
    Feature("free", "it takes a search text", "prior", 0),
    Feature("deprecated", "the spec calls it deprecated", "prior", -1),
    Feature("hub", "how much of the API lies below its path", "prior", 0),
    Feature("demand", "how much of the API needs what it supplies", "prior", 0),
    Feature("document_order", "place in the document", "prior", 0),
    *(
        Feature(f"after_{name}", f"the last call's verb class is {name}", "last class", 0, "history")
        for name in _VERB_NAMES
    ),
    Feature("past_writes", "share of the calls that write", "last class", 0, "history"),
    Feature("after_item", "the last call worked on one thing", "last class", 0, "history"),
    Feature("network", "log of its share by the network fitted on other APIs' sessions", "network", 1, "network"),
    Feature("filled", "share of the arguments it requires that a value was found for; 1 if it requires none", "bound",
            1, "bound"),
    Feature("unfilled", "arguments it requires and no value was found for, saturating", "bound", -1, "bound"),
    Feature("told", "share of the arguments it requires that the prompt gave a value for", "bound", 1, "bound"),
    Feature("caller", "it reads by what the prompt says a person is known by, and was not called", "bound", 1, "bound"),
    Feature("anew", "1 if it was called before with other values than are found now, -1 with these", "bound", 1,
            "bound"),
    Feature("generator_rank", "reciprocal rank among its picks, 0 if not picked", "generator", 1, "generator"),
    Feature("generator_margin", "lead over its next pick in it, 0 if not first", "generator", 1, "generator"),
    Feature("generator_votes", "share of its picks that name it", "generator", 1, "generator"),
)  # fmt: skip

NAMES = tuple(feature.name for feature in FEATURES)
COLUMN = {name: i for i, name in enumerate(NAMES)}
GROUND_NAMES = tuple(feature.name for feature in FEATURES if feature.half == "catalog")
FINGERPRINT = hashlib.sha256(
    "\n".join([str(VERSION), *(f"{f.name}\t{f.meaning}\t{f.missing_without}" for f in FEATURES)]).encode()
).hexdigest()[:16]
