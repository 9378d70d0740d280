"""The bytes of a spec become plain dicts and lists, or a sentence saying why they cannot.

JSON goes through orjson, YAML through libyaml behind a scan of its events (50,000 open brackets would
crash the loader's recursion). What the document means is left to `parse`; nothing is fetched. Called by
`parse_spec` only.
"""

from __future__ import annotations

import codecs
import re
from typing import TYPE_CHECKING, Any, ClassVar

import orjson

from pipeline.errors import SpecInvalid, TooLarge

if TYPE_CHECKING:
    from pipeline.settings import Parse

_MERGED_MAX = 100_000  # entries that merge keys (`<<`) may copy in one document


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
    if start == b"<":
        raise SpecInvalid("This is a web page or XML, not an OpenAPI document: give the raw JSON or YAML file.")
    return _json(text, limits) if start in (b"{", b"[") else _yaml(text, limits, notes)


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


def _json(text: bytes, limits: Parse) -> Any:
    try:
        document = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        if "depth limit" in error.msg:
            raise SpecInvalid(f"The JSON is nested deeper than {limits.depth_max} levels.") from None
        where = f"line {error.lineno}, column {error.colno}"
        raise SpecInvalid(f"The JSON is broken or cut off: {error.msg}.", where) from None
    level, depth = [document], 0
    while level:
        depth += 1
        if depth > limits.depth_max:
            raise SpecInvalid(f"The JSON is nested deeper than {limits.depth_max} levels.")
        below: list[Any] = []
        for node in level:
            children = node.values() if type(node) is dict else node
            below.extend([child for child in children if type(child) is dict or type(child) is list])
        level = below
    return document


def _yaml(text: bytes, limits: Parse, notes: list[str]) -> Any:
    import yaml  # JSON, by far the commoner, need not wait for it

    try:
        _scan(yaml, text, limits)
        loader = _loader(yaml)(text)
        try:
            document = loader.get_single_data()
        finally:
            loader.dispose()
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or str(error)
        where = f"line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise SpecInvalid(f"This is neither JSON nor readable YAML: {problem}.", where) from None
    except RecursionError:
        raise SpecInvalid(f"The YAML is nested deeper than {limits.depth_max} levels.") from None
    notes.extend(loader.notes)
    return document


_NOT_A_NUMBER = re.compile(r"[-+]?\.(?:nan|inf)", re.IGNORECASE)


def _scan(yaml: Any, text: bytes, limits: Parse) -> None:
    """Refuse, event by event and without recursion, what would hurt the loader."""
    depth = aliases = documents = 0
    for count, event in enumerate(yaml.parse(text, Loader=yaml.CSafeLoader), 1):
        kind = type(event)
        if kind is yaml.ScalarEvent:
            if event.implicit[0] and event.value[-4:-3] == "." and _NOT_A_NUMBER.fullmatch(event.value):
                raise SpecInvalid(f"{event.value} is no JSON number.", _line(event))
        elif kind is yaml.MappingStartEvent or kind is yaml.SequenceStartEvent:
            depth += 1
            if depth > limits.depth_max:
                raise SpecInvalid(f"The YAML is nested deeper than {limits.depth_max} levels.", _line(event))
        elif kind is yaml.MappingEndEvent or kind is yaml.SequenceEndEvent:
            depth -= 1
        elif kind is yaml.AliasEvent:
            aliases += 1
            if aliases > limits.yaml_aliases_max:
                raise SpecInvalid(f"The YAML uses more than {limits.yaml_aliases_max} aliases.", _line(event))
        elif kind is yaml.DocumentStartEvent:
            documents += 1
            if documents > 1:
                raise SpecInvalid("The YAML holds several documents: send one.", _line(event))
        if count > limits.yaml_events_max:
            raise TooLarge(f"The YAML is larger than {limits.yaml_events_max} events.")


def _line(event: Any) -> str:
    return f"line {event.start_mark.line + 1}"


def _loader(yaml: Any) -> Any:
    """A loader for JSON's types only: dates stay text, `yes` stays text, keys are the text that is written."""

    class Loader(yaml.CSafeLoader):  # type: ignore[misc, name-defined]
        yaml_implicit_resolvers: ClassVar[dict[str, list[Any]]] = {}

        def __init__(self, stream: bytes) -> None:
            super().__init__(stream)
            self.notes: list[str] = []
            self.merged = 0

        def construct_mapping(self, node: Any, deep: bool = False) -> dict[str, Any]:
            mapping: dict[str, Any] = {}
            inherited: list[Any] = []
            for key, value in node.value:
                if not isinstance(key, yaml.ScalarNode):
                    self.notes.append(f"line {key.start_mark.line + 1}: a key that is no text is left out")
                elif key.value == "<<" and key.style not in ("'", '"'):
                    inherited.extend(value.value if isinstance(value, yaml.SequenceNode) else [value])
                else:
                    mapping[key.value] = self.construct_object(value, deep=deep)
            for source in inherited:
                self._inherit(mapping, source)
            return mapping

        def _inherit(self, mapping: dict[str, Any], source: Any) -> None:
            """Copy what `source` has and `mapping` lacks (YAML 1.1 merge key), within a budget."""
            if not isinstance(source, yaml.MappingNode):
                self.notes.append(f"line {source.start_mark.line + 1}: a merge of no mapping is left out")
                return
            donor = self.construct_object(source, deep=True)
            self.merged += len(donor)
            if self.merged > _MERGED_MAX:
                where = f"line {source.start_mark.line + 1}"
                raise SpecInvalid(f"The YAML's merge keys copy more than {_MERGED_MAX} entries.", where)
            for name, value in donor.items():
                mapping.setdefault(name, value)

        def construct_any(self, node: Any) -> Any:
            """A value of a tag that JSON does not know: what its shape says, whatever the tag means elsewhere."""
            if isinstance(node, yaml.MappingNode):
                return self.construct_yaml_map(node)
            return self.construct_yaml_seq(node) if isinstance(node, yaml.SequenceNode) else node.value

        def construct_number(self, node: Any) -> int | float | str:
            try:
                return int(node.value, 0) if node.tag.endswith("int") else float(node.value)
            except ValueError:  # leading zeros, or more digits than Python converts
                return str(node.value)

    def tag(name: str) -> str:
        return f"tag:yaml.org,2002:{name}"

    def resolve(name: str, pattern: str, first: str) -> None:
        Loader.add_implicit_resolver(tag(name), re.compile(pattern), list(first) or [""])

    # YAML 1.2's core schema (10.3.2): first the pattern, then the characters such a scalar can start with
    resolve("null", r"(?:~|null|Null|NULL)\Z", "~nN")
    resolve("null", r"\Z", "")
    resolve("bool", r"(?:true|True|TRUE|false|False|FALSE)\Z", "tTfF")
    resolve("int", r"(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)\Z", "-+0123456789")
    resolve("float", r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?\Z", "-+0123456789.")
    Loader.yaml_constructors = {
        tag("null"): lambda loader, node: None,
        tag("bool"): lambda loader, node: node.value.lower() == "true",
        tag("int"): Loader.construct_number,
        tag("float"): Loader.construct_number,
        tag("map"): Loader.construct_yaml_map,
        tag("seq"): Loader.construct_yaml_seq,
        None: Loader.construct_any,
    }
    return Loader
