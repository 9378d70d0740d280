"""How far a long job is: a bar in a terminal, one JSON object a line otherwise.

Lines go to stderr as they come, at most one a second for each step; whoever started the job reads the
last one (`serve/jobs.py`). Called by `train/retrain.py`.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

import orjson

_EVERY_S = 1.0
_STEP = 256  # between two tellings of what is counted one by one

Tell = Callable[..., None]  # Progress.tell


class Progress:
    """Steps of a job; `with` shows and clears the bar."""

    def __init__(self, *, lines: bool = False) -> None:
        """`lines` writes JSON even in a terminal."""
        self._bar: Any = None
        self._tasks: dict[str, Any] = {}
        self._told: dict[str, float] = {}
        self._began = time.monotonic()
        if not lines and sys.stderr.isatty():
            from train.synthesize import progress_bar

            self._bar = progress_bar()

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None):
        if self._bar is not None:
            self._bar.stop()

    def tell(self, step: str, done: float, total: float | None = None, **more: Any) -> None:
        """`step` has come as far as `done`; it is over when that is `total`."""
        if self._bar is not None:
            task = self._tasks.get(step)
            if task is None:
                task = self._tasks[step] = self._bar.add_task(step, total=total)
            self._bar.update(task, completed=done, total=total)
            return
        now = time.monotonic()
        if done != total and now - self._told.get(step, 0.0) < _EVERY_S:
            return
        self._told[step] = now
        line = {"step": step, "done": done, "total": total, "seconds": round(now - self._began, 1), **more}
        sys.stderr.write(orjson.dumps(line).decode() + "\n")
        sys.stderr.flush()


class Count:
    """Tells a step's progress by counting to `total`."""

    def __init__(self, tell: Tell, step: str, total: int) -> None:
        self._tell, self._step, self._total, self._count = tell, step, total, 0

    def more(self, count: int = 1) -> None:
        before, self._count = self._count, self._count + count
        if before // _STEP != self._count // _STEP:
            self._tell(self._step, min(self._count, self._total), self._total)

    def done(self) -> None:
        self._tell(self._step, self._total, self._total)
