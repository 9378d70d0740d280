"""Who goes first on a machine that also trains. Used by `serve.jobs`, `serve.cli`, `serve.runtime`, `train.cluster`."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path

_ROOT = Path("/")
_GROUP = "opensesame-idle"  # the name of the cgroup
_HIERARCHIES = ("cpu", "cpu,cpuacct", "")  # below sys/fs/cgroup: of the first version of cgroups, and of the second


def giving_way(idle: bool, root: Path = _ROOT) -> list[str]:
    """What a command is put behind so that those who are served beside it go first, from its first import on.

    `idle`: it gets what nobody else wants of a core, and makes way the moment that somebody does (Linux's SCHED_IDLE):
    a niced process keeps its core for a slice. Where there is no `chrt`, and if not `idle`, it is niced. `root` is that
    of `idle_group`, which it enters.
    """
    if not (idle and shutil.which("chrt")):
        return ["nice", "-n", "10"]
    group = idle_group(root)
    enter = [] if group is None else ["sh", "-c", f'echo $$ > {group}/cgroup.procs; exec "$@"', "sh"]
    return [*enter, "chrt", "--idle", "0"]


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
