"""Did it hold? The requests of a load run, by phase, judged against `configs/slo.yaml`; a report; an exit status.

`python -m loadtest.verdict FOLDER` reads what `loadtest.hold` left there (records.jsonl: every attempt of every
request, run.json: the phases and the memory of the processes), writes report.md and report.png beside it, and ends with
status 1 when a limit is missed. A request belongs to the phase in which its first attempt began.
"""

from __future__ import annotations

import statistics
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
import yaml

from loadtest.figures import quantile
from pipeline import settings as configuration

_COLUMNS = ["phase", "requests", "a second", "failed raw", "failed", "refused", "5xx", "no answer", "degraded"]
_TIMES = ["p50", "p99", "worst"]
_REFUSED = (429, 503)
_SETTLED_S = 300.0  # of a soak: caches fill first
_MIB = 1 << 20


class Record(msgspec.Struct, frozen=True, array_like=True):
    """One attempt of one request."""

    at: float  # when it began, Unix seconds
    kind: str
    status: int  # 0: no answer
    seconds: float
    attempt: int
    is_last: bool
    total_s: float  # since the first attempt began, with the waits between
    retry_after_s: float | None = None
    degraded: tuple[str, ...] = ()
    why: str = ""

    @property
    def is_ok(self) -> bool:
        return 200 <= self.status < 300

    @property
    def first_at(self) -> float:
        return self.at + self.seconds - self.total_s


class Phase(msgspec.Struct):
    """A stretch of a run; `kind` names its limits in slo.yaml."""

    name: str
    kind: str
    began: float
    ended: float = 0.0
    deeds: list[tuple[float, str]] = []  # what was done to the service, and when


class Footprint(msgspec.Struct, frozen=True, array_like=True):
    """What a process held at a moment."""

    at: float
    pid: int
    title: str
    rss_bytes: int


class Run(msgspec.Struct):
    """A run without its records."""

    title: str
    phases: list[Phase]
    footprints: list[Footprint] = []
    redis_bytes: list[tuple[float, int]] = []
    notes: list[str] = []


class Figures(msgspec.Struct, frozen=True):
    """What was seen in a phase; latencies are of first attempts that were answered 2xx."""

    requests: int
    rate: float  # a second
    failed_raw: int  # first attempts without a 2xx
    failed: int  # requests without one in any attempt
    refused: int  # attempts answered 429 or 503 with a Retry-After
    refused_bare: int  # and without one
    faults: int  # attempts answered with another 5xx
    unanswered: int  # attempts without an answer
    degraded: int  # predictions that name a part they did without
    p50_s: float
    p99_s: float
    worst_s: float
    whys: dict[str, int]

    @property
    def failed_raw_share(self) -> float:
        return self.failed_raw / self.requests if self.requests else 1.0


class Check(msgspec.Struct, frozen=True):
    """One limit, and whether it was kept."""

    what: str
    value: float
    limit: float
    is_kept: bool


def figures(records: Iterable[Record], phase: Phase) -> Figures:
    """The figures of the requests that began in `phase`."""
    mine = [r for r in records if phase.began <= r.first_at < phase.ended]
    first = [r for r in mine if r.attempt == 0]
    answered = [r.seconds for r in first if r.is_ok]
    whys: dict[str, int] = defaultdict(int)
    for r in mine:
        if not r.is_ok:
            whys[f"{r.kind} {r.status} {r.why[:120]}"] += 1
    return Figures(
        requests=len(first),
        rate=len(first) / max(phase.ended - phase.began, 1e-9),
        failed_raw=sum(not r.is_ok for r in first),
        failed=sum(r.is_last and not r.is_ok for r in mine),
        refused=sum(r.status in _REFUSED and r.retry_after_s is not None for r in mine),
        refused_bare=sum(r.status in _REFUSED and r.retry_after_s is None for r in mine),
        faults=sum(r.status >= 500 and r.status not in _REFUSED for r in mine),
        unanswered=sum(r.status == 0 for r in mine),
        degraded=sum(bool(r.degraded) for r in mine),
        p50_s=quantile(answered, 0.5),
        p99_s=quantile(answered, 0.99),
        worst_s=max(answered, default=float("nan")),
        whys=dict(sorted(whys.items(), key=lambda item: -item[1])[:5]),
    )


def judge(name: str, seen: Mapping[str, float], limits: Mapping[str, float]) -> list[Check]:
    """`figure_max` and `figure_min` of the limits against the figures of that name; NaN keeps no limit."""
    checks = []
    for limit_name, limit in limits.items():
        figure, _, side = limit_name.rpartition("_")
        value = seen[figure]
        kept = value <= limit if side == "max" else value >= limit
        checks.append(Check(f"{name}: {figure} {'at most' if side == 'max' else 'at least'}", value, limit, kept))
    return checks


def slope(points: Sequence[tuple[float, float]]) -> float:
    """Of the least-squares line through (x, y); 0 of fewer than three points."""
    return statistics.linear_regression(*zip(*points, strict=True)).slope if len(points) > 2 else 0.0


def slopes(footprints: Sequence[Footprint], settled_s: float = _SETTLED_S) -> dict[str, float]:
    """Bytes a minute by process, after the first `settled_s`, of those that lived through all of the rest."""
    if not footprints:
        return {}
    began, ended = footprints[0].at + settled_s, footprints[-1].at
    lives: dict[tuple[str, int], list[tuple[float, float]]] = defaultdict(list)
    for one in footprints:
        if one.at >= began:
            lives[one.title, one.pid].append((one.at / 60, one.rss_bytes))
    whole = 0.9 * (ended - began) / 60
    return {f"{title} ({pid})": slope(points) for (title, pid), points in lives.items() if _span(points) >= whole}


def _span(points: Sequence[tuple[float, float]]) -> float:
    return points[-1][0] - points[0][0]


def verdict(run: Run, records: Sequence[Record], limits: Mapping[str, Any]) -> tuple[dict[str, Figures], list[Check]]:
    """The figures by phase, and every limit that applies to them."""
    found = {phase.name: figures(records, phase) for phase in run.phases}
    checks: list[Check] = []
    by_kind: dict[str, Figures] = {}
    for phase in run.phases:
        of = found[phase.name]
        by_kind.setdefault(phase.kind, of)
        seen = {**msgspec.structs.asdict(of), "failed_raw_share": of.failed_raw_share}
        sustainable = by_kind.get("sustainable")
        seen["p99_ratio"] = of.p99_s / sustainable.p99_s if sustainable else float("nan")
        checks += judge(phase.name, seen, limits.get(phase.kind, {}))
    if any(phase.kind == "soak" for phase in run.phases):
        soak = limits["processes"]
        for title, per_minute in slopes(run.footprints).items():
            checks += judge(title, {"rss_bytes_per_min": per_minute}, {"rss_bytes_per_min_max": soak["slope_max"]})
        settled = [p for p in run.redis_bytes if p[0] >= run.redis_bytes[0][0] + _SETTLED_S]
        if settled:
            checks += judge("Redis", {"bytes": max(b for _, b in settled)}, {"bytes_max": soak["redis_max"]})
    return found, checks


def markdown(run: Run, found: Mapping[str, Figures], checks: Sequence[Check]) -> str:
    """The report, without its picture."""
    lines = [f"# {run.title}", "", "Latencies are of first attempts answered 2xx; `raw` counts first attempts, ", ""]
    lines[2] += "`failed` requests that no attempt of a retrying client answered."
    lines += [
        f"| {' | '.join(_COLUMNS + _TIMES)} |",
        "|---" * len(_COLUMNS + _TIMES) + "|",
    ]
    for name, f in found.items():
        refused = f"{f.refused}" + (f" + {f.refused_bare} without Retry-After" if f.refused_bare else "")
        lines.append(
            f"| {name} | {f.requests} | {f.rate:.0f} | {f.failed_raw} | {f.failed} | {refused} | {f.faults} "
            f"| {f.unanswered} | {f.degraded} | {f.p50_s * 1e3:.0f} ms | {f.p99_s * 1e3:.0f} ms | {f.worst_s:.2f} s |"
        )
    lines += ["", "| limit | seen | limit | |", "|---|---|---|---|"]
    lines += [f"| {c.what} | {c.value:.4g} | {c.limit:.4g} | {'kept' if c.is_kept else '**missed**'} |" for c in checks]
    for name, f in found.items():
        lines += [f"- {name}: {count} times `{why}`" for why, count in f.whys.items()]
    done = [f"- {p.name}, {at - p.began:.0f} s in: {what}" for p in run.phases for at, what in p.deeds]
    lines += ["", "What was done:", "", *done] if done else []
    lines += ["", *run.notes]
    return "\n".join(lines) + "\n"


def draw(run: Run, records: Sequence[Record], path: Path) -> None:
    """Latency and outcome of each second, with what was done; below, where it was measured, memory by process."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    began = min((p.began for p in run.phases), default=0.0)
    seconds: dict[int, list[Record]] = defaultdict(list)
    for r in records:
        if r.attempt == 0:
            seconds[int(r.at - began)].append(r)
    rows = 3 if run.footprints else 2
    figure, axes = pyplot.subplots(rows, 1, figsize=(11, 3 * rows), sharex=True, layout="constrained")
    at = sorted(seconds)
    for q, label in ((0.5, "p50"), (0.99, "p99")):
        axes[0].plot(at, [quantile([r.seconds * 1e3 for r in seconds[s] if r.is_ok], q) for s in at], label=label)
    axes[0].set_yscale("log")
    axes[0].set_ylabel("ms")
    axes[1].plot(at, [sum(r.is_ok for r in seconds[s]) for s in at], label="answered")
    axes[1].plot(at, [sum(r.status in _REFUSED for r in seconds[s]) for s in at], label="refused")
    axes[1].plot(at, [sum(not r.is_ok and r.status not in _REFUSED for r in seconds[s]) for s in at], label="failed")
    axes[1].set_ylabel("requests a second")
    if run.footprints:
        lives: dict[tuple[str, int], list[tuple[float, float]]] = defaultdict(list)
        for one in run.footprints:
            lives[one.title, one.pid].append((one.at - began, one.rss_bytes / _MIB))
        for (title, _), points in sorted(lives.items(), key=lambda item: -item[1][-1][1])[:10]:
            axes[2].plot(*zip(*points, strict=True), label=title.rpartition(":")[2], linewidth=1)
        axes[2].set_ylabel("RSS, MiB")
    for phase in run.phases:
        for axis in axes:
            axis.axvline(phase.began - began, color="0.7", linewidth=0.8)
            for when, _ in phase.deeds:
                axis.axvline(when - began, color="tab:red", linewidth=0.5, linestyle=":")
        axes[0].annotate(phase.name, (phase.began - began, 1.01), xycoords=("data", "axes fraction"), fontsize=7)
    for axis in axes:
        axis.legend(fontsize=7, loc="upper right")
    axes[-1].set_xlabel("seconds")
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def read(folder: Path) -> tuple[Run, list[Record]]:
    """What a run left in its folder; a line that was being written when its writer ended is left out."""
    lines = (folder / "records.jsonl").read_bytes().split(b"\n")[:-1]
    return msgspec.json.decode((folder / "run.json").read_bytes(), type=Run), [
        msgspec.json.decode(line, type=Record) for line in lines
    ]


def main(folder: Annotated[Path, typer.Argument(help="Where loadtest.hold left its run.")]) -> None:
    """Judge a run, write its report, and end with status 1 when a limit is missed."""
    run, records = read(folder)
    limits = yaml.safe_load((configuration.resource("configs") / "slo.yaml").read_text())["hold"]
    found, checks = verdict(run, records, limits)
    text = markdown(run, found, checks)
    (folder / "report.md").write_text(text, encoding="utf-8")
    draw(run, records, folder / "report.png")
    typer.echo(text)
    if not all(check.is_kept for check in checks) or not checks:
        sys.exit(1)


if __name__ == "__main__":
    typer.run(main)
