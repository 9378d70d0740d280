"""The engine's processes end with the process that started them, also when that one was killed.

vLLM's engine core does not notice that its owner is gone and would keep its memory, or the GPU, for ever.
`Lifeline` is a worker extension: vLLM mixes it into its worker class, inside the engine's processes, before
the model is loaded. Named by `serve/engine.py` and imported by vLLM only.
"""

from __future__ import annotations

import multiprocessing
import os
import select
import threading
from pathlib import Path
from typing import Any


class Lifeline:
    """Mixed into a worker: watches its owner from the moment it is made."""

    def __new__(cls, *_: Any, **__: Any) -> Lifeline:
        parent = multiprocessing.parent_process()
        if parent is not None and parent.pid is not None:
            watched = [parent.pid]
            if not multiprocessing.current_process().name.startswith("EngineCore"):
                watched.append(_parent_of(parent.pid))  # a worker of several: the core's owner is watched from here
            for pid in watched:
                threading.Thread(target=_end_with, args=(pid,), name="lifeline", daemon=True).start()
        return super().__new__(cls)


def _end_with(pid: int) -> None:
    """Block until process `pid` is gone, then end this one."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        os._exit(1)
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    poll.poll()
    os._exit(1)


def _parent_of(pid: int) -> int:
    """Parent of a process, from /proc (proc(5): the field after the state)."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
