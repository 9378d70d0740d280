"""A service as a tree of processes: started, watched, stopped by pid. Used by `loadtest.bench`."""

from __future__ import annotations

import collections
import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
import psutil

_STOP_S = 90.0  # Ray, Redis and the graph end one after the other


class Memory(msgspec.Struct, frozen=True):
    name: str
    pid: int
    rss_bytes: int
    pss_bytes: int  # shared pages divided among those who share them: the sum over a tree is what it takes


class Service:
    """A program that listens on a port; its log is kept beside it.

    `start` waits until the port answers; `stop` ends the whole tree and may be called twice.
    """

    def __init__(self, name: str, argv: Sequence[str], port: int, folder: Path, env: Mapping[str, str]) -> None:
        self.name = name
        self.port = port
        self.start_s = 0.0  # from the start to the first answer
        self.left_behind: list[str] = []  # processes that outlived the stop and had to be killed
        self.stop_s = 0.0
        self._argv = list(argv)
        self._env = dict(env)
        self._log = folder / f"{name}.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, probe: bytes, limit_s: float) -> None:
        """Start it; ready when the HTTP request `probe` is answered with status 200.

        Raises:
            RuntimeError: it ended, or did not become ready in time; the message has the end of its log.
        """
        began = time.monotonic()
        with self._log.open("wb") as log:
            # In a session of its own, so that Ctrl-C reaches the bench alone, which then stops it in order.
            self._process = subprocess.Popen(
                self._argv, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=self._env, start_new_session=True
            )
        while time.monotonic() - began < limit_s:
            if self._process.poll() is not None:
                raise RuntimeError(f"{self.name} ended with status {self._process.returncode}: {self._tail()}")
            if _answers(self.port, probe):
                self.start_s = time.monotonic() - began
                return
            time.sleep(0.1)
        raise RuntimeError(f"{self.name} is not ready after {limit_s:.0f} s: {self._tail()}")

    @property
    def is_running(self) -> bool:
        return self._process is not None

    def processes(self) -> list[psutil.Process]:
        if self._process is None:
            return []
        with contextlib.suppress(psutil.NoSuchProcess):
            leader = psutil.Process(self._process.pid)
            return [leader, *leader.children(recursive=True)]
        return []

    def cpu(self) -> dict[str, float]:
        """CPU seconds so far by the processes' titles; of those that have ended, under their parent's."""
        sums: dict[str, float] = collections.defaultdict(float)
        for process in self.processes():
            with contextlib.suppress(psutil.NoSuchProcess):
                times = process.cpu_times()
                sums[_title(process)] += times.user + times.system + times.children_user + times.children_system
        return dict(sums)

    def cpu_s(self) -> float:
        """CPU seconds of the tree so far, of processes that have ended too."""
        return sum(self.cpu().values())

    def memory(self) -> list[Memory]:
        """Every process of the tree, the largest first."""
        rows = []
        for process in self.processes():
            with contextlib.suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
                used = process.memory_full_info()
                rows.append(Memory(_title(process), process.pid, used.rss, used.pss))
        return sorted(rows, key=lambda row: -row.pss_bytes)

    def resident(self) -> list[tuple[int, str, int]]:
        """(pid, title, RSS in bytes) of every process of the tree; a hundred times cheaper than `memory`."""
        rows = []
        for process in self.processes():
            with contextlib.suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
                rows.append((process.pid, _title(process), process.memory_info().rss))
        return rows

    def stop(self) -> None:
        """Ask the leader to stop, as Ctrl-C does; kill what is there after that and name it in `left_behind`."""
        if self._process is None:
            return
        began = time.monotonic()
        tree = self.processes()
        titles = {process: _title(process) for process in tree}
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._process.pid, signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_STOP_S)
        self.stop_s = time.monotonic() - began
        killed = []
        for process in tree:
            with contextlib.suppress(psutil.NoSuchProcess):  # is_running compares the time of birth: no recycled pid
                if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                    self.left_behind.append(titles[process])
                    process.kill()
                    killed.append(process)
        psutil.wait_procs(killed, timeout=2)
        self._process = None

    def _tail(self) -> str:
        return self._log.read_text(errors="replace")[-2000:]


def free_ports(count: int) -> list[int]:
    """Ports of the loopback interface that nobody uses now."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for s in sockets:
            s.bind(("127.0.0.1", 0))
        return [s.getsockname()[1] for s in sockets]


def summed(rows: Sequence[Memory]) -> dict[str, tuple[int, int, int]]:
    """name -> (processes, RSS, PSS) in bytes, the largest PSS first."""
    sums: dict[str, list[int]] = collections.defaultdict(lambda: [0, 0, 0])
    for row in rows:
        for position, value in enumerate((1, row.rss_bytes, row.pss_bytes)):
            sums[row.name][position] += value
    return {name: (n, rss, pss) for name, (n, rss, pss) in sorted(sums.items(), key=lambda item: -item[1][2])}


def _answers(port: int, probe: bytes) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1.0) as connection:
            connection.settimeout(10.0)
            connection.sendall(probe)
            return connection.recv(64).split(b" ", 2)[1:2] == [b"200"]
    except OSError:
        return False


def _title(process: psutil.Process) -> str:
    """What a process is, in few words: `ray::ServeReplica:...`, `raylet`, `python -m loadtest.noop`."""
    try:
        argv = process.cmdline()
    except psutil.Error:
        return "?"
    if not argv:
        return "?"
    if argv[0].startswith("ray::"):
        return argv[0].split(".")[0].split(" ")[0]  # without the method it runs just now
    program = Path(argv[0].split(" ")[0]).name
    if not program.startswith("python"):
        return process.name()  # Redis writes its socket into its title
    rest = [word for word in argv[1:] if word not in ("-u", "-P", "-B")]
    if rest[:1] == ["-m"]:
        return f"python -m {rest[1]}"
    if rest[:1] == ["-c"]:
        return "python -c"
    return Path(rest[0]).name if rest else program
