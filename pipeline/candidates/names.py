"""Names of parameters and path templates, taken apart: what entity a name means, and by which kind of key.

`order_id`, `orderId` and the `{id}` of /orders/{id} all mean entity `order`, kind `id`; so does `orderIdOrKey`, of any
kind. Everything here is a pure function of a string and remembered, as the same names come back with every request;
used by `arguments`.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import re

_WORD = re.compile(r"[A-Z]{2,}s(?![a-z])|[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_APART = re.compile(r"\{([^{}/]*)\}/[^{}/]+/\{([^{}/]*)\}")  # /orgs/{org}/teams/{team}
_PARAMETER = re.compile(r"\{([^{}]*)\}")
_KINDS = {
    "id": "id", "identifier": "id", "uid": "id", "uuid": "id", "guid": "id", "gid": "id", "sid": "id", "pk": "id",
    "number": "number", "num": "number", "no": "number", "index": "number", "iid": "number",
    "key": "key", "slug": "slug", "code": "code", "sha": "sha", "hash": "sha", "name": "name", "login": "name",
}  # fmt: skip
_PLURALS = frozenset(("uris", "apis", "emojis"))  # that end as singulars do
_GLUED = {
    "username": ("user", "name"),
    "userid": ("user", "id"),
    "orgid": ("org", "id"),
    "accountid": ("account", "id"),
    "dateofbirth": ("date", "of", "birth"),
}
# Names that are written as one word in lower case: `firstname`, `closedate`, `postalcode`.
_ONE_WORD = re.compile(
    r"(first|last|middle|given|family|full|display|deal|company|contact|friendly|nick|customer|product)(name)"
    r"|(due|close|start|end|birth|create|order|ship|delivery|expiry|expiration|issue|invoice|payment|pickup|check)(date)"
    r"|(zip|postal|country|currency|language|area|promo|coupon|discount|product|voucher)(code)"
    r"|(phone|mobile|order|invoice|account|tracking|serial|house|flight|room|card|policy)(number)"
    r"|(mobile|home|work|cell)(phone)|(blood|account|room|order|payment|event|card)(type)"
)
_GENERIC_WORDS = (
    "id iid name key number slug code sha type kind value values title body description message text content label "
    "state status sort order direction page perpage limit offset size count url date from to start end since until "
    "before after format version ref path tag note comment data action enabled active public private default color "
    "email position index password secret token scope event events filter fields include expand reason"
)
_GENERIC = frozenset((*_GENERIC_WORDS.split(), "uuid", "guid", "identifier"))
# Who does something goes by many names; one stands in for another where nothing better is known.
PEOPLE = frozenset(("user", "owner", "assignee", "member", "account", "author", "creator", "collaborator", "login"))
_DIRECTIONS = frozenset(("to", "from", "target", "source", "destination", "dest", "src", "parent", "other"))
_KIN = 5  # letters of a noun that another may end in; "port" is no kind of "report"
SELVES = frozenset(("me", "self", "whoami", "myself", "currentuser"))  # paths that answer with who calls
_VERB_WORDS = (
    "get list find search fetch read show create add new make insert update modify edit change set delete remove "
    "cancel return exchange send post put by all details detail info information"
)
_VERBS = frozenset(_VERB_WORDS.split())
# Fields that only wrap what an answer is about.
WRAPPERS = frozenset(
    ("data", "items", "item", "result", "results", "value", "values", "records", "list", "content", "entries", "nodes")
)
# Which kinds of keys a parameter of a kind takes, the best first; "" is a bare noun (`charge`).
KEYS: dict[str, tuple[tuple[str, ...], ...]] = {
    "": (("", "id"), ("key", "slug", "number", "code", "sha"), ("name",)),
    "id": (("id",), ("", "sha")),
    "sha": (("sha",), ("id", "")),
    "number": (("number",), ("",)),
    "key": (("key",), ("", "id")),
    "slug": (("slug",), ("", "name")),
    "code": (("code",), ("",)),
    "name": (("name",), ("", "slug")),
}


@dataclasses.dataclass(frozen=True, slots=True)
class Name:
    """A parameter's name taken apart."""

    full: str  # all words, joined: "orderid"
    entity: str  # "order"; the resource it stands in for a bare id, name, number ...
    kind: str  # id | number | key | slug | code | sha | name | "" for a bare noun
    resource: str  # singular of the literal path segment it stands after, or of the operation's last one
    words: tuple[str, ...]
    is_generic: bool  # says nothing without its resource
    is_plural: bool


@dataclasses.dataclass(frozen=True, slots=True)
class Template:
    """A path template taken apart."""

    path: str
    names: tuple[str, ...]  # of its parameters, in order
    resources: dict[str, str]  # parameter -> the literal before it
    prefixes: tuple[tuple[str, int], ...]  # ("/repos/{}/{}", 2): ends in a parameter; longest first
    pair: tuple[str, str] | None  # the first two parameters that follow one another: ("owner", "repo")
    is_close: bool  # and have no literal between them
    last: str  # last literal segment, without verbs: "order" of /get_order_details
    scopes: dict[str, str]  # parameter -> under which name it limits what belongs together: no `id` limits another's


@functools.lru_cache(maxsize=65536)
def split(raw: str) -> tuple[str, ...]:
    """Lower-case words of an identifier in any case convention."""
    return tuple(word.lower() for word in _WORD.findall(raw))


@functools.lru_cache(maxsize=65536)
def singular(word: str) -> str:
    """A noun's singular, well enough to compare with."""
    if len(word) > 4 and word.endswith("ies"):
        return word[:-3] + "y"
    if len(word) > 4 and word.endswith(("sses", "xes", "ches", "shes", "zes", "uses")):
        return word[:-2]
    if len(word) > 2 and word.endswith("s") and (not word.endswith(("ss", "us", "is")) or word in _PLURALS):
        return word[:-1]
    return word


@functools.lru_cache(maxsize=65536)
def resource_of(segment: str) -> str:
    """The noun a literal path segment is about: "pull" of /pulls, "user" of /find_user_id_by_email."""
    parts = split(segment)
    cut = next((i for i, word in enumerate(parts) if i and word in ("by", "for", "with", "from")), len(parts))
    nouns = [word for word in parts[:cut] if word not in _VERBS]
    if len(nouns) > 1 and nouns[-1] in ("id", "ids"):
        nouns.pop()
    return "".join(singular(word) for word in nouns or parts)


@functools.lru_cache(maxsize=262144)
def name(raw: str, resource: str) -> Name:
    """`raw` taken apart, `resource` being the singular noun it stands after."""
    words = split(raw) or (raw.lower(),)
    words = sum((_GLUED.get(word) or _parts(word) for word in words), ())
    last = singular(words[-1])
    is_plural = last != words[-1]
    kind = _KINDS.get(last, "")
    if kind and words[-2:-1] == ("or",) and words[-3] in _KINDS:  # any key of it will do, as for its bare noun
        noun = "".join(map(singular, words[:-3])) or resource
        return Name(noun, noun, "", resource, words, noun in _GENERIC, is_plural)
    entity = "".join(singular(word) for word in (words[:-1] if kind else words)) or resource
    full = "".join((*words[:-1], last))
    return Name(full, entity, kind, resource, words, full in _GENERIC, is_plural)


def _parts(word: str) -> tuple[str, ...]:
    found = _ONE_WORD.fullmatch(word) if len(word) > 6 else None
    return tuple(part for part in found.groups() if part) if found else (word,)


def directed(taken: Name) -> Name | None:
    """What another one of its kind is: `project_id` of `to_project_id`; None for what names no other one."""
    if len(taken.words) < 2 or taken.words[0] not in _DIRECTIONS:
        return None
    rest = name("_".join(taken.words[1:]), taken.resource)
    return None if rest.is_generic else rest


def is_kind_of(entity: str, other: str) -> bool:
    """Whether an entity is one of another, by the noun that it ends in: `latestcharge`, `kubernetescluster`."""
    return entity.endswith(other) and len(other) >= _KIN and len(entity) > len(other) + 2


@functools.lru_cache(maxsize=65536)
def template(path: str) -> Template:
    """A path template taken apart; a concrete path is one without parameters."""
    names: list[str] = []
    resources: dict[str, str] = {}
    prefixes: list[tuple[str, int]] = []
    built = ""
    literal = previous = ""
    pair: tuple[str, str] | None = None
    for segment in path.strip("/").split("/"):
        found = _PARAMETER.findall(segment)
        built += "/" + _PARAMETER.sub("{}", segment)
        for raw in found:
            resources.setdefault(raw, literal)
            names.append(raw)
        if found and previous:
            resources[previous] = ""  # of {owner}/{repo} only the last one is what the literal names
            pair = pair or (previous, found[0])
        previous = found[-1] if found else ""
        if found:
            prefixes.append((built, len(names)))
        elif not literal or not _VERBS.issuperset(split(segment)):
            literal = resource_of(segment)  # /members/all are members
    is_close = pair is not None
    if pair is None and (apart := _APART.search(path)):
        pair = apart[1], apart[2]
    scopes = {}
    for raw in names:
        taken = name(raw, resources[raw])
        scopes[raw] = f"{taken.resource} {taken.full}" if taken.is_generic else taken.full
    return Template(path, tuple(names), resources, tuple(reversed(prefixes)), pair, is_close, literal, scopes)


@functools.lru_cache(maxsize=4096)
def guess_path_values(path: str) -> tuple[tuple[str, str], ...]:
    """(entity, value) of a concrete path that matched no operation: what has a digit and follows a plain noun."""
    segments = [segment for segment in path.split("/") if segment]
    return tuple(
        (resource_of(noun), value)
        for noun, value in itertools.pairwise(segments)
        if any(c.isdigit() for c in value) and not any(c.isdigit() for c in noun)
    )
