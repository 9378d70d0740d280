"""Arrays computed from a catalog for one of its operations, of which the last used are kept.

`Relations`, `Words` and `Compiled` each hold one: sessions of an API move among few of its operations.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

import numpy as np


class Kept:
    """Operation -> its array; at most `limit_bytes`, but eight of them. One thread at a time."""

    def __init__(self, limit_bytes: int, array_bytes: int, operations: int) -> None:
        self._most = max(8, limit_bytes // max(array_bytes, 1))
        self._arrays: OrderedDict[int, np.ndarray] = OrderedDict()
        self.nbytes = min(self._most, operations) * array_bytes  # at their most

    def get(self, operation: int, make: Callable[[int], np.ndarray]) -> np.ndarray:
        """The array of `operation`, made when it is not kept; not to be written to."""
        array = self._arrays.get(operation)
        if array is None:
            array = make(operation)
            array.setflags(write=False)
            self._arrays[operation] = array
            if len(self._arrays) > self._most:
                self._arrays.popitem(last=False)
        else:
            self._arrays.move_to_end(operation)
        return array
