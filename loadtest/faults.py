"""What can happen to a running instance, and making it happen: kills, pauses, slowness, in an order the seed decides.

A target is a process by its title; where several replicas run, one of them; `NODE` is every process of a second
machine. `inflict` blocks until the fault is over: what was paused goes on again, what was slow has its speed back,
whatever interrupts it. Who heals what was killed is the service's business. Used by `loadtest.hold`; every signal goes
to the pid of a process of that instance.
"""

from __future__ import annotations

import contextlib
import random
import signal
import time
from collections.abc import Iterable, Sequence
from typing import Literal

import msgspec
import psutil

Kind = Literal["kill", "pause", "slow"]
TARGETS = {  # target -> what stands in the title of its processes
    "ingress": "ServeReplica:opensesame:Ingress",
    "catalogs": "ServeReplica:opensesame:Catalogs",
    "embedder": "ServeReplica:opensesame:Embedder",
    "ranker": "ServeReplica:opensesame:Ranker",
    "models": "ServeReplica:opensesame:Models",
    "controller": "ServeController",
    "redis": "redis-server",
    "proxy": "haproxy",
}
NODE = "node"
GENERATOR = "generator"  # where there is one: not among the parts that every instance has
_TITLES = TARGETS | {GENERATOR: "ServeReplica:opensesame:Generator"}
KINDS: tuple[Kind, ...] = ("kill", "pause", "slow")
_SLOW_ON_S, _SLOW_OFF_S = 0.05, 0.15  # a slow process runs a quarter of the time


class Fault(msgspec.Struct, frozen=True):
    """`kind` happens to a process of `target`, for `seconds` where it passes."""

    kind: Kind
    target: str
    seconds: float = 0.0

    def __str__(self) -> str:
        return f"{self.kind} {self.target}" + (f" for {self.seconds:.1f} s" if self.seconds else "")


def schedule(seed: int, count: int, targets: Iterable[str] = tuple(TARGETS)) -> list[Fault]:
    """`count` faults; each target meets each kind before one comes a second time. The same seed, the same faults."""
    rng = random.Random(seed)
    pairs = [(kind, target) for kind in KINDS for target in targets]
    drawn: list[Fault] = []
    while len(drawn) < count:
        rng.shuffle(pairs)
        drawn += [
            Fault(kind, target, 0.0 if kind == "kill" else round(rng.uniform(2.0, 6.0), 1)) for kind, target in pairs
        ]
    return drawn[:count]


def processes(target: str, among: Iterable[psutil.Process]) -> list[psutil.Process]:
    """The living processes of `target`, oldest first."""
    found = []
    for process in among:
        with contextlib.suppress(psutil.Error):
            title = " ".join(process.cmdline()) or process.name()
            is_it = _TITLES[target] in title if target != "proxy" else process.name().startswith("haproxy")
            if is_it and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return sorted(found, key=lambda process: process.create_time())


def inflict(fault: Fault, victims: Sequence[psutil.Process]) -> None:
    """Do it to all the victims at once."""
    if fault.kind == "kill":
        for victim in victims:
            with contextlib.suppress(psutil.NoSuchProcess):
                victim.kill()
        return
    until = time.monotonic() + fault.seconds
    try:
        while (left_s := until - time.monotonic()) > 0:
            _send(victims, signal.SIGSTOP)
            time.sleep(min(left_s, _SLOW_OFF_S) if fault.kind == "slow" else left_s)
            _send(victims, signal.SIGCONT)
            if fault.kind == "slow":
                time.sleep(_SLOW_ON_S)
    finally:
        _send(victims, signal.SIGCONT)


def _send(victims: Sequence[psutil.Process], number: signal.Signals) -> None:
    for victim in victims:
        with contextlib.suppress(psutil.NoSuchProcess):
            victim.send_signal(number)
