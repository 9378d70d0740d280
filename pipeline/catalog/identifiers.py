"""Which entity a name speaks of: names of parameters and of response fields, and paths, become keys.

A key is the stems of what is identified: `movie_id` and `/movies/{id}` give ("movi",), `payment_method_id` ("payment",
"method"). Read from names and descriptions only, never from values. Called by `entities.py`.
"""

from __future__ import annotations

import functools
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence, Set

import msgspec

from pipeline.catalog.lexicon import CLASS, word_set
from pipeline.catalog.stem import split_words, stem, stems
from pipeline.keynames import takes_name
from pipeline.types import Operation, Parameter

Key = tuple[str, ...]  # stems: ("movi",), ("payment", "method")

IDENTIFIERS = frozenset({"id", "ids", "key", "keys", "number", "slug", "uuid", "guid", "sid", "uid", "gid", "pk",
                         "username", "login"})  # fmt: skip
_REFERENCES = frozenset({"ref", "reference"})  # identifiers where a noun stands before: clientRef
# Identifiers only as path parameters.
_NAMES = frozenset({"name", "code", "handle", "identifier", "index", "no", "nr", "num", "arn"})
SEARCHES = frozenset({"q", "query", "search", "keyword", "keywords", "term"})  # what takes free text
_TEXTS = frozenset({"text", "string", "term", "query", "word", "words", "phrase"})  # `search_text`, `queryString`
_TEXT_WORDS = 2  # `{query}`, `{search_term}`; of more words it names a search that is kept
_PLACED = frozenset({"id", "ids", "uuid", "guid", "key", "slug"})  # last words of what a place can say better
_GLUED = re.compile(r"([a-z]{4,40})(ids?|name)")  # orderid, queuename
_NOT_GLUED = word_set(
    "invalid hybrid android prepaid unpaid postpaid repaid asteroid steroid centroid pyramid openid liquid orchid "
    "tabloid humanoid thyroid aaguid username"
)
_WRAPPERS = frozenset({"data", "item", "items", "result", "results", "response", "list", "records", "content", "value",
                       "values", "entries", "hits", "rows", "objects", "payload", "embedded"})  # fmt: skip
_LINK = re.compile(r"\]\([^)]{0,200}\)|[\[\]`*]")  # of Markdown, less its text
_ID_OF = re.compile(
    r"(?i)\b(?:ids?|identifiers?|uuids?|guids?|keys?|numbers?|slugs?)\b(?: \w+)? (?:of|for)"
    r"(?: the| an?| this| one| each| your)? (\w+)"
)
_BEFORE_ID = re.compile(r"(?i)\b(\w+)(?: \w+)? (?:ids?|identifiers?|uuids?|guids?)\b")
_EITHER = re.compile(r"(?i)\b(\w+) or (?:the |an? )?(\w+)")
_IS_ID = re.compile(r"(?i)\b(?:ids?|identifiers?|uuids?|guids?)\b")
_SINGLE = frozenset({"string", "integer", "any"})  # types of one identifier
PLAIN = 0.35  # the grade of a field whose name speaks of no identifier
_QUOTED = re.compile(r"['\"`]([^'\"`\s]{3,40})['\"`]")  # an example in a description
_NOT_CODED = re.compile(r"[\d:.,/TZ-]{1,20}(?<!\d{6})")  # a number, a day, an hour
_LABELS = frozenset(map(stem, ("number", "code", "no", "locator", "token", "reference", "id", "key", "name")))
_EXAMPLES = re.compile(r"[.,;:(]| such as | like | e\.g")  # what a description says first ends here
_OF_THE = re.compile(r"\b(?:of|for) (?:the|an?|one|your|this) (.{1,60})")
_SAID = word_set(  # words of arguments that no other operation supplies
    "email mail phone telephone mobile zip zipcode postcode postal date day time week month year amount price total "
    "cost url city state country name expression summary origin destination currency language"
)
_MADE_UP = frozenset(map(stem, ("idempotency", "correlation", "nonce")))  # values that callers invent
_ACTIONS = frozenset(
    map(stem, ("get", "list", "create", "update", "delete", "find", "search", "add", "set", "remove", "fetch", "read",
               "show", "retrieve", "lookup", "post", "put", "patch", "modify", "check", "new", "all", "detail",
               "verify", "identify", "validate", "authenticate", "query", "describe", "browse"))
)  # fmt: skip
_ROOT = 0.25  # of the operations, whose paths begin with a root
_APART = 2  # literals between two parameters that are no pair any more
_PATH_PARAMETER = re.compile(r"\{([^{}/]*)\}")
_DOTTED = re.compile(r"[A-Za-z]\w*(?:\.[A-Za-z]\w*)+")  # conversations.list
_FILES = word_set("json xml html htm php csv txt asp aspx jsp yaml do")  # what a path ends in beside its words


def takes_text(name: str) -> bool:
    """Whether an argument of that name takes what is searched for in words."""
    if name.lower() in SEARCHES:
        return True
    said = split_words(name)
    return len(said) == _TEXT_WORDS and said[0] in SEARCHES and said[1] in _TEXTS


def undotted(operations: Sequence[Operation]) -> list[str]:
    """Their paths, with a slash for each dot of the last segment where most of them end in words joined by dots.

    So remote procedures are called (`/conversations.list`); a lone `/stream.aac` or a domain is left as it is.
    """
    paths = [operation.path for operation in operations]
    parted = [_undotted(path) for path in paths]
    longer = sum(new.count("/") > path.count("/") for new, path in zip(parted, paths, strict=True))
    return parted if 2 * longer > len(paths) else paths


def about(operations: Sequence[Operation]) -> tuple[Operation, ...]:
    """The operations, each dotted path without its verb: `/conversations.list` is about `/conversations`."""
    found: list[Operation] = []
    for operation, path in zip(operations, undotted(operations), strict=True):
        if path != operation.path:
            before, _, last = path.rpartition("/")
            is_verb = path.count("/") > operation.path.count("/") and last.lower() in CLASS
            found.append(msgspec.structs.replace(operation, path=before if is_verb else path))
        else:
            found.append(operation)
    return tuple(found)


def _undotted(path: str) -> str:
    before, _, last = path.rpartition("/")
    if not _DOTTED.fullmatch(last):
        return path
    words = last.split(".")
    return "/".join([before, *(words[:-1] if words[-1].lower() in _FILES else words)])


@functools.lru_cache(maxsize=16384)
def identifier(name: str, in_path: bool) -> Key | None:
    """The key a parameter name speaks of: () for a bare identifier, None for what identifies nothing."""
    words = _parted(name)
    if not words:
        return None
    last = words[-1]
    is_reference = len(words) > 1 and (last in _REFERENCES or (in_path and last == "token"))
    if last in IDENTIFIERS or is_reference or (in_path and last in _NAMES):
        return tuple(map(stem, words[:-1]))
    return tuple(map(stem, words)) if in_path else None


def _parted(name: str) -> list[str]:
    """The words of a name, an id or name that is glued to the last one apart."""
    words = split_words(name)
    glued = _GLUED.fullmatch(words[-1]) if words and words[-1] not in _NOT_GLUED else None
    return [*words[:-1], *glued.groups()] if glued else words


@functools.lru_cache(maxsize=16384)
def resource_key(path: str) -> Key:
    """What a path is about: the nouns of its last literal segment."""
    for segment in reversed(path.split("/")):
        if segment and "{" not in segment:
            words = stems(segment)
            return tuple(w for w in words if w not in _ACTIONS) or words
    return ()


def need(path: str, parameter: Parameter, nouns: Set[Key], kinds: Sequence[str] = ()) -> Key | None:
    """What a parameter identifies, if anything: by its name; a bare id by its description, else by the path.

    An id "of the artist or the user" is of the first of `kinds` that is one of them, stems of what the operation can be
    asked for by kind; without one it is no need.

    `nouns` are those of all paths of the catalog; a required argument that is called as one of them identifies one if
    its description says that it is an id ("channel": "ID of the conversation").
    A search text in a path is none.
    """
    in_path = parameter.location == "path"
    if in_path and (said := split_words(parameter.name)) and said[-1] in SEARCHES and len(said) <= _TEXT_WORDS:
        return None
    key = identifier(parameter.name, in_path)
    if key is None and parameter.required and not parameter.enum and parameter.type in _SINGLE:
        if not _IS_ID.search(_LINK.sub("", parameter.description)):
            return None
        words = tuple(map(stem, split_words(parameter.name)))
        return next((words[i:] for i in range(len(words)) if words[i:] in nouns), None)
    if key and not in_path and key[-1:] not in nouns and _parted(parameter.name)[-1] in _REFERENCES:
        return None  # the reference of a payment may be anything
    if key == ():
        own = resource_key(path.split("{" + parameter.name + "}")[0] if in_path else path)
        told = _described(own, parameter.description, nouns)
        if len(told) > 1:
            return next(((kind,) for kind in kinds if kind in told), None)
        key = told or own or (stem(parameter.name.lower()),)
    return key


def coded(operations: Sequence[Operation], nouns: Set[Key]) -> dict[str, Key]:
    """What arguments identify whose names do not say so, by name (`pnr`: "Locator of the booking, as 'K7QX2M'").

    They are required of two operations or more, their example is quoted and has a digit, and what they are said to be
    of stands in the paths.
    """
    told: dict[str, list[str]] = {}
    for operation in operations:
        for p in operation.parameters:
            is_text = p.type in ("string", "any") and not p.enum and p.location in ("query", "body")
            if p.required and is_text and need(operation.path, p, nouns) is None:
                told.setdefault(p.name, []).append(p.description)
    literals = {part for operation in operations for part in operation.path.split("/") if "{" not in part}
    spoken = {word for part in literals for word in stems(part)} - _ACTIONS - _LABELS
    found: dict[str, Key] = {}
    for name, descriptions in told.items():
        description = max(descriptions, key=len)
        examples = [e for e in _QUOTED.findall(description) if any(map(str.isdigit, e)) and not _NOT_CODED.fullmatch(e)]
        if len(descriptions) > 1 and examples and _SAID.isdisjoint(split_words(name)):
            head = _EXAMPLES.split(description)[0]
            of = _OF_THE.search(head)
            of_it = [word for word in stems(of[1]) if word in spoken][:1] if of else []
            heads = [word for text in (name, head) for word in stems(text)[::-1] if word in spoken]
            if words := of_it + heads:
                found[name] = (words[0],)
    return found


def listed(operations: Sequence[Operation]) -> dict[str, Key]:
    """What required texts identify that are called as what answers hold with an id: `channel` by `channels[].id`."""
    ids = (field.split(".") for o in operations for field in o.response_fields if field.endswith(".id"))
    held = frozenset(stems(name) for name in {parts[-2] for parts in ids} if name.lower() not in _WRAPPERS)
    found: dict[str, Key] = {}
    for p in (p for operation in operations for p in operation.parameters):
        is_text = p.required and p.type == "string" and not p.enum and p.location in ("query", "body")
        if is_text and "name" not in p.description.lower() and (key := stems(p.name)) in held:
            found[p.name] = key
    return found


def place(path: str, name: str) -> str:
    """The path up to a parameter, parameters blanked."""
    return _PATH_PARAMETER.sub("{}", path.split("{" + name + "}")[0])


def places(operations: Iterable[Operation], nouns: Set[Key]) -> dict[tuple[str, str], Key]:
    """What a path parameter identifies whose name alone says something else, by `place` and name.

    Where others at the same place of a path are called after its noun: beside `/issues/{issue_id}` the `noteable_id` of
    `/issues/{noteable_id}/notes` is an issue's; a parent's id there may well be another thing's. Where the name begins
    with the noun (`/subscriptions/{subscription_exposed_id}`). And where it is short for several:
    `/payment_intents/{intent}` beside `/setup_intents/{intent}`.
    """
    names: dict[str, set[str]] = {}
    for operation in operations:
        before, *after = _PATH_PARAMETER.split(operation.path)
        for name, behind in zip(after[::2], after[1::2], strict=True):
            names.setdefault(before, set()).add(name)
            before += "{}" + behind
    found: dict[tuple[str, str], Key] = {}
    short: dict[Key, dict[Key, list[tuple[str, str]]]] = {}  # what ends the nouns of collections -> these -> where
    for before, some in names.items():
        own = resource_key(before) if before.endswith("/") and before[:-1][-1:] != "}" else ()
        keys = {name: identifier(name, True) or own for name in some}
        for name, key in keys.items():
            if key == own:
                continue
            words = split_words(name)
            is_beside = len(some) > 1 and own in keys.values() and words[0] != "parent"
            is_longer = key[: len(own)] == own and key not in nouns
            if own and words[-1] in _PLACED and (is_beside or is_longer):
                found[before, name] = own
            elif len(key) < len(own) and own[-len(key) :] == key:
                short.setdefault(key, {}).setdefault(own, []).append((before, name))
    for wholes in short.values():
        if len(wholes) > 1:
            found.update((at, own) for own, where in wholes.items() for at in where)
    return found


def named_keys(
    operations: Sequence[Operation], number_of: Callable[[Operation, Parameter], int]
) -> tuple[Set[int], tuple[tuple[int, int], ...], Set[int]]:
    """Keys that go by names in paths; (owner, key) of those right behind another one, best first; the roots.

    Neighbours without a literal between them are better pairs (`/{owner}/{repo}`), then the more frequent ones. A root
    stands first in many of the paths: what an API is all about. `number_of` is below 0 for what is no key.
    """
    uses, first = Counter[int](), Counter[int]()  # by name less those by a number or another id
    pairs: Counter[tuple[bool, int, int]] = Counter()
    for operation in operations:
        taken = {p.name: p for p in operation.parameters if p.location == "path"}
        before, literals = -1, 0
        for segment in operation.path.split("/"):
            parameter = taken.get(segment[1:-1]) if segment[:1] == "{" else None
            if parameter is None:
                literals += 1
                continue
            number = number_of(operation, parameter)
            uses[number] += 1 if takes_name(parameter) else -1
            if before >= 0 and literals < _APART:
                pairs[literals > 0, before, number] += 1
            elif before < 0:
                first[number] += 1
            before, literals = number, 0
    named = {number for number, count in uses.items() if count > 0 <= number}
    ranked = sorted((p for p in pairs if {p[1], p[2]} <= named), key=lambda pair: (pair[0], -pairs[pair], pair))
    roots = {number for number, count in first.items() if _ROOT * len(operations) <= count}
    return named, tuple(pair[1:] for pair in ranked), roots & named


def is_new(operation: Operation, parameter: Parameter, key: Key) -> bool:
    """Whether the parameter identifies nothing there is: its caller makes it up, or the call makes what it identifies.

    `POST /user/keys` takes the key; below one thing an id is rather of another that is put there
    (`POST /teams/{team_id}/members` with a `member_id`).
    """
    if key[0] in _MADE_UP:
        return True
    if operation.verb != "create" or parameter.location != "body" or key != resource_key(operation.path):
        return False
    is_bare = identifier(parameter.name, False) == () and parameter.name.lower() not in ("id", "ids")
    return is_bare or "{" not in operation.path


@functools.lru_cache(maxsize=65536)
def field_keys(field: str) -> tuple[tuple[Key, float], ...]:
    """Keys a response field supplies, with grades; () as key is the operation's own resource."""
    parts = field.split(".")
    leaf = _parted(parts[-1])
    if not leaf:
        return ()
    if leaf[-1] in IDENTIFIERS or leaf == ["name"] or (len(leaf) > 1 and leaf[-1] in _REFERENCES):
        grade = 1.0 if leaf != ["name"] else 0.6
        if len(leaf) > 1:
            return ((tuple(map(stem, leaf[:-1])), grade),)
        parents = [p for p in parts[:-1] if p.lower().strip("_") not in _WRAPPERS]
        if not parents:
            return (((), 0.9 * grade),)
        return ((tuple(map(stem, split_words(parents[-1]))), grade),)
    return ((tuple(map(stem, leaf)), PLAIN),)


def nouns_of(path: str) -> list[Key]:
    """What the literal segments of a path may be called: of each the last stem, the last two ... all."""
    parts = [stems(part) for part in path.split("/") if part and "{" not in part]
    return [words[i:] for words in parts for i in range(len(words))]


def _described(own: Key, description: str, nouns: Set[Key]) -> tuple[str, ...]:
    """What the description of a bare id says it is of, where that is something else in this catalog's paths.

    Several stems where it is of the one or the other.
    """
    text = _LINK.sub("", description)
    if not text or (own and own[-1] in stems(text)):
        return ()
    said = (stem(word.lower()) for pattern in (_ID_OF, _BEFORE_ID) for word in pattern.findall(text))
    told = next((word for word in said if (word,) in nouns), None)
    if told is None:
        return ()
    for either in _EITHER.findall(text):
        both = tuple(stem(word.lower()) for word in either)
        if told in both and all((word,) in nouns for word in both):
            return both
    return (told,)
