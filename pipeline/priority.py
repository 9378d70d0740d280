"""Who goes first on a machine that also trains. Used by `serve.jobs`, `serve.cli`, `serve.runtime`, `train.cluster`.

    python -m pipeline.priority idle

Run beside a training that joined the Ray it was started by: see `watch`.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import time
from pathlib import Path

_ROOT = Path("/")
_GROUP = "opensesame-idle"  # the name of the cgroup
_NICE = 10
_LOOK_S = 0.01  # between two looks at what was started
_HIERARCHIES = ("cpu", "cpu,cpuacct", "")  # below sys/fs/cgroup: of the first version of cgroups, and of the second


def giving_way(idle: bool, root: Path = _ROOT) -> list[str]:
    """What a command is put behind so that those who are served beside it go first, from its first import on.

    `idle`: it gets what nobody else wants of a core, and makes way the moment that somebody does (Linux's SCHED_IDLE):
    a niced process keeps its core for a slice. Where there is no `chrt`, and if not `idle`, it is niced. `root` is that
    of `idle_group`, which it enters.
    """
    if not (idle and shutil.which("chrt")):
        return ["nice", "-n", str(_NICE)]
    group = idle_group(root)
    enter = [] if group is None else ["sh", "-c", f'echo $$ > {group}/cgroup.procs; exec "$@"', "sh"]
    return [*enter, "chrt", "--idle", "0"]


def watch(idle: bool) -> None:
    """Have new workers of the Ray that this runs under give way from the start, where they are to; returns when the
    process that started this one is gone, at once where no Ray did or the system does not tell a process's children.

    Ray starts each worker by a Python that imports Ray, .3 s of a core, to learn behind what the worker is put
    (`giving_way`). Until then it has the raylet's priority, and two at once leave those who are served no core.
    """
    parent, raylet = os.getppid(), _ancestor("raylet")
    mark = " ".join(giving_way(idle)[-3:]).encode()
    idle = mark.startswith(b"chrt")  # without it they are niced
    group = idle_group() if idle else None
    known: set[str] = set()
    with contextlib.suppress(OSError):  # the raylet is gone
        started_by = _command(str(raylet))
        while raylet and os.getppid() == parent:
            children = Path(f"/proc/{raylet}/task/{raylet}/children").read_text().split()
            known.intersection_update(children)
            for pid in set(children) - known:
                command = _command(pid)
                if command in (b"", started_by):  # it is not yet what it will be
                    continue
                known.add(pid)
                if mark in command:
                    _give_way(int(pid), idle, group)
            time.sleep(_LOOK_S)


def _ancestor(name: str) -> int | None:
    """The nearest process called so that this one descends from."""
    pid = os.getppid()
    with contextlib.suppress(OSError, IndexError):
        while pid > 1:
            if Path(f"/proc/{pid}/comm").read_text().strip() == name:
                return pid
            pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return None


def _command(pid: str) -> bytes:
    """How a process was called, its words apart by zeros; nothing of one that has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def _give_way(pid: int, idle: bool, group: Path | None) -> None:
    """What `giving_way` does, to a process that runs; as far as this one may."""
    with contextlib.suppress(OSError):
        if not idle:
            os.setpriority(os.PRIO_PROCESS, pid, max(_NICE, os.getpriority(os.PRIO_PROCESS, pid)))
            return
        os.sched_setscheduler(pid, os.SCHED_IDLE, os.sched_param(0))
        if group is not None:
            (group / "cgroup.procs").write_text(str(pid))


def idle_group(root: Path = _ROOT) -> Path | None:
    """The cgroup of what gives way, made where Linux shares the machine between sessions first: there a policy counts
    within its session only. None where that has no part, or this process may not make one. Below `root` lie proc, sys.
    """
    for folder in _groups(root):
        if (folder / "cpu.idle").exists() and os.access(folder, os.W_OK):  # another user's is not ours to enter
            return folder
    for folder in _groups(root) if shared_by_session(root) else ():
        if not (folder.parent / "cgroup.procs").exists():
            continue
        try:
            folder.mkdir()
            (folder / "cpu.idle").write_text("1")
        except OSError:  # not ours to make, or a kernel that knows no such group
            leave_no_group(root)
        else:
            return folder
    return None


def leave_no_group(root: Path = _ROOT) -> None:
    """Take the cgroup of what gives way away again, unless somebody is in it."""
    for folder in _groups(root):
        with contextlib.suppress(OSError):
            folder.rmdir()


def shared_by_session(root: Path = _ROOT) -> bool:
    """Whether Linux shares this machine between sessions before processes (autogroup): what gives way does so only
    within its own then, and who is served beside a training may wait for seconds. In a cgroup with a weight of its own,
    as containers and most of systemd's sessions are, it has no part. Below `root` lie proc and sys."""
    try:
        on = (root / "proc/sys/kernel/sched_autogroup_enabled").read_text().strip() == "1"
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:  # another system
        return False
    paths = {controllers: path for _, controllers, path in (line.split(":", 2) for line in lines)}
    own = any(path != "/" for names, path in paths.items() if "cpu" in names.split(","))
    unified = root / "sys/fs/cgroup" / paths.get("", "/").strip("/")
    return on and not own and not (unified / "cpu.weight").exists()


def _groups(root: Path) -> list[Path]:
    """Where that cgroup may lie."""
    return [root / "sys/fs/cgroup" / hierarchy / _GROUP for hierarchy in _HIERARCHIES]


if __name__ == "__main__":
    watch(sys.argv[1:] == ["idle"])
