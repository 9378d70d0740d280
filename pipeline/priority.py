"""Who goes first on a machine that also trains. Used by `serve.jobs`, `serve.cli` and `train.cluster`."""

from __future__ import annotations

import shutil
from pathlib import Path


def giving_way(idle: bool) -> list[str]:
    """What a command is put behind so that those who are served beside it go first, from its first import on.

    `idle`: it gets what nobody else wants of a core, and makes way the moment that somebody does (Linux's SCHED_IDLE):
    a niced process keeps its core for a slice. Where there is no `chrt`, and if not `idle`, it is niced.
    """
    return ["chrt", "--idle", "0"] if idle and shutil.which("chrt") else ["nice", "-n", "10"]


def shared_by_session(root: Path = Path("/")) -> bool:
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
