"""`python -m loadtest.footprint SPEC...`: bytes that a catalog and a prediction take in Redis.

A throw-away Redis, the real state, the real predictions of `pipeline.local`; vectors of the right size without the
encoder. What a key takes is what `MEMORY USAGE` says of it. The figures stand in docs/scaling.md.
"""

from __future__ import annotations

import asyncio
import itertools
import tempfile
from pathlib import Path

import msgspec
import numpy as np
import typer
from redis.asyncio import Redis

from loadtest.traffic import Traffic
from pipeline import settings as configuration
from pipeline.catalog.parse import parse_spec
from pipeline.local import LocalService
from pipeline.stores.embedded import EmbeddedRedis
from pipeline.stores.state import State
from pipeline.types import Call, Feedback, Query, Source

_PREDICTIONS = 100
_WIDTH = 384  # of the packaged encoder


async def taken(redis: Redis) -> int:
    """Bytes of all keys, by Redis's own count."""
    return sum([await redis.memory_usage(name, samples=0) or 0 async for name in redis.scan_iter(count=1000)])


async def catalog(redis: Redis, state: State, path: Path) -> str:
    """A row: what an uploaded spec takes, compiled and with vectors."""
    loaded = configuration.load("local")
    data = path.read_bytes()
    parsed = parse_spec(data, loaded.parse)
    sizes = [await taken(redis)]
    await state.catalogs.put_upload("local", path.stem, parsed.digest, data, parsed.title, len(parsed.operations))
    sizes.append(await taken(redis))
    await state.catalogs.put_catalog("compiler", parsed.digest, msgspec.msgpack.encode(parsed))
    sizes.append(await taken(redis))
    vectors = np.random.default_rng(0).standard_normal((len(parsed.operations), _WIDTH)).astype(np.float16)
    await state.catalogs.put_vectors("encoder", parsed.digest, vectors.tobytes())
    sizes.append(await taken(redis))
    parts = [f"{(after - before) / 1024:,.0f}" for before, after in itertools.pairwise(sizes)]
    return f"| {path.stem} | {len(parsed.operations):,} | {' | '.join(parts)} | {(sizes[-1] - sizes[0]) / 1024:,.0f} |"


async def predictions(redis: Redis, state: State, path: Path) -> str:
    """A row: what a prediction takes until it expires, and what its label takes until it is drained."""
    loaded = configuration.load("local")
    async with LocalService(loaded, state) as service:
        data = path.read_bytes()
        compiled = service.stages.keep(parse_spec(data, loaded.parse))
        bodies = Traffic(compiled.catalog, path.stem).mixed(_PREDICTIONS)[:_PREDICTIONS]
        told, answers = [await taken(redis)], []
        for number, body in enumerate(bodies):
            calls = tuple(Call(*event["endpoint"].split(" ", 1)) for event in body["events"])
            source = Source(digest=compiled.catalog.digest)
            query = Query(calls=calls, prompt=body.get("prompt", ""), user=f"user-{number}", source=source)
            answers.append((await service.predict(query), f"user-{number}"))
        told.append(await taken(redis))
        for answer, user in answers:
            await service.record(Feedback("accept", prediction_id=answer.prediction_id, user=user))
        told.append(await taken(redis))
    shown, labelled = ((after - before) / _PREDICTIONS for before, after in itertools.pairwise(told))
    return f"| {path.stem} | {shown:,.0f} | {labelled:,.0f} |"


async def measure(specs: list[Path]) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as folder, EmbeddedRedis(Path(folder)) as server:
        # A busy machine is no Redis that is away.
        patient = configuration.load("local", state={"timeout_s": 10.0}).state
        state, redis = State(patient, server.url), Redis.from_url(server.url)
        typer.echo(
            "| spec | operations | uploaded, KiB | compiled, KiB | vectors, KiB | all, KiB |\n|---|---|---|---|---|---|"
        )
        for path in specs:
            typer.echo(await catalog(redis, state, path))
        typer.echo("\n| spec | bytes of a prediction | bytes of its feedback |\n|---|---|---|")
        for path in specs:
            typer.echo(await predictions(redis, state, path))
        await redis.aclose()
        await state.close()


def main(specs: list[Path]) -> None:
    """Measure what specs and predictions take in Redis."""
    asyncio.run(measure(specs))


if __name__ == "__main__":
    typer.run(main)
