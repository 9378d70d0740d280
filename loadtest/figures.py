"""What a bench says: samples, medians of repeats, ratios between services, tables. Pure; used by `loadtest.bench`."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from rich.table import Table

from loadtest.clients import Outcome
from loadtest.processes import Memory, summed

_MIB = 1 << 20


class Sample(msgspec.Struct, frozen=True):
    """One service under one load, once."""

    p50_ms: float
    p99_ms: float
    throughput: float  # answers a second
    cpu_ms: float  # of all processes of the service, per request, above what it burns idle
    requests: int
    errors: int
    others_cores: float  # cores that neither the services nor the clients used: how quiet the machine was
    stages_ms: dict[str, float] = {}  # median of each stage of Server-Timing
    cpu_by_ms: dict[str, float] = {}  # cpu_ms by the processes' titles


class Row(msgspec.Struct, frozen=True):
    """The repeats of one service under one load."""

    service: str
    traffic: str  # any | warm | unseen
    concurrency: int
    samples: list[Sample]

    def median(self, field: str) -> float:
        return statistics.median(getattr(sample, field) for sample in self.samples)


class Ratio(msgspec.Struct, frozen=True):
    """Ours over the no-op graph under the same load: the median of the ratios of each repeat."""

    traffic: str
    concurrency: int
    p50: float
    p99: float
    throughput: float
    cpu: float


def quantile(values: Sequence[float], q: float) -> float:
    """The smallest value that at least the share `q` of the values does not exceed (nearest rank); NaN of none."""
    if not values:
        return math.nan
    return sorted(values)[max(0, math.ceil(q * len(values)) - 1)]


def sample(
    outcome: Outcome, *, spent_s: Mapping[str, float], idle_cores: Mapping[str, float], others_cores: float
) -> Sample:
    """By process: `spent_s`, CPU time while the outcome came about; `idle_cores`, what it burns without requests."""
    requests = max(1, outcome.requests)
    cpu_by_ms = {
        title: (cpu_s - idle_cores.get(title, 0.0) * outcome.elapsed_s) * 1000 / requests
        for title, cpu_s in spent_s.items()
    }
    return Sample(
        p50_ms=quantile(outcome.latencies_s, 0.50) * 1000,
        p99_ms=quantile(outcome.latencies_s, 0.99) * 1000,
        throughput=len(outcome.latencies_s) / outcome.elapsed_s if outcome.elapsed_s else math.nan,
        cpu_ms=max(0.0, sum(cpu_by_ms.values())),
        requests=outcome.requests,
        errors=outcome.errors,
        others_cores=others_cores,
        stages_ms=stages(outcome.timings),
        cpu_by_ms=cpu_by_ms,
    )


def stages(timings: Sequence[str]) -> dict[str, float]:
    """Median milliseconds of each metric in Server-Timing headers (`ground;dur=1.2, score;dur=0.4`)."""
    seen: dict[str, list[float]] = {}
    for timing in timings:
        for metric in timing.split(","):
            name, _, duration = metric.strip().partition(";dur=")
            if duration:
                seen.setdefault(name, []).append(float(duration))
    return {name: statistics.median(values) for name, values in seen.items()}


def ratios(rows: Sequence[Row], ours: str, base: str) -> list[Ratio]:
    """Rows of `ours` over the row of `base` with the same concurrency, repeat by repeat."""
    bases = {row.concurrency: row for row in rows if row.service == base}
    found = []
    for row in rows:
        if row.service != ours or row.concurrency not in bases:
            continue
        pairs = list(zip(row.samples, bases[row.concurrency].samples, strict=True))

        def over(field: str, pairs: list[tuple[Sample, Sample]] = pairs) -> float:
            return statistics.median(_over(getattr(a, field), getattr(b, field)) for a, b in pairs)

        found.append(
            Ratio(row.traffic, row.concurrency, over("p50_ms"), over("p99_ms"), over("throughput"), over("cpu_ms"))
        )
    return found


def judge(found: Sequence[Ratio], limits: dict[str, Any]) -> list[tuple[str, float, str, bool]]:
    """(what, figure, limit, kept) for the limits of `predict` in configs/slo.yaml that ratios can tell of."""
    by = {(r.traffic, r.concurrency): r for r in found}
    verdicts = []
    if low := by.get(("warm", 1)):
        verdicts.append(("p50 ratio, warm, 1 client", low.p50, f"<= {limits['p50_ratio_max']}"))
        verdicts.append(("p99 ratio, warm, 1 client", low.p99, f"<= {limits['p99_ratio_max']}"))
    if high := by.get(("warm", 16)):
        verdicts.append(("throughput ratio, warm, 16 clients", high.throughput, f">= {limits['throughput_ratio_min']}"))
    return [(what, figure, limit, _kept(figure, limit)) for what, figure, limit in verdicts]


def load_table(rows: Sequence[Row]) -> Table:
    table = Table("service", "traffic", "clients", "p50 ms", "p99 ms", "req/s", "CPU ms/req", "errors", "others")
    for row in rows:
        table.add_row(
            row.service,
            row.traffic,
            str(row.concurrency),
            f"{row.median('p50_ms'):.2f}",
            f"{row.median('p99_ms'):.2f}",
            f"{row.median('throughput'):.0f}",
            f"{row.median('cpu_ms'):.2f}",
            str(sum(s.errors for s in row.samples)),
            f"{row.median('others_cores'):.2f}",
        )
    return table


def ratio_table(found: Sequence[Ratio]) -> Table:
    table = Table("ours / no-op graph", "clients", "p50", "p99", "throughput", "CPU")
    for r in found:
        table.add_row(
            r.traffic, str(r.concurrency), f"{r.p50:.2f}", f"{r.p99:.2f}", f"{r.throughput:.2f}", f"{r.cpu:.2f}"
        )
    return table


def memory_table(rows: Sequence[Memory]) -> Table:
    table = Table("process", "count", "RSS MiB", "PSS MiB")
    sums = summed(rows)
    for name, (count, rss, pss) in sums.items():
        table.add_row(name, str(count), f"{rss / _MIB:.0f}", f"{pss / _MIB:.0f}")
    table.add_section()
    rss, pss = (sum(getattr(row, field) for row in rows) for field in ("rss_bytes", "pss_bytes"))
    table.add_row("all", str(len(rows)), f"{rss / _MIB:.0f}", f"{pss / _MIB:.0f}")
    return table


def _over(a: float, b: float) -> float:
    return a / b if b else math.nan


def _kept(figure: float, limit: str) -> bool:
    sign, bound = limit.split()
    return figure <= float(bound) if sign == "<=" else figure >= float(bound)
