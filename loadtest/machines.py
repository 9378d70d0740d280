"""A second machine, and its loss while it serves.

The second machine is a Ray node in a network namespace of its own, joined by a pair of virtual interfaces (Linux, root,
`ip` of iproute2). A head and that node are started with `ray start`, `opensesame serve`'s runtime joins them, replicas
spread over both. Killed, the second one is gone until `renew`; with its cable pulled, nothing says that it is gone.
Used by `loadtest.hold`.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil

from loadtest.instance import say
from loadtest.processes import free_ports
from pipeline import settings as configuration

_NODE_S = 90.0


class Machines:
    """A head on this machine and one node in a namespace, from enter to exit. Everything has this run's name."""

    def __init__(self, folder: Path) -> None:
        from serve.runtime import environment

        token_file = folder / "var" / "ray-token"
        token_file.parent.mkdir(exist_ok=True)
        token_file.write_text(secrets.token_hex(32))
        token_file.chmod(0o600)
        tag = secrets.token_hex(3)
        subnet = f"10.{200 + secrets.randbelow(50)}.{secrets.randbelow(250)}"
        self._namespace, self._outer, self._inner = f"os-{tag}", f"osh{tag}", f"osw{tag}"
        self._head_ip, self._node_ip = f"{subnet}.1", f"{subnet}.2"
        (self._port,) = free_ports(1)
        self._temp = Path("/tmp") / f"os-n{tag}"
        self._log, self._kept = folder / "nodes.log", folder / "serve-logs"
        self._env = {**os.environ, **environment(configuration.load("local"), self._temp, token_file)}
        self._started: list[subprocess.Popen[bytes]] = []

    @staticmethod
    def why_not() -> str:
        """Why there can be no second machine here; empty when there can."""
        if sys.platform != "linux" or os.geteuid() != 0:
            return "a network namespace needs Linux and root"
        return "" if shutil.which("ip") else "there is no `ip` (iproute2)"

    @property
    def settings(self) -> dict[str, Any]:
        """What an instance that runs on these machines is told."""
        return {"ray": {"address": f"{self._head_ip}:{self._port}", "dashboard_port": 0}}

    def __enter__(self) -> Machines:
        self._temp.mkdir(mode=0o700)
        try:
            self._connect()
            head = ["--head", "--port", str(self._port), "--node-ip-address", self._head_ip]
            head += ["--include-dashboard", "false", "--temp-dir", str(self._temp)]
            head += ["--dashboard-agent-listen-port", "0"]
            self._start([], head, self._head_ip)
            self.renew()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        family = self.processes()
        for process in self._started:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
        for process in self._started:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(20)
        left = {*family, *self.inside()}
        for one in left:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()
        psutil.wait_procs(left, timeout=5)  # what is dying still writes
        _ip("netns", "del", self._namespace, check=False)
        _ip("link", "del", self._outer, check=False)
        for session in self._temp.glob("session_2*"):  # of both machines: what their parts of Serve said
            with contextlib.suppress(OSError, shutil.Error):
                shutil.copytree(session / "logs" / "serve", self._kept, dirs_exist_ok=True)
        shutil.rmtree(self._temp, ignore_errors=True)

    def processes(self) -> list[psutil.Process]:
        """Those of both machines, without the service that joined them."""
        found = []
        for started in self._started:
            with contextlib.suppress(psutil.NoSuchProcess):
                leader = psutil.Process(started.pid)
                found += [leader, *leader.children(recursive=True)]
        return found

    def inside(self) -> list[psutil.Process]:
        """The processes of the second machine."""
        told = _ip("netns", "pids", self._namespace, check=False)
        found = []
        for pid in told.split():
            with contextlib.suppress(psutil.NoSuchProcess):
                found.append(psutil.Process(int(pid)))
        return found

    def unplug(self) -> None:
        """Pull the second machine's cable."""
        _ip("link", "set", self._outer, "down")

    def renew(self) -> None:
        """Start a node on the second machine, as a cluster replaces one that it lost."""
        inside = ["ip", "netns", "exec", self._namespace]
        options = ["--address", f"{self._head_ip}:{self._port}", "--node-ip-address", self._node_ip]
        self._start(inside, options, self._node_ip)

    def _connect(self) -> None:
        _ip("netns", "add", self._namespace)
        _ip("link", "add", self._outer, "type", "veth", "peer", "name", self._inner, "netns", self._namespace)
        _ip("address", "add", f"{self._head_ip}/24", "dev", self._outer)
        _ip("link", "set", self._outer, "up")
        _ip("-n", self._namespace, "address", "add", f"{self._node_ip}/24", "dev", self._inner)
        for device in (self._inner, "lo"):
            _ip("-n", self._namespace, "link", "set", device, "up")

    def _start(self, inside: list[str], options: list[str], ip: str) -> None:
        ray = str(Path(sys.executable).with_name("ray"))
        command = [*inside, ray, "start", *options, "--num-cpus", "16", "--block"]
        command += ["--object-store-memory", str(1 << 28), "--min-worker-port", "0", "--max-worker-port", "0"]
        command += ["--disable-usage-stats", "--ray-client-server-port", str(free_ports(1)[0])] if not inside else []
        with self._log.open("ab") as log:
            process = subprocess.Popen(
                command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=self._env, start_new_session=True
            )
        self._started.append(process)
        until = time.monotonic() + _NODE_S
        while f"node-ip-address={ip}" not in _command_lines(process.pid):
            if process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"no Ray on {ip}: {self._log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.5)
        say(f"a Ray node on {ip}")


def _ip(*arguments: str, check: bool = True) -> str:
    return subprocess.run(["ip", *arguments], check=check, capture_output=True, text=True).stdout


def _command_lines(pid: int) -> str:
    lines = []
    with contextlib.suppress(psutil.Error):
        for process in psutil.Process(pid).children(recursive=True):
            with contextlib.suppress(psutil.Error):
                if process.name() == "raylet":
                    lines.append(" ".join(process.cmdline()).replace("node_ip_address", "node-ip-address"))
    return "\n".join(lines)
