"""Compiled catalogs in memory, bounded by bytes: the least recently used go first.

Where they come from and that they get vectors is `library.py`'s, which holds the one shelf of a replica.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from pipeline.catalog.compile import Compiled


class Shelf:
    """Compiled catalogs by digest."""

    def __init__(self, limit_bytes: int, gone: Callable[[str], None]) -> None:
        """`gone` hears the digest of each catalog that had to go."""
        self.size_bytes = self.evictions = 0
        self._limit_bytes = limit_bytes
        self._gone = gone
        self._kept: OrderedDict[str, Compiled] = OrderedDict()  # the latest used last

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, digest: str) -> Compiled | None:
        """The catalog of a digest, which thereby is the latest used one."""
        compiled = self._kept.get(digest)
        if compiled is not None:
            self._kept.move_to_end(digest)
        return compiled

    def put(self, compiled: Compiled) -> None:
        """Keep it as the latest used one, whatever its size."""
        self._set(compiled)
        self._kept.move_to_end(compiled.catalog.digest)
        self._shrink()

    def change(self, digest: str, change: Callable[[Compiled], Compiled]) -> None:
        """Exchange a catalog that is still here, in its place."""
        if digest in self._kept:
            self._set(change(self._kept[digest]))
            self._shrink()

    def of_title(self, title: str) -> list[str]:
        """Digests of the catalogs with this title, the latest used first."""
        return [digest for digest, kept in reversed(self._kept.items()) if kept.catalog.title == title]

    def _set(self, compiled: Compiled) -> None:
        digest = compiled.catalog.digest
        former = self._kept.get(digest)
        self.size_bytes += compiled.size_bytes - (former.size_bytes if former else 0)
        self._kept[digest] = compiled

    def _shrink(self) -> None:
        while self.size_bytes > self._limit_bytes and len(self._kept) > 1:
            digest, dropped = self._kept.popitem(last=False)
            self.size_bytes -= dropped.size_bytes
            self.evictions += 1
            self._gone(digest)
