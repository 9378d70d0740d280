"""What an operation does: its verb, and the family of what it destroys or moves away.

Read off the places where an API says what it does: operation id, summary and the verbs among the path's segments,
never long descriptions, which mention what others do. Words come from `lexicon`; what a prompt asks for is
read by `intent` and offered here too, with `wanted`, the prompt less what it spares. Called by `parse`, the story
and the corpus.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from typing import NamedTuple

from pipeline.catalog.intent import idioms, intents, prompt_acts, prompt_verbs
from pipeline.catalog.lexicon import AMBIGUOUS, CLASS, FAMILY, INFLECTED, NOUNS, word_set
from pipeline.types import Verb

__all__ = ["acts", "classify", "idioms", "intents", "prompt_acts", "prompt_verbs", "same", "wanted"]

_HTTP = {"get", "put", "post", "delete", "options", "head", "patch", "trace", "query"}
_SAFE = {"GET", "HEAD", "OPTIONS", "TRACE", "QUERY"}
_SYNONYMS = {"del": "delete", "rm": "remove", "destory": "destroy"}
_WORD = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+")
_COMPONENT = re.compile(r"[./:#=]+|(?<=[a-z])_(?=[A-Z])")
_SUMMARY_WORD = re.compile(r"[A-Za-z]+(?:'[a-z]+)?|[.,;:()/]")

# Before the verb, without changing what is done
_FILLERS = word_set(
    "a an the to this that it you your we will can may should must is are for of used use using allow allows "
    "allowing let lets enable enables endpoint endpoints api method operation action call request requests function "
    "service resource bulk batch mass multi multiple many all admin force forced forcibly hard soft permanently "
    "irrevocably completely immediately asynchronously async begin begins start starts try attempt attempts provides "
    "provide ability beta deprecated v do does perform performs execute executes user users client admins by in on "
    "at experimental please new quickly partially fully synchronously internal public private"
)
_MODIFIERS = word_set(
    "bulk batch mass multi admin force hard soft permanently begin async api do perform execute try post put"
)
_TRAILING = word_set("list search query count")  # `transferList`
_THINGS = word_set("report offer credit top")  # verbs that begin the name of a thing: `/credit_notes`, `/report_runs`
_DETERMINERS = word_set(
    "a an the this that these those all any one your my some multiple several existing specific given its their "
    "every each single certain specified current"
)
_HEAD_ENDS = word_set("for of to from by with in on at and or via between using as if that which the into against")
_MAKERS = word_set(
    "create make submit issue initiate request process start trigger perform execute schedule send add new post do "
    "place begin apply open confirm complete simulate insert generate register"
)
_PASSIVE = word_set("mark set flag")
_SENT = word_set("transfer payment transaction order message mail email invitation")  # recalled, it is cancelled
# Nouns that make what stands before them a mere attribute: a refund policy, a transfer recipient
_HEADS = word_set(
    "policy policies rule rules reason reasons status statuses label labels recipient recipients setting settings "
    "config configuration method methods limit limits history log logs fee fees quote quotes template templates "
    "protection window type types code codes link links token tokens schedule schedules estimate preview job jobs "
    "list lists children event events webhook webhooks document documents note notes"
)
# Where these stand beside the word, nothing is lost
_HARMLESS: dict[str, frozenset[str]] = {
    "transfer": word_set(
        "human agent agents playback call calls chat conversation conversations operator acceleration encoding"
    ),
    "reverse": word_set("geocode geocoding geocoder geo lookup dns image proxy phone ip search etl engineer"),
    "return": word_set("list all the a an information info details data json url urls whether true false"),
    "drop": word_set("off down box shadow"),
    "block": word_set("children number height hash header transaction transactions"),
    "close": word_set("match matches captions"),
    "cancel": word_set("fee fees reason reasons"),
}
# "and do not send a new SIM", "I don't want to change my plan", "you do not want a refund"; every repeat is bounded
_UNWANTED = re.compile(
    r"(?:(?:^|[.,;:!?(\n] ?|\b(?:and|but|so|also) )"
    r"(?P<order>(?:please )?(?:do not|don['’]t|never) (?P<verb>[a-z]{1,20}))"
    r"|(?P<wish>\b(?:(?:i|you|we|they) )?(?:(?:do|does|would)(?: not|n['’]t)|never) (?:want|wish|intend|need|like)"
    r" (?:to (?P<deed>[a-z]{1,20})|(?:an?|any|another))))\b"
    r"(?P<rest>[^.,;!?()\n]{0,200}?)(?=\b(?:but|and|just|only|instead|before|without)\b|[.,;!?()\n]| [–—-]+ |$)",
    re.I,
)
# "but not the issue", "and delete nothing else", "without deleting the issue"
_SPARED = re.compile(
    r",? (?:(?:but not|without [a-z]{2,20}ing) (?:the|my|our|your|this|that|its|any|all) [\w-]{1,30}"
    r"|(?:and|but) [a-z]{3,20} nothing(?: else)?)(?= (?:and|please|then)\b|[.,;!?)]|$)",
    re.I,
)
_WANTED_YET = word_set("if unless until except when more anymore longer")  # a condition, or an end that is wished for


class _Action(NamedTuple):
    """A verb and what follows it."""

    verb: str
    rest: list[str]


def classify(method: str, path: str, operation_id: str, summary: str) -> tuple[Verb, str]:
    """Verb and destructive family of an operation; the family is "" when nothing is destroyed or moved away.

    A DELETE is of family "delete" unless its own words say another. Reading methods are harmless
    unless their id and their path or summary both say otherwise (`GET /pads/delete`, "Delete a pad").
    """
    method = method.upper()
    by_id = _id_action(operation_id, method)
    by_summary = _summary_action(summary)
    segments = [_segment(s) for s in re.split(r"[/?]", path) if s and "{" not in s.split(":")[0]]
    by_path = _id_action(_segment(path.rsplit("/", 1)[-1]), method) if segments and not path.endswith("}") else None
    if by_path is not None and by_path.rest and by_path.verb in _THINGS:
        by_path = None
    if by_summary is not None and by_summary.rest:  # says more of the same verb: `reverse`, "Reverse geocoding"
        by_id = by_summary if by_id == (by_summary.verb, []) else by_id
        by_path = by_summary if by_path == (by_summary.verb, []) else by_path
    named = [action for action in (by_id, by_summary) if action is not None and action.verb in CLASS]
    is_outvoted = len(named) == 2 or (named and by_path is not None and by_path.verb in AMBIGUOUS and by_path.rest)
    if is_outvoted and not any(_family(action) for action in named):
        by_path, segments = None, []  # `POST /runners/remove-token` "Create a remove token"
    said = [action for action in (by_id, by_summary, by_path) if action is not None]

    if method in _SAFE:
        found = [family for action in said if action.verb not in AMBIGUOUS and (family := _family(action))]
        is_read = any(CLASS.get(action.verb) == "read" for action in said)
        return ("delete", found[0]) if len(found) > 1 and not is_read else ("read", "")
    families = [family for action in (by_summary, by_path, by_id) if action and (family := _family(action))]
    if method == "DELETE":
        own = [family for action in (by_summary, by_id) if action and (family := _family(action))] or families
        return "delete", "delete" if not own or "delete" in own or own[0] == "return" else own[0]
    family = families[0] if families else ""
    if not family:
        family = _by_segments(path, segments, method, said)
    return _verb(method, path, said, family), family


def acts(method: str, path: str, operation_id: str, summary: str) -> frozenset[str]:
    """The verbs by which an operation is called, as `same` gives them: what its id, summary and last segment say."""
    method, last = method.upper(), path.rsplit("/", 1)[-1]
    said = [_id_action(operation_id, method), _summary_action(summary)]
    if last and "{" not in last:
        said.append(_id_action(_segment(last), method))
    found = {action.verb for action in said if action is not None and action.verb in CLASS}
    return frozenset(same(verb) for verb in found if method not in _SAFE or CLASS[verb] == "read")


def same(verb: str) -> str:
    """One verb for all that destroy in the same way ("void" and "cancel"); any other is its own."""
    return FAMILY.get(verb, verb)


@functools.lru_cache(maxsize=1024)
def wanted(prompt: str) -> str:
    """The prompt without the clauses that only say what is not to be done; all of it where the rest asks for nothing.

    "I don't want this order" asks for something: only verbs of APIs and what one makes ("a refund") are left out.
    """
    spared = _SPARED.sub("", prompt)
    if spared != prompt and prompt_verbs(spared):
        prompt = spared
    parts, end = [], 0
    for match in _UNWANTED.finditer(prompt):
        words = match["rest"].lower().split()
        if not _WANTED_YET.isdisjoint(words):
            continue
        verb = (match["verb"] or match["deed"] or "").lower()
        if verb:  # "and do not see it" tells, it forbids nothing
            known = INFLECTED.get(verb)
            is_deed = known == (verb, "base") and (match["deed"] or CLASS[verb] != "read")
        else:
            is_deed = any(word in NOUNS or word in AMBIGUOUS for word in words)
        if is_deed:
            parts.append(prompt[end : match.start("order" if match["verb"] else "wish")])
            end = match.end()
    rest = " ".join([*parts, prompt[end:]])
    return rest if parts and prompt_verbs(rest) else prompt


def _verb(method: str, path: str, said: Sequence[_Action], family: str) -> Verb:
    verbs = [CLASS[action.verb] for action in said if action.verb in CLASS]
    if family == "delete":
        return "delete"
    if method == "PUT" and verbs and verbs[0] in ("create", "read"):
        return verbs[0]
    if method in ("PUT", "PATCH"):
        return "update"
    if verbs:
        return verbs[0]
    if family:
        return "action"
    return "update" if path.endswith("}") else "create"  # POST to one thing changes it (Stripe), to a collection adds


def _family(action: _Action) -> str:
    """Family of what an action destroys, looking at its object where the verb alone does not say."""
    verb, rest = action
    if verb in FAMILY:
        if not _HARMLESS.get(verb, frozenset()).isdisjoint(rest):
            return ""
        is_attribute = verb in NOUNS and verb != "reset" and rest and rest[-1] in _HEADS and rest[0] not in _DETERMINERS
        return "" if is_attribute else FAMILY[verb]
    if len(rest) > 1 and rest[0] in ("or", "and") and FAMILY.get(rest[1]) == "delete":
        return "delete"  # "Add or remove members"
    if verb == "recall" and _head(rest) in _SENT:
        return "cancel"
    if verb in _MAKERS:
        noun = _head(rest)
        return FAMILY[NOUNS[noun]] if noun in NOUNS and _HARMLESS.get(NOUNS[noun], frozenset()).isdisjoint(rest) else ""
    if verb in _PASSIVE and rest:
        last = INFLECTED.get(rest[-1])
        if last is not None and last.form == "past":
            return FAMILY.get(last.word, "")
    return ""


def _head(words: Sequence[str]) -> str:
    """Head noun of the phrase that `words` begin with, in the singular: "a partial refund for a charge" -> refund."""
    phrase: list[str] = []
    for word in words:
        if word in _HEAD_ENDS and phrase:
            break
        if word not in _DETERMINERS and word not in _HEAD_ENDS and len(word) > 1:
            phrase.append(word)
    while len(phrase) > 1 and phrase[-1] in ("request", "requests", "new", "async", "order"):
        phrase.pop()
    return singular(phrase[-1]) if phrase else ""


def singular(word: str) -> str:
    return word[:-1] if word.endswith("s") and not word.endswith("ss") else word


def words_of(text: str) -> list[str]:
    """Lower-case words of an identifier in any case style."""
    return [_SYNONYMS.get(word, word) for word in (part.lower() for part in _WORD.findall(text))]


def _segment(segment: str) -> str:
    """What a path segment says: without parameters, fragment markers and file suffixes."""
    return re.sub(r"\{[^{}]*\}:?|\.(?:json|xml|php|html?|do)$", "", segment)


def _id_action(text: str, method: str) -> _Action | None:
    """The action that an operation id (or a path segment) names."""
    parts = [words for part in _COMPONENT.split(text) if (words := words_of(part))]
    if len(parts) > 1 and parts[-1] in (["v"], [method.lower()]):
        parts.pop()
    for words in [*reversed(parts[-2:]), *parts[:1]]:
        words = list(words)
        is_path_like = len(words) > 1 and words[0] in _HTTP and words[0] == method.lower()
        if is_path_like:
            words = words[1:]
        if len(words) > 1 and words[-1] in _HTTP and words[-1] == method.lower():
            words = words[:-1]
        while len(words) > 1 and words[0] in _MODIFIERS:
            words = words[1:]
        action = _lead(words, is_path_like)
        if action is not None or is_path_like:
            return action
    return None


def _lead(words: list[str], is_path_like: bool) -> _Action | None:
    first, last = words[0], words[-1]
    if first in CLASS and first not in AMBIGUOUS:
        return _Action(first, words[1:])
    is_trailing = last not in AMBIGUOUS or first in _THINGS or (first in AMBIGUOUS and last in _TRAILING)
    if len(words) > 1 and last in CLASS and is_trailing:
        return _Action(last, words[:-1])
    if is_path_like:
        return None  # `PostTransfersIdReversals`: nouns of the path, which is looked at itself
    if first in CLASS:
        return _Action(first, words[1:])
    if len(words) > 1 and last in FAMILY:
        return _Action(last, words[:-1])
    return None


def _summary_action(summary: str) -> _Action | None:
    """The action that a summary begins with."""
    tokens = [token.lower() for token in _SUMMARY_WORD.findall(summary)[:24]]
    for index, token in enumerate(tokens[:10]):
        rest = [t for t in tokens[index + 1 :] if t.isalpha() or "'" in t]
        known = INFLECTED.get(token)
        following = rest[0] if rest else ""
        if known is not None and token not in ("request", "requests", "start", "starts", "use", "begin"):
            verb, form = known
            if verb == "return" or form == "past":
                return None
            if verb in AMBIGUOUS and following in CLASS and following not in AMBIGUOUS:
                return _Action(following, [verb, *rest[1:]])  # "Transfer create"
            if verb in AMBIGUOUS and form == "s" and following not in _DETERMINERS:
                return None  # "Transfers of an account"
            if not (verb in ("enable",) and following in ("you", "users", "the", "clients") and "to" in rest[:3]):
                return _Action(verb, rest)
        if singular(token) in NOUNS and following in ("", "of", "for", "a", "an", "the"):
            return _Action("create", [token])
        if token in (".", ";") or (token.isalpha() and token not in _FILLERS):
            break
    if 1 < len(tokens) <= 4 and tokens[-1] in INFLECTED and INFLECTED[tokens[-1]].form == "base":
        verb = tokens[-1]
        return _Action(verb, tokens[:-1]) if verb not in AMBIGUOUS else None
    if 1 < len(tokens) <= 4 and tokens[-1] in NOUNS and tokens[-1] not in AMBIGUOUS:
        return _Action("create", tokens)
    return None


def _by_segments(path: str, segments: Sequence[str], method: str, said: Sequence[_Action]) -> str:
    """Family that the path alone tells: a verb among its segments, or a collection of what destroys."""
    if any(CLASS.get(action.verb) == "read" for action in said):
        return ""
    for segment in segments:
        words = words_of(segment)
        while len(words) > 1 and words[0] in _MODIFIERS:
            words = words[1:]
        if words and words[0] in FAMILY and words[0] not in AMBIGUOUS:
            return FAMILY[words[0]]
    if method != "POST" or path.endswith("}") or not segments:
        return ""
    if any(CLASS.get(action.verb) == "update" for action in said):
        return ""
    noun = singular((words_of(segments[-1]) or [""])[-1])
    return FAMILY[NOUNS[noun]] if noun in NOUNS else ""
