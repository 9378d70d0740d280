"""`python -m loadtest.autoscaling`: how many replicas Serve would run over a day, and whom it would refuse meanwhile.

Deterministic arithmetic, no cluster: a day of traffic with two humps and one sudden rise; each deployment a queue whose
work a request is what `make bench` measured; Ray Serve's own decisions (its functions, its delays) on the ongoing
requests that come of it, with the autoscaling_config that `serve.graph` makes of a configuration. The table stands in
docs/scaling.md. What it cannot know: machines that are slower or shared, catalogs of which one is asked most.
"""

from __future__ import annotations

import dataclasses
import math
from collections import deque
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import typer

# CPU milliseconds of a request, (prompt seen, prompt never seen), with 16 clients: `python -m loadtest.bench --quick`,
# 21 November 2026.
WORK_MS = {"Ingress": (6.2, 6.8), "Catalogs": (5.7, 7.8), "Embedder": (0.0, 10.7), "Ranker": (2.6, 2.8)}
_STEP_S = 5.0
_DAY_S = 86400.0
_FLOOR = 0.05  # of the peak, at night
_RISE = (20.0, 20.25, 1.8)  # from hour, to hour: so many times the traffic


@dataclasses.dataclass(frozen=True, slots=True)
class Plan:
    """One deployment: seconds of work a request, replicas, and what Serve aims at."""

    name: str
    work_s: float
    least: int
    most: int
    target: float


@dataclasses.dataclass(slots=True)
class Seen:
    """What a day came to."""

    asked: float = 0.0
    refused: float = 0.0
    bad_s: float = 0.0  # time in which more than 1 % was refused
    replica_s: dict[str, float] = dataclasses.field(default_factory=dict)
    highest: dict[str, int] = dataclasses.field(default_factory=dict)


def traffic(second: float, peak: float) -> float:
    """Requests a second at a time of the day: humps at 10 and 15 o'clock, and a sudden rise at 20."""
    hour = second / 3600.0
    humps = math.exp(-(((hour - 10.0) / 2.0) ** 2)) + 0.9 * math.exp(-(((hour - 15.0) / 2.5) ** 2))
    return peak * (_FLOOR + (1.0 - _FLOOR) * min(1.0, humps)) * (_RISE[2] if _RISE[0] <= hour < _RISE[1] else 1.0)


def queue(load: float, room: float) -> tuple[float, float]:
    """(requests in hand on average, share refused) of one server with `load` erlangs and room for `room` requests.

    M/M/1/K; with processor sharing, as of requests on one event loop, the mean number is the same.
    Source: Kleinrock, Queueing Systems 1, section 3.6.
    """
    if abs(load - 1.0) < 1e-9:
        return room / 2.0, 1.0 / (room + 1.0)
    if load > 1.0:  # written so that no power overflows
        inverse = 1.0 / load
        tail = inverse ** (room + 1.0)
        return room - inverse / (1.0 - inverse) + (room + 1.0) * tail / (1.0 - tail), (1.0 - inverse) / (1.0 - tail)
    tail = load ** (room + 1.0)
    return load / (1.0 - load) - (room + 1.0) * tail / (1.0 - tail), (1.0 - load) * load**room / (1.0 - tail)


def simulate(
    plans: Sequence[Plan],
    rate: Callable[[float], float],
    at_once: int,
    start_s: float,
    decide: Callable[[Plan, float, int, int, dict[str, Any], float], int],
    day_s: float = _DAY_S,
) -> Seen:
    """A day with requests at `rate`, of which an ingress replica takes `at_once`; a new replica serves after `start_s`.

    `decide(plan, ongoing, running, aimed at, memory, now)` is the number of replicas that Serve wants.
    """
    seen = Seen()
    running = {plan.name: plan.least for plan in plans}
    coming: dict[str, deque[float]] = {plan.name: deque() for plan in plans}
    window: dict[str, deque[float]] = {plan.name: deque(maxlen=round(30.0 / _STEP_S)) for plan in plans}
    memory: dict[str, dict[str, Any]] = {plan.name: {} for plan in plans}
    for step in range(round(day_s / _STEP_S)):
        now = step * _STEP_S
        offered = rate(now)
        room = at_once * running["Ingress"]
        inside, refused = {}, 0.0
        for plan in plans:
            mean, lost = queue(offered * plan.work_s / running[plan.name], room / running[plan.name])
            inside[plan.name] = mean * running[plan.name]
            refused = max(refused, lost)
        # What is in another deployment's hands is in the ingress's too.
        inside["Ingress"] = min(float(room), sum(inside.values()))
        seen.asked += offered * _STEP_S
        seen.refused += refused * offered * _STEP_S
        seen.bad_s += _STEP_S if refused > 0.01 else 0.0
        for plan in plans:
            name = plan.name
            while coming[name] and coming[name][0] <= now:
                coming[name].popleft()
                running[name] += 1
            window[name].append(inside[name])
            aimed = running[name] + len(coming[name])
            ongoing = sum(window[name]) / len(window[name])
            wanted = min(plan.most, max(plan.least, decide(plan, ongoing, running[name], aimed, memory[name], now)))
            coming[name].extend([now + start_s] * (wanted - aimed))
            while wanted < running[name] + len(coming[name]):
                if coming[name]:
                    coming[name].pop()
                else:
                    running[name] -= 1
            seen.replica_s[name] = seen.replica_s.get(name, 0.0) + _STEP_S * (running[name] + len(coming[name]))
            seen.highest[name] = max(seen.highest.get(name, 0), running[name])
    return seen


def serves(plan: Plan, ongoing: float, running: int, aimed: int, memory: dict[str, Any], now: float) -> int:
    """What Ray Serve (2.60) decides, by its own functions and default delays."""
    from ray.serve.autoscaling_policy import _apply_delay_logic, _apply_scaling_factors
    from ray.serve.config import AutoscalingConfig

    config = memory.get("config") or AutoscalingConfig(
        min_replicas=plan.least, max_replicas=plan.most, target_ongoing_requests=plan.target
    )
    memory["config"] = config
    wanted = _apply_scaling_factors(ongoing / plan.target, running, config)
    wanted = min(plan.most, max(plan.least, wanted))
    return int(_apply_delay_logic(wanted, aimed, config, memory, now)[0])


def plans(settings: Any, unseen: float, target: float = 0.0) -> list[Plan]:
    """The deployments on a prediction's path as a configuration has them; `target` in place of its own."""
    from serve.manifest import serve_config

    found = []
    for deployment in serve_config(settings)["applications"][0]["deployments"]:
        if deployment["name"] not in WORK_MS:
            continue
        warm, new = WORK_MS[deployment["name"]]
        fixed = deployment.get("num_replicas", 1)
        scaled = deployment.get("autoscaling_config") or {"min_replicas": fixed, "max_replicas": fixed}
        aim = target or scaled.get("target_ongoing_requests", 1.0)
        work_s = (warm * (1.0 - unseen) + new * unseen) / 1000.0
        found.append(Plan(deployment["name"], work_s, scaled["min_replicas"], scaled["max_replicas"], aim))
    return found


def main(
    config: Annotated[str, typer.Option(help="Whose settings: a name in configs/ or a path.")] = "cluster",
    peak: Annotated[float, typer.Option(help="Requests a second at the height of the day.")] = 500.0,
    unseen: Annotated[float, typer.Option(help="Share of requests with a prompt never seen.")] = 0.3,
    start_s: Annotated[float, typer.Option(help="Seconds until a new replica serves.")] = 30.0,
    targets: Annotated[list[float] | None, typer.Option("--target", help="Ongoing requests aimed at, too.")] = None,
) -> None:
    """Simulate Serve's autoscaling over a day."""
    from pipeline import settings as configuration

    settings = configuration.load(config)
    names = list(WORK_MS)
    typer.echo("| target ongoing | refused | minutes over 1 % | replica hours | most replicas |\n|---|---|---|---|---|")
    for target in [0.0, *(targets or [])]:
        planned = plans(settings, unseen, target)
        seen = simulate(planned, lambda now: traffic(now, peak), settings.ingress.ground_at_once, start_s, serves)
        aims = {plan.name: f"{plan.target:g}" for plan in planned}
        label = f"{target:g}" if target else "as configured: " + " / ".join(aims[name] for name in names)
        most = " / ".join(str(seen.highest[name]) for name in names)
        hours = sum(seen.replica_s.values()) / 3600.0
        typer.echo(f"| {label} | {seen.refused / seen.asked:.2%} | {seen.bad_s / 60:.0f} | {hours:.0f} | {most} |")


if __name__ == "__main__":
    typer.run(main)
