"""An operation that comes again: which of its last settings stay, and which thing it is about this time.

Pure; called by `arguments`, which keeps what the session has seen.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence, Set
from typing import Any

from pipeline.candidates import names, parameters
from pipeline.candidates.fitting import fit
from pipeline.candidates.seen import Found, Seen, at, fitting
from pipeline.candidates.wish import Wish
from pipeline.types import Operation, Parameter

READS = frozenset(("GET", "HEAD", "OPTIONS"))
_PAGES = frozenset(("page", "pagenumber", "pageno", "pagenum", "pageindex"))
_OFFSETS = frozenset(("offset", "skip", "startat", "startindex"))
_SIZES = frozenset(("limit", "size", "perpage", "pagesize", "maxresult", "count", "top", "take"))
Done = Sequence[tuple[int, Mapping[str, str]]]  # the calls of one operation, with their arguments as texts


def setting(
    latest: Mapping[str, tuple[int, Mapping[str, Any]]], parameter: Parameter, operation: Operation, place: str = ""
) -> Found | None:
    """What the last call of the operation was given, where that is a setting: a flag, a literal, a number.

    Texts are new with each call; of an optional parameter only a read's settings stay.
    """
    call, sent = latest.get(operation.key, (-1, {}))
    value = at(sent, place) if place else sent.get(parameter.name)
    if value is None or parameter.location == "path" or isinstance(value, (dict, list)):
        return None
    if not parameter.required and operation.method != "GET":
        return None
    if isinstance(value, str) and not parameter.enum:
        return None
    return value, "params", call


def turned(
    latest: Mapping[str, tuple[int, Mapping[str, Any]]], parameter: Parameter, operation: Operation, words: Set[str]
) -> Found | None:
    """Of a read whose next (or previous) page is wanted all as it was, but the page or what is left out before it."""
    step = 1 if "next" in words else -1 if not words.isdisjoint(("previous", "prev")) else 0
    call, sent = latest.get(operation.key, (-1, {}))
    value = sent.get(parameter.name)
    if not step or words.isdisjoint(("page", "pages")) or operation.method != "GET" or parameter.location != "query":
        return None
    if value is None or isinstance(value, (dict, list)):
        return None
    full, number = names.name(parameter.name, "").full, fit(value, Parameter(name="", location="", type="integer"))
    if full in _PAGES | _OFFSETS and number is not None:
        sizes = (v for raw, v in sent.items() if full in _OFFSETS and names.name(raw, "").full in _SIZES)
        size = 1 if full in _PAGES else fit(next(sizes, None), Parameter(name="", location="", type="integer"))
        return None if size is None or number + step * size < 0 else (number + step * size, "params", call)
    return value, "params", call


def freshen(
    operation: Operation, bound: dict[str, Found], done: Done, writes: Sequence[int], wish: Wish, seen: Seen
) -> str:
    """Keeps a call from being repeated as it was, unless a write came in between; `writes` are those calls.

    The argument that says which thing is meant gives way to what the prompt lists behind it, or to another value of
    its name that the operation was not given yet. Without one it is taken out of `bound` and named: the same comes
    again only to see what became of a write right before it, or with other arguments than those of the path.
    """
    needed = [p for p in operation.parameters if p.name in bound and (p.required or p.location == "path")]
    keys = [p.name for p in needed]
    template, is_read = names.template(operation.path), operation.method in READS
    origins = {raw: found[1] for raw, found in bound.items()}
    parameter = parameters.decisive(needed, origins, template.last, is_read)
    if parameter is None:
        return ""
    is_inner = parameter.location == "path" and not operation.path.endswith("}")
    raw = parameter.name
    after = -1 if operation.method == "DELETE" or not writes else writes[-1]
    same = [(i, given) for i, given in done if i >= after and all(str(bound[k][0]) == given.get(k) for k in keys)]
    if not same:
        return ""
    # There is nothing to ask or to do otherwise this time.
    is_plain = same[-1][1].keys() <= set(keys if is_read else template.names)
    is_open = is_plain and _says_which(parameter, operation, origins) and not (is_read and same[0][0] - 1 in writes)
    used = {given[raw] for _, given in done if raw in given}
    if (found := _next(bound[raw], used, parameter, wish)) is not None:
        bound[raw] = found
        return ""
    if is_inner:
        return _drop(raw, bound) if is_open else ""
    name = names.name(raw, template.resources.get(raw, "") if parameter.location == "path" else template.last)
    others = seen.others(name)
    for said in (wish.mention(name, parameter, used), wish.typed(name, parameter, used, others)):
        if said is not None and str(said) not in used and (cast := fit(said, parameter)) is not None:
            bound[raw] = (cast, "prompt", -1)
            return ""
    left = (value for value in seen.values(name, {}) if str(value.value) not in used)
    if (found := fitting(left, parameter)) is not None:
        bound[raw] = found
        return ""
    return _drop(raw, bound) if is_open or parameter.location != "path" else ""


def _next(last: Found, used: Collection[str], parameter: Parameter, wish: Wish) -> Found | None:
    """What the prompt lists behind the thing of last time: "restart worker-a and worker-b"."""
    value = wish.ids.behind(str(last[0]), used)
    cast = None if value is None else fit(value, parameter)
    return None if cast is None else (cast, "prompt", -1)


def _says_which(parameter: Parameter, operation: Operation, origins: Mapping[str, str]) -> bool:
    """Whether a path's argument is no setting and not what the prompt says, and nothing else of the path is open."""
    path = [p for p in operation.parameters if p.location == "path"]
    is_setting = bool(parameter.enum) or parameter.default is not None or parameter.type in ("number", "boolean")
    is_whole = f"/{{{parameter.name}}}/" in f"{operation.path}/"
    return is_whole and not is_setting and origins[parameter.name] != "prompt" and all(p.name in origins for p in path)


def _drop(raw: str, bound: dict[str, Found]) -> str:
    del bound[raw]
    return raw
