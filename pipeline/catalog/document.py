"""The bytes of a spec become plain dicts and lists, or a sentence saying why they cannot.

JSON goes through orjson; YAML is built from libyaml's events. What the document means is left to `operations`; nothing
is fetched. Called by `parse_spec` only.
"""

from __future__ import annotations

import codecs
import json
import math
import re
from collections import Counter
from typing import TYPE_CHECKING, Any

import orjson

from pipeline.catalog.schema import escape
from pipeline.errors import SpecInvalid, TooLarge

if TYPE_CHECKING:
    from pipeline.settings import Parse

_MERGED_MAX = 100_000  # entries that merge keys (`<<`) may copy in one document
_NOTES_MAX = 100


def load(data: bytes, limits: Parse, notes: list[str]) -> Any:
    """The document as dicts with text keys, lists and scalars; `notes` receives what was left out.

    Raises:
        SpecInvalid: neither JSON nor YAML, not text, or nested, aliased or merged beyond reason.
        TooLarge: more YAML than `limits.yaml_events_max`.
    """
    text = _text(data)
    start = text.lstrip()[:1]
    if not start:
        raise SpecInvalid("The document is empty.")
    if start == b"<" and not text.lstrip().startswith(b"<<"):
        raise SpecInvalid("This is a web page or XML, not an OpenAPI document: give the raw JSON or YAML file.")
    return _json(text, limits, notes) if start in (b"{", b"[") else _yaml(text, limits, notes)


def _text(data: bytes) -> bytes:
    """The same text in UTF-8 without a byte order mark."""
    if data.startswith(b"\x1f\x8b"):
        raise SpecInvalid("The document is gzip-compressed: send it expanded, or with Content-Encoding: gzip.")
    encoding = "utf-16" if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8"
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        raise SpecInvalid(f"The document is not {encoding.upper()} text.", f"byte {error.start}") from None
    if "\x00" in text:
        raise SpecInvalid("The document is binary, not JSON or YAML text.", f"character {text.index(chr(0))}")
    return data if encoding == "utf-8" and not text.startswith("\ufeff") else text.lstrip("\ufeff").encode()


def _json(text: bytes, limits: Parse, notes: list[str]) -> Any:
    try:
        document = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        if "depth limit" in error.msg:
            raise SpecInvalid(f"The JSON is nested deeper than {limits.depth_max} levels.") from None
        where = f"line {error.lineno}, column {error.colno}"
        raise SpecInvalid(f"The JSON is broken or cut off: {error.msg}.", where) from None
    level: list[Any] = [document]
    keys = 0
    for _ in range(limits.depth_max + 1):
        if not level:
            if _keys_written(text) > keys:
                try:
                    notes.extend(_repeated(text))
                except RecursionError:  # in what an equal key has replaced; how deep that may be is not ours to say
                    notes.append("a key stands twice; the last one counts")
            return document
        keys += sum([len(node) for node in level if type(node) is dict])
        level = [
            child
            for node in level
            for child in (node.values() if type(node) is dict else node if type(node) is list else ())
            if type(child) is dict or type(child) is list
        ]
    raise SpecInvalid(f"The JSON is nested deeper than {limits.depth_max} levels.")


def _keys_written(text: bytes) -> int:
    """How many keys a JSON text writes, or fewer: a quote within a string has a backslash before it."""
    return sum(text.count(b'"' + colon) - text.count(b'\\"' + colon) for colon in (b":", b" :"))


def _repeated(text: bytes) -> list[str]:
    """Which keys of a JSON text stand twice: read anew, for orjson keeps the last of equal ones without a word."""
    twice: dict[int, tuple[Any, list[tuple[str, Any]]]] = {}  # the object is held, so that its id stays its own

    def object_of(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        node = dict(pairs)
        if len(node) < len(pairs):
            twice[id(node)] = node, pairs
        return node

    notes: list[str] = []
    document = json.loads(text, object_pairs_hook=object_of, parse_int=str, parse_float=str)
    stack: list[tuple[str, Any]] = [("#", document)]
    while stack and len(notes) < _NOTES_MAX:
        pointer, node = stack.pop()
        counts = Counter(name for name, _ in twice[id(node)][1]) if id(node) in twice else Counter[str]()
        for name, count in counts.items():
            if count > 1:
                notes.append(f"key {name[:100]!r} stands twice in {pointer}; the last one counts")
        children = node.items() if type(node) is dict else enumerate(node) if type(node) is list else ()
        stack += [(f"{pointer}/{escape(str(name))}", child) for name, child in children]
    return notes[:_NOTES_MAX]


# YAML 1.2's core schema (10.3.2), by the first character of a plain scalar
_PLAIN_WORDS = {"": None, "~": None} | {
    form: value
    for word, value in (("null", None), ("true", True), ("false", False))
    for form in (word, word.title(), word.upper())
}
_INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_NOT_A_NUMBER = re.compile(r"[-+]?\.(?:nan|NaN|NAN|inf|Inf|INF)")
_PLAIN_TAGS = frozenset(f"tag:yaml.org,2002:{name}" for name in ("int", "float", "bool", "null"))
_NUMBER_STARTS = frozenset("-+.0123456789")
_NUMBER_MAX = 40  # characters; longer ones stay text


def _plain(text: str, event: Any) -> Any:
    """The value of an unquoted scalar; dates, `yes` and `1_000` are text, as JSON would have it."""
    if text[:1] not in _NUMBER_STARTS:
        return _PLAIN_WORDS.get(text, text)
    if len(text) > _NUMBER_MAX:
        return text
    try:
        if _INT.fullmatch(text):
            return int(text, 0)
        if _FLOAT.fullmatch(text):
            number = float(text)
            return number if math.isfinite(number) else text
    except ValueError:  # leading zeros: 007 is text
        return text
    if _NOT_A_NUMBER.fullmatch(text):
        raise SpecInvalid(f"{text} is no JSON number.", _line(event))
    return text


class _Open:
    """A mapping or sequence that the events have not ended yet."""

    __slots__ = ("container", "key", "merges")

    def __init__(self, container: dict[str, Any] | list[Any]) -> None:
        self.container = container
        self.key: Any = _NO_KEY
        self.merges: list[Any] = []


_NO_KEY, _MERGE, _LEFT_OUT = object(), object(), object()


def _yaml(text: bytes, limits: Parse, notes: list[str]) -> Any:
    """Build the document from libyaml's events, without recursion.

    PyYAML's own loader recurses in C and dies of 50,000 brackets; this is also three times as fast, and each limit is
    met before the memory is spent. Keys are the text that is written (`200:` is "200").
    """
    import yaml  # JSON, by far the commoner, need not wait for it

    try:
        return _Builder(limits, notes).build(yaml, text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or str(error)
        where = f"line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise SpecInvalid(f"This is neither JSON nor readable YAML: {problem}.", where) from None


class _Builder:
    def __init__(self, limits: Parse, notes: list[str]) -> None:
        self._limits = limits
        self._notes = notes
        self._document: Any = None
        self._open: list[_Open] = []
        self._anchors: dict[str, Any] = {}
        self._merged = 0

    def build(self, yaml: Any, text: bytes) -> Any:
        limits, stack = self._limits, self._open
        aliases = documents = 0
        for count, event in enumerate(yaml.parse(text, Loader=yaml.CSafeLoader), 1):
            kind = type(event)
            if kind is yaml.ScalarEvent:
                self._scalar(event)
            elif kind is yaml.MappingStartEvent or kind is yaml.SequenceStartEvent:
                container: dict[str, Any] | list[Any] = {} if kind is yaml.MappingStartEvent else []
                if event.anchor is not None:
                    self._anchors[event.anchor] = container
                stack.append(_Open(container))
                if len(stack) > limits.depth_max:
                    raise SpecInvalid(f"The YAML is nested deeper than {limits.depth_max} levels.", _line(event))
            elif kind is yaml.MappingEndEvent or kind is yaml.SequenceEndEvent:
                ended = stack.pop()
                if ended.merges:
                    self._merge(ended, event)
                self._place(ended.container, event)
            elif kind is yaml.AliasEvent:
                aliases += 1
                if aliases > limits.yaml_aliases_max:
                    raise SpecInvalid(f"The YAML uses more than {limits.yaml_aliases_max} aliases.", _line(event))
                if event.anchor not in self._anchors:
                    raise SpecInvalid(f"The YAML alias *{event.anchor[:100]} has no anchor.", _line(event))
                self._place(self._anchors[event.anchor], event)
            elif kind is yaml.DocumentStartEvent:
                documents += 1
                if documents > 1:
                    raise SpecInvalid("The YAML holds several documents: send one.", _line(event))
            if count > limits.yaml_events_max:
                raise TooLarge(f"The YAML is larger than {limits.yaml_events_max} events.")
        return self._document

    def _scalar(self, event: Any) -> None:
        text = event.value
        is_plain = event.implicit[0]
        if self._open:
            top = self._open[-1]
            if type(top.container) is dict and top.key is _NO_KEY:
                top.key = _MERGE if text == "<<" and is_plain else text
                if top.key in top.container and len(self._notes) < _NOTES_MAX:
                    self._notes.append(f"{_line(event)}: key {text[:100]!r} stands twice; the last one counts")
                if event.anchor is not None:
                    self._anchors[event.anchor] = text
                return
        tag = event.tag
        if (is_plain and tag is None) or tag in _PLAIN_TAGS:
            text = _plain(text, event)
        if event.anchor is not None:
            self._anchors[event.anchor] = text
        self._place(text, event)

    def _place(self, value: Any, event: Any) -> None:
        """Put a finished value where it belongs; as a key only text will do."""
        if not self._open:
            self._document = value
            return
        top = self._open[-1]
        if type(top.container) is list:
            top.container.append(value)
        elif top.key is _NO_KEY:
            top.key = value if type(value) is str else _LEFT_OUT
            if top.key is _LEFT_OUT and len(self._notes) < _NOTES_MAX:
                self._notes.append(f"{_line(event)}: a key that is no text is left out")
        else:
            if top.key is _MERGE:
                top.merges.extend(value if type(value) is list else [value])
            elif top.key is not _LEFT_OUT:
                top.container[top.key] = value  # type: ignore[call-overload]
            top.key = _NO_KEY

    def _merge(self, ended: _Open, event: Any) -> None:
        """Copy what the merged mappings have and this one lacks (YAML 1.1, merge key), within a budget."""
        for donor in ended.merges:
            if type(donor) is not dict:
                if len(self._notes) < _NOTES_MAX:
                    self._notes.append(f"{_line(event)}: a merge of no mapping is left out")
                continue
            self._merged += len(donor)
            if self._merged > _MERGED_MAX:
                raise SpecInvalid(f"The YAML's merge keys copy more than {_MERGED_MAX} entries.", _line(event))
            for name, value in donor.items():
                ended.container.setdefault(name, value)  # type: ignore[union-attr]


def _line(event: Any) -> str:
    return f"line {event.start_mark.line + 1}"
