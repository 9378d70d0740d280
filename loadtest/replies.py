"""`python -m loadtest.replies`: what a model that knows nothing may write, read as serving reads it.

A random model behind the engine of serving answers the same queries again and again at a high temperature, half of its
replies within the grammar, half without any, many of them cut off. Whatever comes, no pick may name what was not
offered, nothing offered may be outside the spec, and no argument may be one that the operation does not declare: one
that does ends the run with status 1. What a real spec's traffic asks is made by `loadtest.generator`.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console

from loadtest.generator import Shelf, queries, random_model
from pipeline import settings as configuration
from pipeline.candidates.propose import Engine, Proposer, Reply, Weighing, compose
from pipeline.errors import GeneratorError
from pipeline.settings import Settings
from pipeline.types import Catalog, GroundedQuery, Proposal, Query

_TEMPERATURE = 1.0
_DEADLINE_S = 600.0
_START_S = 300.0
_QUERIES = 400  # distinct ones
_AT_ONCE = 64
_out = Console()


class Loose:
    """An engine of which every second reply is written without a grammar; it counts how they ended."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.replies: Counter[str] = Counter()

    async def generate(
        self, messages: Any, schema: dict[str, Any], max_tokens: int, temperature: float, request_id: str
    ) -> Reply:
        is_free = self.replies.total() % 2 == 1
        kind = "free" if is_free else "in the grammar"
        self.replies[kind] += 1  # before it is awaited: others count meanwhile
        asked = {} if is_free else schema
        try:
            reply = await self._engine.generate(messages, asked, max_tokens, temperature, request_id)
        finally:
            self.replies[kind] -= 1
        self.replies[f"{kind}, {'cut off' if reply.finish == 'length' else 'ended'}"] += 1
        return reply

    async def weigh(self, messages: Any, marks: Sequence[str], request_id: str) -> Weighing:
        return await self._engine.weigh(messages, marks, request_id)


def faults(proposal: Proposal, query: Query, grounded: GroundedQuery, settings: Settings, spec: Catalog) -> list[str]:
    """What of a proposal is not of its spec, or was not offered."""
    offered = set(compose(settings.generator, query, grounded, None).options.indexes)
    declared = {o.key: {p.name for p in o.parameters} for o in spec.operations}
    found = []
    for index, arguments, _ in proposal.picks:
        if index not in offered:
            found.append(f"{index} was not offered")
            continue
        operation = grounded.candidates[index].operation
        if operation not in declared:
            found.append(f"{operation} is not in the spec")
        elif unknown := arguments.keys() - declared[operation]:
            found.append(f"{operation} takes no {unknown}")
    return found


async def ask(
    engine: Engine, settings: Settings, catalog: Catalog, count: int
) -> tuple[Counter[str], Counter[str], list[str]]:
    """At least `count` replies: how they ended, what proposals came of them, and what was wrong."""
    work = queries(catalog, settings, min(count, _QUERIES))
    loose = Loose(engine)
    proposer = Proposer(settings.generator, loose, Shelf(catalog))
    came: Counter[str] = Counter()
    wrong: list[str] = []
    turn = 0

    async def client() -> None:
        nonlocal turn
        while loose.replies.total() < count:
            query, grounded = work[turn % len(work)]
            turn += 1
            query = msgspec.structs.replace(query, temperature=_TEMPERATURE)
            try:
                proposal = await proposer.propose(query, grounded, _DEADLINE_S)
            except GeneratorError as error:
                came["none" if error.asked else f"refused: {error}"] += 1
                continue
            came[f"{len(proposal.picks)} picks"] += 1
            came["arguments"] += sum(len(arguments) for _, arguments, _ in proposal.picks)
            wrong.extend(faults(proposal, query, grounded, settings, catalog))

    await asyncio.gather(*(client() for _ in range(_AT_ONCE)))
    await proposer.read()
    return +loose.replies, came, wrong


def main(
    spec: Annotated[Path, typer.Option(help="A spec; its traffic is asked about.")],
    count: Annotated[int, typer.Option(help="Replies.")] = 10_000,
    max_tokens: Annotated[int, typer.Option(help="Of a reply.")] = 64,
) -> None:
    """Have a random model write replies, and look for operations that are not in the spec."""
    from pipeline.catalog.parse import parse_spec
    from serve.engine import VllmEngine

    catalog = parse_spec(spec.read_bytes(), configuration.load().parse)
    with tempfile.TemporaryDirectory(prefix="replies-") as folder:
        texts = "\n".join(o.key for o in catalog.operations)
        model = random_model(Path(folder) / "model", catalog, texts, 2048, hidden_size=128, num_hidden_layers=2)
        few = {"model": str(model), "mode": "choose", "max_tokens": max_tokens, "max_num_seqs": _AT_ONCE}
        settings = configuration.load(
            "local-vllm",
            generator=few | {"max_model_len": 8192, "kv_cache_gib": 2, "options": 24, "overview_tokens": 2048},
        )
        engine = VllmEngine(settings.generator)
        try:
            until = time.monotonic() + _START_S
            while engine.status == "starting" and time.monotonic() < until:
                time.sleep(0.2)
            began = time.monotonic()
            replies, came, wrong = asyncio.run(ask(engine, settings, catalog, count))
        finally:
            engine.close()
    _out.print(f"{replies.total():,} replies in {time.monotonic() - began:.0f} s: {dict(replies)}")
    _out.print(f"proposals: {dict(came)}")
    _out.print(f"not of the spec, or not offered: {len(wrong)} {wrong[:5]}")
    if wrong or replies.total() < count:
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
