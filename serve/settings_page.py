"""docs/configuration.md: every setting with its value, what it takes and what it is for.

Values and meanings are those of `configs/*.yaml` and its comments, what a key takes is what `pipeline/settings.py`
checks; nothing is said twice. `make docs` writes it: `python -m serve.settings_page`. A test holds the page against it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from pipeline.settings import Settings, resource

_INTRO = """\
# Configuration

What holds is [configs/base.yaml](../configs/base.yaml), changed by one overlay (`--config NAME` or a path; `local`
when none is named), changed by the environment: `OPENSESAME__SECTION__KEY`, such as
`OPENSESAME__STATE__URL=redis://host:6379/0`; lists and mappings are written as JSON there. An unknown key and a value
that is not taken are errors that say so.

    opensesame check-config local

prints what holds in the end. Secrets (`endpoint.api_key`, `privacy.secret`, a password in `state.url`) belong in the
environment, not in a file. Names end in their unit: `_s` seconds, `_bytes`, `_usd`. What each deployment of the graph
has: `replicas` (least and most), `num_cpus` (logical ones of a replica), `max_ongoing_requests` (of a replica).

`make docs` writes this page from the files themselves. [configs/slo.yaml](../configs/slo.yaml) is no configuration
but what a load test is judged against: see [load.md](load.md).
"""


class Key(NamedTuple):
    """A line of a configuration file."""

    path: tuple[str, ...]
    value: Any  # None of a section, whose keys follow
    comment: str


def page() -> str:
    """The whole page, as Markdown."""
    configs = resource("configs")
    schema = Settings.model_json_schema()
    parts = [_INTRO]
    rows: list[str] = []
    for key in read(configs / "base.yaml"):
        if len(key.path) == 1:
            parts.append("\n".join(rows))
            about = f"\n{_sentence(key.comment)}\n" if key.comment else ""
            parts.append(f"\n## `{key.path[0]}`\n{about}")
            rows = ["| key | value | takes | |", "|---|---|---|---|"]
        elif key.value is None:
            rows.append(f"| **{'.'.join(key.path[1:])}** | | | {_cell(key.comment)} |")
        else:
            takes = _takes(_schema_of(schema, key.path), schema)
            rows.append(f"| {'.'.join(key.path[1:])} | {_value(key.value)} | {takes} | {_cell(key.comment)} |")
    parts.append("\n".join(rows))
    parts.append("\n## Overlays\n")
    for file in sorted(configs.glob("*.yaml")):
        if file.stem not in ("base", "slo"):
            parts.append(_overlay(file))
    return "\n".join(part for part in parts if part).rstrip() + "\n"


def read(file: Path) -> Iterator[Key]:
    """The keys of a configuration file, in its order, with their comments."""
    text = file.read_text()
    lines = text.splitlines()

    def walk(node: yaml.MappingNode, path: tuple[str, ...]) -> Iterator[Key]:
        for name, value in node.value:
            here = (*path, name.value)
            if isinstance(value, yaml.MappingNode) and not value.flow_style:
                yield Key(here, None, _comment(lines[name.end_mark.line][name.end_mark.column :]))
                yield from walk(value, here)
            else:
                line = lines[value.end_mark.line][value.end_mark.column :]
                yield Key(here, yaml.safe_load(text[value.start_mark.index : value.end_mark.index]), _comment(line))

    root = yaml.compose(text, Loader=yaml.SafeLoader)
    assert isinstance(root, yaml.MappingNode)
    yield from walk(root, ())


def _overlay(file: Path) -> str:
    first = file.read_text().split("\n", 1)[0]
    rows = [
        f"| {'.'.join(key.path)} | {_value(key.value)} | {_cell(key.comment)} |"
        for key in read(file)
        if key.value is not None
    ]
    head = f"[{file.stem}](../configs/{file.name}): {_sentence(_comment(first))}\n\n| key | value | |\n|---|---|---|\n"
    return head + "\n".join(rows) + "\n"


def _schema_of(schema: dict[str, Any], path: tuple[str, ...]) -> dict[str, Any]:
    node = schema
    for name in path:
        node = _resolved(node, schema)["properties"][name]
    return _resolved(node, schema)


def _resolved(node: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in node:
        node = schema["$defs"][node["$ref"].rsplit("/", 1)[1]]
    return node


def _takes(node: dict[str, Any], schema: dict[str, Any]) -> str:
    """What a value must be, from its JSON schema."""
    node = _resolved(node, schema)
    if "enum" in node:
        return ", ".join(f"`{choice}`" for choice in node["enum"])
    if node.get("type") == "array":
        return f"list of {_takes(node['items'], schema)}"
    if node.get("type") == "object":
        by_name = {name: _takes(inner, schema) for name, inner in node["properties"].items()}
        names = ", ".join(f"`{name}`" for name in by_name)
        return f"{names}: each {' or '.join(dict.fromkeys(by_name.values()))}"
    if node.get("format") == "password":
        return "secret text"
    words = {"integer": "whole number", "number": "number", "string": "text", "boolean": "true or false"}[node["type"]]
    bounds = {"exclusiveMinimum": "above", "minimum": "from", "exclusiveMaximum": "below", "maximum": "to"}
    told = [f"{word} {node[name]:g}" for name, word in bounds.items() if name in node]
    return " ".join([words, *told])


def _value(value: Any) -> str:
    return f"`{json.dumps(value, ensure_ascii=False)}`"


def _comment(line: str) -> str:
    return line.partition("#")[2].strip()


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _sentence(text: str) -> str:
    return (text[:1].upper() + text[1:]).rstrip(".") + "."


if __name__ == "__main__":
    print(page(), end="")
