"""Which operation of a catalog a concrete call is: a trie over path segments.

`Matcher(catalog)` is built once per catalog and answers for every call of every query. It knows
paths only: reading the spec is parse.py's, what follows from a match is relations.py's. No text of
a spec becomes a regular expression, and each node of the trie is visited at most once per
traversal, so that a hostile spec costs at most its own size.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, unquote

from pipeline.types import Catalog, Match, Operation

_PATH_MAX = 8192  # characters; common servers refuse longer request lines
_BASES_MAX = 64  # base paths tried; real specs have at most a handful

# Parameters that may swallow several segments although the spec does not mark them: OpenAPI has no
# such mark (OAI/OpenAPI-Specification#892), so their names have to do. Others never swallow, or
# `GET /users/x/bogus` would be taken for `GET /users/{username}` instead of being no operation.
_GREEDY_NAMES = frozenset(
    {"any", "basehead", "branch", "dir", "directory", "file", "folder", "key", "ref", "rest", "splat", "wildcard"}
)
_GREEDY_ENDINGS = ("path", "proxy")


class _Segment(NamedTuple):
    """One segment of a template: literals around names, always one literal more than names."""

    literals: tuple[str, ...]
    names: tuple[str, ...]  # as matches report them
    written: tuple[str, ...]  # as the braces hold them

    @property
    def is_bare(self) -> bool:
        return self.literals == ("", "")

    @property
    def weight(self) -> int:
        return sum(map(len, self.literals))


class _Qualified(NamedTuple):
    """An operation that shares its path with others and differs in the query (`/#Action=Publish`, `/{Bucket}?acl`)."""

    wanted: tuple[tuple[str, str | None], ...]  # name, value; None is any value
    operation: int


class _Tail(NamedTuple):
    """What ends an operation whose last parameter may swallow several segments."""

    method: str
    segment: _Segment  # that holds the parameter
    after: tuple[str, ...]  # literal segments behind it
    operation: int


class _Node:
    __slots__ = ("literals", "operations", "parameter", "partials", "qualified", "tails")

    def __init__(self) -> None:
        self.literals: dict[str, _Node] = {}
        self.parameter: _Node | None = None
        self.partials: dict[tuple[str, ...], _Node] = {}  # most literal first, once built
        self.operations: dict[str, int] = {}  # method -> index
        self.qualified: dict[str, list[_Qualified]] = {}
        self.tails: list[_Tail] = []


class Matcher:
    """The operations of one catalog, ready to be matched."""

    def __init__(self, catalog: Catalog) -> None:
        self._root = _Node()
        self._exact: dict[tuple[str, str], int] = {}
        self._captures: list[tuple[tuple[int, _Segment], ...]] = []  # by operation: segments that hold parameters
        self._has_tails = False
        templates = [_split_template(operation) for operation in catalog.operations]
        has_verbs = any(segments and _is_verb(segments[-1]) for segments, _ in templates)
        for index, (operation, (segments, query)) in enumerate(zip(catalog.operations, templates, strict=True)):
            self._exact.setdefault((operation.method, operation.path), index)
            self._captures.append(tuple((at, s) for at, s in enumerate(segments) if s.names))
            self._insert(operation.method, segments, query, index, has_verbs)
        self._sort_partials()
        bases = {tuple(_read_segment(s, ()) for s in base.split("/") if s) for base in catalog.base_paths[:_BASES_MAX]}
        self._bases = sorted((base for base in bases if base), key=len, reverse=True)

    def match(self, method: str, path: str, params: Mapping[str, Any] | None = None) -> Match | None:
        """The operation that `METHOD path` calls, with its path parameters decoded; None when it is none.

        `path` may be a full URL, may carry or lack a base path, query and fragment; literal segments
        beat parameters, segment by segment. `params` (query and body) decide between operations that
        differ only there. A placeholder left unfilled (`{id}`) yields no parameter.
        """
        if len(path) > _PATH_MAX:
            return None
        method = method.upper()
        exact = self._exact.get((method, path))
        if exact is not None:
            return Match(exact, {})
        segments, query, is_url = _split_path(path)
        given = _Given(query, params)
        methods = (method, "GET") if method == "HEAD" else (method,)
        starts = self._starts(segments, is_url)
        found = [(hit, start) for start in starts if (hit := self._find(segments, start, methods, given)) is not None]
        if found:  # the least that a parameter had to take; the first start wins a tie
            index, start = found[0] if len(found) == 1 else min(found, key=lambda f: len(self._captures[f[0]]))
            return Match(index, self._read(index, segments, start))
        if self._has_tails:
            for start in starts:
                tail = self._find_tail(segments, start, methods)
                if tail is not None:
                    return Match(tail[0].operation, self._read(tail[0].operation, segments, start, tail))
        return None

    def _insert(self, method: str, segments: list[_Segment], query: str, index: int, has_verbs: bool) -> None:
        last = max((at for at, s in enumerate(segments) if s.names), default=-1)
        node = self._root
        for at, segment in enumerate(segments):
            if at == last and _may_swallow(segments, at, has_verbs):
                after = tuple(s.literals[0] for s in segments[at + 1 :])
                node.tails.append(_Tail(method, segment, after, index))
                self._has_tails = True
            if not segment.names:
                node = node.literals.setdefault(segment.literals[0], _Node())
            elif segment.is_bare:
                node.parameter = node.parameter or _Node()
                node = node.parameter
            else:
                node = node.partials.setdefault(segment.literals, _Node())
        if query:
            wanted = tuple((name, value or None) for name, value in parse_qsl(query, keep_blank_values=True))
            wanted = tuple((name, None if value and "{" in value else value) for name, value in wanted)
            node.qualified.setdefault(method, []).append(_Qualified(wanted, index))
        else:
            node.operations.setdefault(method, index)

    def _sort_partials(self) -> None:
        pending = [self._root]
        while pending:
            node = pending.pop()
            ordered = sorted(node.partials.items(), key=lambda item: -sum(map(len, item[0])))
            node.partials = dict(ordered)
            pending.extend(_children(node))

    def _starts(self, segments: list[str], is_url: bool) -> list[int]:
        """Where the template may begin: behind a base path or at once, the likelier first."""
        if not self._bases:
            return [0]
        behind = []
        for base in self._bases:
            if len(base) <= len(segments) and all(
                _read(b.literals, s) is not None for b, s in zip(base, segments, strict=False)
            ):
                behind.append(len(base))
        behind = list(dict.fromkeys(behind))
        return [*behind, 0] if is_url else [0, *behind]

    def _find(self, segments: list[str], start: int, methods: tuple[str, ...], given: _Given) -> int | None:
        end = len(segments)
        pending = [(self._root, start)]
        while pending:
            node, at = pending.pop()
            if at == end:
                for method in methods:
                    if node.qualified and (index := _choose(node, method, given)) is not None:
                        return index
                    if (index := node.operations.get(method)) is not None:
                        return index
                continue
            segment = segments[at]
            at += 1
            # Last in, first out: the parameter is tried after the partial ones, those after the literal.
            if node.parameter is not None:
                pending.append((node.parameter, at))
            if node.partials:
                fitting = [(child, at) for literals, child in node.partials.items() if _read(literals, segment)]
                pending.extend(reversed(fitting))
            child = node.literals.get(segment)
            if child is not None:
                pending.append((child, at))
        return None

    def _find_tail(self, segments: list[str], start: int, methods: tuple[str, ...]) -> tuple[_Tail, int, int] | None:
        """The tail that leaves its parameter the least, and where in `segments` the parameter begins and ends."""
        end = len(segments)
        best: tuple[_Tail, int, int] | None = None
        best_weight = (-1, -1)
        pending = [(self._root, start)]
        while pending:
            node, at = pending.pop()
            for tail in node.tails:
                stop = end - len(tail.after)
                weight = (at + len(tail.after), tail.segment.weight)
                if stop - at < 2 or weight <= best_weight or tail.method not in methods:
                    continue
                if tail.after != tuple(segments[stop:]):
                    continue
                if _read(tail.segment.literals, "/".join(segments[at:stop])) is not None:
                    best, best_weight = (tail, at, stop), weight
            if at == end:
                continue
            segment = segments[at]
            at += 1
            if node.parameter is not None:
                pending.append((node.parameter, at))
            pending.extend((child, at) for literals, child in node.partials.items() if _read(literals, segment))
            child = node.literals.get(segment)
            if child is not None:
                pending.append((child, at))
        return best

    def _read(
        self, index: int, segments: list[str], start: int, tail: tuple[_Tail, int, int] | None = None
    ) -> dict[str, str]:
        values: dict[str, str] = {}
        for at, segment in self._captures[index]:
            text = segments[start + at]
            if tail is not None and start + at == tail[1]:
                text = "/".join(segments[tail[1] : tail[2]])
            if segment.is_bare:
                taken: tuple[str, ...] | None = (text,)
            else:
                taken = _read(segment.literals, text)
            for name, written, value in zip(segment.names, segment.written, taken or (), strict=True):
                if value != f"{{{written}}}":
                    values[name] = value
        return values


class _Given:
    """What a call says beside its path; read only where operations differ in it."""

    __slots__ = ("_params", "_query", "_read")

    def __init__(self, query: str, params: Mapping[str, Any] | None) -> None:
        self._query = query
        self._params = params
        self._read: dict[str, Any] | None = None

    def covers(self, wanted: tuple[tuple[str, str | None], ...]) -> bool:
        if self._read is None:
            self._read = {**dict(parse_qsl(self._query, keep_blank_values=True)), **(self._params or {})}
        given = self._read
        return all(name in given and (value is None or str(given[name]) == value) for name, value in wanted)


def _choose(node: _Node, method: str, given: _Given) -> int | None:
    """The operation whose query words the call has, the most of them; the only one there is needs none."""
    rivals = node.qualified.get(method, ())
    covered = [rival for rival in rivals if given.covers(rival.wanted)]
    if covered:
        return max(covered, key=lambda rival: len(rival.wanted)).operation
    if len(rivals) == 1 and method not in node.operations:
        return rivals[0].operation
    return None


def _children(node: _Node) -> Iterator[_Node]:
    yield from node.literals.values()
    yield from node.partials.values()
    if node.parameter is not None:
        yield node.parameter


def _split_path(path: str) -> tuple[list[str], str, bool]:
    """Decoded segments, query string, and whether it was a full URL."""
    path, _, fragment = path.partition("#")
    path, _, query = path.partition("?")
    is_url = False
    if not path.startswith("/"):
        scheme, separator, rest = path.partition("://")
        if separator and "/" not in scheme:
            path = rest.partition("/")[2]
            is_url = True
    segments = [segment for segment in path.split("/") if segment]
    if "%" in path:
        segments = [unquote(segment) for segment in segments]
    return segments, query or fragment, is_url


def _split_template(operation: Operation) -> tuple[list[_Segment], str]:
    """Segments and query words of a path template; slashes inside braces do not split."""
    declared = tuple(p.name for p in operation.parameters if p.location == "path")
    cut = len(operation.path)
    starts = [0]
    depth = 0
    for at, character in enumerate(operation.path):
        if character == "{":
            depth += 1
        elif character == "}":
            depth = max(0, depth - 1)
        elif depth == 0 and character == "/":
            starts.append(at + 1)
        elif depth == 0 and character in "?#":
            cut = at
            break
    path, query = operation.path[:cut], operation.path[cut + 1 :]
    ends = [start - 1 for start in starts[1:]] + [cut]
    texts = [path[start:end] for start, end in zip(starts, ends, strict=True)]
    return [_read_segment(text, declared) for text in texts if text], query


def _read_segment(text: str, declared: Iterable[str]) -> _Segment:
    literals: list[str] = []
    names: list[str] = []
    written: list[str] = []
    rest = text
    while True:
        before, opened, behind = rest.partition("{")
        inside, closed, after = behind.partition("}")
        if not opened or not closed or not inside:
            literals.append(unquote(rest))
            return _Segment(tuple(literals), tuple(names), tuple(written))
        literals.append(unquote(before))
        written.append(inside)
        names.append(_bare_name(inside, declared))
        rest = after


def _bare_name(written: str, declared: Iterable[str]) -> str:
    """The parameter's name without the mark of a wildcard: `{+path}`, `{path*}`, `{proxy+}`, `{path:path}`."""
    if written in declared:
        return written
    return written.partition(":")[0].strip("+*") or written


def _is_verb(segment: _Segment) -> bool:
    """Whether it ends as Google's custom methods do: `{name}:cancel` (AIP-136)."""
    return bool(segment.names) and segment.literals[-1].startswith(":")


def _may_swallow(segments: list[_Segment], at: int, has_verbs: bool) -> bool:
    """Whether the last parameter, in segment `at`, may stand for several segments.

    Besides marks and names: in specs with custom methods (AIP-136) a parameter right behind the version
    (`/v1/{name}:cancel`, `/v1/{parent}/apps`) is a whole resource name such as `projects/p/apps/a`.
    """
    written, name = segments[at].written[-1], segments[at].names[-1]
    if written.startswith("+") or written.endswith(("*", "+", ":path", ":.*", ":.+")):
        return True
    if has_verbs and at == 1 and not segments[0].names:
        version = segments[0].literals[0]
        if version[:1] == "v" and version[1:2].isdigit():
            return True
    return name.lower() in _GREEDY_NAMES or name.lower().endswith(_GREEDY_ENDINGS)


def _read(literals: tuple[str, ...], text: str) -> tuple[str, ...] | None:
    """What `text` holds between `literals`, each at least a character, earlier ones as long as can be."""
    first, last = literals[0], literals[-1]
    if len(literals) == 1:
        return () if text == first else None
    if not text.startswith(first) or not text.endswith(last):
        return None
    low, high = len(first), len(text) - len(last)
    values: list[str] = []
    for at in range(len(literals) - 2, 0, -1):  # from the right: each literal as far right as what follows allows
        literal = literals[at]
        found = text.rfind(literal, low + at, high - 1)
        if found < 0:
            return None
        values.append(text[found + len(literal) : high])
        high = found
    if high <= low:
        return None
    values.append(text[low:high])
    return tuple(reversed(values))
