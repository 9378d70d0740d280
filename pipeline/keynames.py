"""Names by which a prompt calls things, where an API takes names: "project web", "the web repo", "acme/web", "prod".

Read from the prompt alone; whether an API has such a thing is for those who ask: `catalog/mentions.py` learns from them
which entities a prompt identifies, `candidates/wish.py` which argument takes which name.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator

import msgspec

from pipeline.types import Parameter

_PROMPT_MAX = 2048  # characters that are read
_NAMES_MAX = 16


def _set(text: str) -> frozenset[str]:
    return frozenset(text.split())


_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
# What people name, so that a path's `{project}` takes the name.
_THINGS = _set(
    "repo repository project org organization organisation team group workspace namespace owner user member app "
    "application service environment env cluster bucket queue topic stream channel branch tag package image pipeline "
    "workflow board page wiki space site domain zone database db table collection index label milestone host node "
    "secret volume vault instance function stack tenant forum community subreddit blog author creator account "
    "username login handle person slug area room server stage region"
)
_NAMING = _set("name slug login username handle owner repo org namespace nickname shortname")  # last words of names
_OPAQUE = _set(
    "id ids uuid guid sid uid gid pk iid number num index hash sha token date time version email url cursor page "
    "limit offset digest checksum timestamp"
)
_OPAQUE_SAID = re.compile(r"(?i)\b(?:ids?|identifiers?|uuids?|guids?)\b")
_NAMING_SAID = re.compile(r"(?i)\b(?:names?|slugs?|logins?|usernames?|handles?)\b")
_TEXT_FORMATS = _set("uuid date date-time email uri url int32 int64 ipv4 ipv6 binary byte")

PEOPLE = ("user", "owner", "member", "author", "login", "assignee", "reviewer", "collaborator", "username")
_ENVIRONMENTS = _set("production prod staging qa sandbox preprod")
_BRANCHES = _set("main master develop trunk mainline")
_RELEASE = re.compile(r"v\d+(?:\.\d+){0,3}(?:-[\w.]{1,20})?")

# Words that are no name beside a noun: function words, what one does, and how things are.
_NO_NAME = _set(
    "a an the this that these those itself himself herself themselves "
    "it its my our your his her their me us him them i we you they who whom whose what "
    "which where when why how and or but nor so if then than as is are was were be been being am do does did done has "
    "have had having will would can could should may might must shall not no yes to of in on at by for from with "
    "without within into onto over under about after before between during since until till up down out off again "
    "there here all any each every some few many much more most other another such same own only just also too very "
    "please thanks now today tomorrow yesterday tonight soon already still yet ever never week month year day hour "
    "minute morning evening night weekend new old latest last first next previous current recent open opened closed "
    "active inactive archived public private internal default main primary secondary entire whole full empty broken "
    "failed failing stuck stale pending running available missing existing different specific certain right wrong "
    "good bad best top big small large little long short high low free paid single multiple several one two three "
    "four five six seven eight nine ten called named titled labelled labeled tagged via per using like get list find "
    "search show see look give tell create make add set put update change edit modify rename delete remove drop "
    "cancel close start stop restart run rerun retry merge approve reject assign unassign invite revoke rotate scale "
    "deploy promote rollback publish unpublish archive unarchive transfer move copy clone fork star unstar follow "
    "unfollow subscribe unsubscribe lock unlock enable disable turn switch check verify test trigger send post read "
    "write upload download export import let need needs want wants know info information details detail status "
    "settings setting config configuration name names id ids number key keys type value values list lists "
    "state states health availability lifecycle freshness usage title crud suite endpoint endpoints backup backups "
    "exist exists belong belongs belonging shows contains fails hangs registered left both "
    "isn wasn aren weren doesn didn don hasn haven hadn won couldn shouldn wouldn"
)
_ACTS_ON_PEOPLE = _set("follow unfollow following unfollowing invite block unblock mute unmute mention ban unban")
_LEADS = _set("the our my your their his her in on of for from to at into onto this that within inside")
_BEHIND = _set("of in from at on for into onto within inside under")
_ALTERNATIVES = _set(
    "and or his her him he she either yes no true false on off in out read write get set input output up down left "
    "right client server tcp udp ip ci cd text application image audio video multipart w n start end start stop open "
    "close before after old new pro con pass fail km mb gb kb req s h m day hour month year week up enable disable"
)
_NO_OWNERS = _set(
    "feature feat fix bugfix hotfix release releases chore refs heads tags src lib bin docs doc test tests etc usr var "
    "home tmp dev dependabot renovate support experiment refactor "
    "africa america antarctica arctic asia atlantic australia europe indian pacific "
    "http https api config configs scripts app public"
)
# Every repeat is bounded: a prompt may be written to make a search slow.
_PAIR = re.compile(r"(?<![\w./:@-])@?([A-Za-z][\w.-]{0,99})/([A-Za-z][\w.-]{0,99})(?![\w/])")
_ADDRESS = re.compile(r"https?://\S{1,300}|[\w.+-]{1,64}@[\w-]{1,64}(?:\.[\w-]{1,64}){1,5}")
_FILE = re.compile(r".*\.[A-Za-z]{2,}|[A-Z\d]+(?:_[A-Z\d]+)+")  # a host or a file; a variable
_TOKEN = re.compile(r"@?[A-Za-z][\w.+/-]{0,99}|['’]s\b|[,;:!?\"“”]|#?\d[\w.-]{0,60}")
_SHAPED = re.compile(r"(?=.*[\w][-_.]\w|.*\d)[A-Za-z][\w.-]*[A-Za-z0-9]")
_NOUN = re.compile(r"[A-Za-z][a-z]{1,30}|[A-Z]{2,4}")


class Called(msgspec.Struct, frozen=True):
    """A name in a prompt, the nouns beside it, and whether it can hardly be anything else."""

    value: str
    nouns: tuple[str, ...]  # lower case; none: of what it is a name is not said
    is_shaped: bool = False  # "billing-api", no plain word
    is_certain: bool = False  # a plain word that names such a thing everywhere: "main", "production"


class Pair(msgspec.Struct, frozen=True):
    """`owner/value` as a prompt writes it, or "value of owner", and the noun beside it."""

    owner: str
    value: str
    noun: str = ""


@functools.lru_cache(maxsize=16384)
def _named(name: str, description: str, type_: str, format_: str, has_enum: bool) -> bool:
    words = [word.lower() for word in _WORD.findall(name)]
    if not words or has_enum or type_ not in ("string", "any", "") or format_ in _TEXT_FORMATS:
        return False
    last = words[-1]
    if last in _NAMING or (last == "key" and len(words) > 1):
        return True
    if last in _OPAQUE:
        return last == "id" and _NAMING_SAID.search(description) is not None and "uuid" not in description.lower()
    says_name = _NAMING_SAID.search(description) is not None
    return says_name or (last in _THINGS and not _OPAQUE_SAID.search(description))


def takes_name(parameter: Parameter) -> bool:
    """Whether people know what the parameter takes: `{repo}`, `{project_slug}`, a name by its description; no id."""
    return _named(
        parameter.name[:100], parameter.description[:200], parameter.type, parameter.format or "", bool(parameter.enum)
    )


def is_pair(text: str) -> bool:
    """Whether `text` is an `owner/repo` rather than two alternatives, a branch or a folder."""
    left, _, right = text.lower().partition("/")
    is_either = bool({left, right} & _ALTERNATIVES) or {left, right} <= _NO_NAME  # "approve/reject"
    return not is_either and left not in _NO_OWNERS


@functools.lru_cache(maxsize=1024)
def pairs(prompt: str) -> tuple[Pair, ...]:
    """The `owner/name` pairs of a prompt in their order."""
    found: list[Pair] = []
    for match in _PAIR.finditer(prompt[:_PROMPT_MAX]):
        if is_pair(match[0].lstrip("@")) and len(found) < _NAMES_MAX:
            before = re.findall(r"([a-z]+) $", prompt[max(0, match.start() - 24) : match.start()].lower())
            if before in (["branch"], ["ref"]):
                continue
            after = re.findall(r"^ ([a-z]+)", prompt[match.end() : match.end() + 24])
            nouns = [word for word in (*before, *after) if word in _THINGS]
            found.append(Pair(match[1], match[2].rstrip(".-"), nouns[0] if nouns else ""))
    return tuple(found)


@functools.lru_cache(maxsize=1024)
def called(prompt: str) -> tuple[Called, ...]:
    """The names of a prompt in their order, each once; pairs are left to `pairs`."""
    text = _ADDRESS.sub(" , ", prompt[:_PROMPT_MAX])
    tokens = [m[0].rstrip(".+/-") for m in _TOKEN.finditer(_PAIR.sub(lambda m: " , " if is_pair(m[0]) else m[0], text))]
    found: dict[str, Called] = {}
    for called_so in _read(tokens):
        known = found.get(called_so.value)
        if known is None or (called_so.nouns and not known.nouns):
            found[called_so.value] = called_so
        if len(found) >= _NAMES_MAX:
            break
    return tuple(found.values())


def _read(tokens: list[str]) -> Iterator[Called]:
    for i, token in enumerate(tokens):
        lower = token.lower()
        if not token[:1].isalpha() and token[:1] != "@":
            continue
        if token[0] == "@":
            yield Called(token[1:], PEOPLE, True)
            continue
        before = tokens[i - 1] if i else ""
        after = tokens[i + 1] if i + 1 < len(tokens) else ""
        if lower in _ENVIRONMENTS:
            yield Called(token, ("environment", "stage"), is_certain=True)
            continue
        if _RELEASE.fullmatch(token):
            yield Called(token, (*_nouns(before, i > 0), "tag", "release", "version"), True)
            continue
        if "/" in token:
            if before.lower() == "branch" or after.lower() == "branch" or lower.partition("/")[0] in _NO_OWNERS:
                yield Called(token, ("branch", "ref"), True)
            continue
        shaped = _SHAPED.fullmatch(token) is not None
        if lower in _NO_NAME - _BRANCHES or len(lower) < 2 or (not shaped and lower[:-1] in _THINGS):
            continue
        if before.lower() in _ACTS_ON_PEOPLE and lower not in _THINGS:
            yield Called(token, PEOPLE, shaped)
            continue
        if before.lower() in ("called", "named") and i > 1:
            before = tokens[i - 2]
        if lower in _BRANCHES:
            nouns = tuple(word.lower() for word in (before, after) if word.lower() in _THINGS)
            yield Called(token, nouns or ("branch",), is_certain=True)
            continue
        behind = _nouns(before, i > 0) if lower not in _THINGS else ()
        is_led = shaped or before.lower() in _LEADS or before in ("'s", "’s")
        ahead = _nouns(after, True) if is_led and not token.isupper() and not _is_name(tokens[i + 2 : i + 3]) else ()
        if behind and _is_verb_like(tokens, i - 1):
            behind = ()
        nouns = (*behind, *ahead)
        if nouns:
            yield Called(token, nouns, shaped)
        elif not _FILE.fullmatch(token) and (shaped or before.lower() in _BEHIND or after in ("'s", "’s")):
            yield Called(token, (), shaped)


def _nouns(token: str, is_inside: bool) -> tuple[str, ...]:
    """The noun that a token is."""
    lower = token.lower()
    if not is_inside or not _NOUN.fullmatch(token) or lower in _NO_NAME:
        return ()
    return (lower,)


def _is_name(following: list[str]) -> bool:
    """Whether what follows a noun may be the name of that: of "the ruby gem rackety" ruby is none."""
    lower = following[0].lower() if following else ""
    return lower[:1].isalpha() and lower not in _NO_NAME and lower not in _THINGS and lower[:-1] not in _THINGS


def _is_verb_like(tokens: list[str], i: int) -> bool:
    """Whether the word before a name opens the order, as "follow" does: it is no noun."""
    return i == 0 and tokens[0].lower() not in _THINGS
