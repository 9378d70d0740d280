"""The journal's work in a process of its own, which may end as `kill -9` ends one, at a step that is named.

The processes are forked from one that has imported what they need, once for all tests.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from pipeline import settings
from pipeline.stores import connection
from pipeline.stores import journal as journal_files
from pipeline.stores.journal import Journal
from pipeline.stores.state import State

_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload([__name__])
_STEPS: dict[str, tuple[Any, str]] = {
    "write": (pq.ParquetWriter, "write_table"),
    "sync": (os, "fsync"),
    "rename": (os, "replace"),
    "unlink": (Path, "unlink"),
    "script": (connection.Connection, "script"),
    "read": (journal_files, "_check_version"),
}


def run(url: str, journal: Journal, work: str, step: str = "", when: str = "", times: int = 0) -> int:
    """Exit status of a process that drains, compacts, reads or, with a user's name, forgets; -9 where it was killed.

    It kills itself "before" or "after" `step` when that was done so many times.
    """
    child = _FORKS.Process(target=_work, args=(url, str(journal.folder), work, step, when, times))
    child.start()
    child.join()
    assert child.exitcode is not None
    return child.exitcode


def _work(url: str, folder: str, work: str, step: str, when: str, times: int) -> None:
    if step:
        owner, name = _STEPS[step]
        setattr(owner, name, _deadly(getattr(owner, name), when, times, is_awaited=step == "script"))
    loaded = settings.load("local")
    state = State(loaded.state.model_copy(update={"bulk_timeout_s": 20.0, "timeout_s": 20.0}), url)
    journal = Journal(Path(folder), loaded.journal.model_copy(update={"batch": 10}))

    async def main() -> None:
        if work == "drain":
            await journal.drain(state)
        elif work == "compact":
            journal.compact()
        elif work == "read":
            list(journal.groups())
        else:
            await journal.forget(state, "local", work)
        await state.close()

    asyncio.run(main())


def _deadly(step: Callable[..., Any], when: str, times: int, *, is_awaited: bool) -> Callable[..., Any]:
    left = times

    def passed(*args: Any, **kwargs: Any) -> Any:
        nonlocal left
        left -= 1
        if left < 0 and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        answer = step(*args, **kwargs)
        if left < 0 and not is_awaited:
            os.kill(os.getpid(), signal.SIGKILL)
        return answer

    async def awaited(*args: Any, **kwargs: Any) -> Any:
        answer = await passed(*args, **kwargs)
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return answer

    return awaited if is_awaited else passed
