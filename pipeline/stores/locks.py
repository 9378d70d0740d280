"""A lock file, by flock(2): what holds it lets go of it when its process ends. Of the journal and the registry."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

_POLL_S = 0.05


@contextlib.contextmanager
def held(path: Path, *, shared: bool = False, wait_s: float = float("inf")) -> Iterator[None]:
    """Hold the lock at `path`: alone, or with others who share it. Blocks.

    Raises:
        TimeoutError: after `wait_s` others still hold it.
        OSError: there can be no such file.
    """
    # On NFS a lock that is shared wants a file that can be read, one that is not shared a file that can be written.
    descriptor = os.open(path, (os.O_RDONLY if shared else os.O_RDWR) | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        until = time.monotonic() + wait_s
        while True:
            try:
                fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > until:
                    raise TimeoutError(f"{path} is held by others.") from None
            time.sleep(_POLL_S)
        yield
    finally:
        os.close(descriptor)
