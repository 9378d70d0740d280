"""The examples of docs/api.md: each curl command with the answer that stands below it.

`examples` reads them, `ask` sends one to an application and holds its answer against the page: the same status, the
same names, the same words; numbers, ids and what a ranker says may differ, in their kind they may not. A list that
ends in "..." goes on.
"""

from __future__ import annotations

import dataclasses
import json
import re
import shlex
from collections.abc import Iterator
from typing import Any

import httpx2

from tests.conftest import ROOT

PAGE = ROOT / "docs" / "api.md"
HOST = "localhost:8000"
# Strings that differ from run to run, or with the next ranker; and what may have more or fewer entries.
_VARIES = {"prediction_id", "suggestion_id", "job_id", "request_id", "model_version", "version", "number", "name",
           "champion", "challenger", "previous", "sha256", "fingerprint", "run", "catalog", "reason", "created",
           "resets_at", "day"}  # fmt: skip
_OPEN = {"degraded", "sources", "timings_ms", "decisions", "components", "metrics", "gate", "closed", "tiers",
         "aliases"}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Example:
    """One command and what the page says it answers; `answer` is None where nothing is shown."""

    section: str
    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    status: int
    answer: Any

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


def examples(text: str) -> Iterator[Example]:
    """The examples of the page, in their order."""
    section = ""
    for block in re.split(r"\n(?=## )", text):
        section = block.split("\n", 1)[0].removeprefix("## ")
        pattern = r"^```sh\n(curl .*?)\n```\n(?:\nanswers (\d{3})[^\n]*\n(?:\n```json\n(.*?)\n```)?)?"
        for found in re.finditer(pattern, block, re.MULTILINE | re.DOTALL):
            assert found[2], f"the page does not say what {found[1]!r} answers"
            yield example(section, found[1], int(found[2]), json.loads(found[3]) if found[3] else None)


async def ask(client: httpx2.AsyncClient, example: Example) -> Any:
    """What the application answers; AssertionError where it is not what the page shows."""
    answer = await client.request(example.method, example.path, content=example.body, headers=example.headers)
    assert answer.status_code == example.status, f"{example}: {answer.text}"
    body = answer.json() if answer.content else None
    if example.answer is not None:
        found = list(differences(example.answer, body))
        assert not found, f"{example}: {'; '.join(found)}\n{json.dumps(body)}"
    return body


def example(section: str, command: str, status: int, answer: Any) -> Example:
    """A curl command as what it sends; files it names lie in the checkout."""
    words = iter(shlex.split(command.replace("\\\n", " "))[1:])
    method, path, headers, body = "", "", {}, b""
    for word in words:
        match word:
            case "-s":
                pass
            case "-X":
                method = next(words)
            case "-H":
                name, _, value = next(words).partition(": ")
                headers[name] = value
            case "-d":
                body = next(words).encode()
            case "--data-binary":
                body = (ROOT / next(words).removeprefix("@")).read_bytes()
            case _:
                assert word.startswith(HOST), word
                path = word.removeprefix(HOST)
    return Example(section, method or ("POST" if body else "GET"), path, headers, body, status, answer)


def differences(told: Any, found: Any, place: str = "") -> Iterator[str]:
    """Where an answer is not what a page tells, in words."""
    name = place.rsplit(".", 1)[-1]
    if isinstance(told, dict) and isinstance(found, dict):
        if name not in _OPEN:
            if set(told) != set(found):
                yield f"{place or 'the answer'} has {sorted(found)}, the page {sorted(told)}"
            for key in set(told) & set(found):
                yield from differences(told[key], found[key], f"{place}.{key}")
    elif isinstance(told, list) and isinstance(found, list):
        if name in _OPEN:
            return
        goes_on = told[-1:] == ["..."]
        told = told[:-1] if goes_on else told
        if len(told) > len(found) or (len(told) < len(found) and not goes_on):
            yield f"{place} has {len(found)} entries, the page {len(told)}"
        for one, other in zip(told, found, strict=False):
            yield from differences(one, other, place)
    elif _kind(told) != _kind(found):
        if not (name in _VARIES and None in (told, found)):
            yield f"{place} is {found!r}, on the page {told!r}"
    elif isinstance(told, str) and told != found and name not in _VARIES:
        yield f"{place} is {found!r}, on the page {told!r}"


def _kind(value: Any) -> type:
    return float if isinstance(value, int) and not isinstance(value, bool) else type(value)
