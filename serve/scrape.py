"""The metrics of every node in one Prometheus text: each Ray node exports its own, /metrics gathers them."""

from __future__ import annotations

import asyncio

import httpx2
import ray

_TIMEOUT_S = 2.0


async def scrape() -> bytes:
    """The exports of all live nodes, one after the other; a node that does not answer is left out with a comment."""
    loop = asyncio.get_running_loop()
    nodes = await loop.run_in_executor(None, ray.nodes)
    targets = [
        f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics"
        for node in nodes
        if node["Alive"] and node.get("MetricsExportPort")
    ]
    async with httpx2.AsyncClient(timeout=_TIMEOUT_S, trust_env=False) as client:
        exports = await asyncio.gather(*(_read(client, target) for target in targets))
    away = [target for target, export in zip(targets, exports, strict=True) if not export]
    notes = b"".join(f"# no answer from {target}\n".encode() for target in away)
    return notes + await loop.run_in_executor(None, merge, exports)  # milliseconds for each node


def merge(exports: list[str]) -> bytes:
    """Exports of several nodes as one: each metric's HELP and TYPE once, all its samples behind them."""
    heads: dict[str, list[str]] = {}
    samples: dict[str, list[str]] = {}
    for export in exports:
        family = ""
        for line in export.splitlines():
            if line.startswith(("# HELP ", "# TYPE ")):
                family = line.split(" ", 3)[2]
                kept = heads.setdefault(family, [])
                if not any(line[:7] == head[:7] for head in kept):
                    kept.append(line)
            elif line and not line.startswith("#"):
                samples.setdefault(family, []).append(line)
    lines = [line for family in samples for line in (*heads.get(family, ()), *samples[family])]
    return ("\n".join(lines) + "\n").encode()


async def _read(client: httpx2.AsyncClient, target: str) -> str:
    try:
        answer = await client.get(target)
        return answer.text if answer.status_code == 200 else ""
    except httpx2.HTTPError:
        return ""
