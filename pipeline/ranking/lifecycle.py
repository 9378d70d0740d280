"""How usual one kind of operation is after another on the same resource: the life-cycle of a thing.

A hand table of common practice (make, look, change, look again, remove, list), not of any one API.
Read by `features.py`.
"""

from __future__ import annotations

import numpy as np

# Kinds are 2 x verb class + works on one thing, verb classes as in `features`: read, create, update, delete, action.
_READ_MANY, _READ_ONE = 0, 1
_CREATE, _CREATE_IN = 2, 3
_UPDATE_MANY, _UPDATE = 4, 5
_DELETE_MANY, _DELETE = 6, 7
_ACT_MANY, _ACT = 8, 9

_USUAL = {
    _READ_MANY: {_READ_ONE: 0.8, _CREATE: 0.5, _READ_MANY: 0.2, _UPDATE: 0.3, _DELETE: 0.3, _ACT: 0.3},
    _READ_ONE: {_UPDATE: 0.6, _DELETE: 0.4, _ACT: 0.4, _READ_MANY: 0.3, _READ_ONE: 0.3, _CREATE: 0.1},
    _CREATE: {_READ_ONE: 0.7, _READ_MANY: 0.5, _UPDATE: 0.5, _DELETE: 0.4, _CREATE: 0.4, _ACT: 0.4},
    _UPDATE: {_READ_ONE: 0.6, _UPDATE: 0.3, _DELETE: 0.3, _READ_MANY: 0.3, _ACT: 0.2},
    _DELETE: {_READ_MANY: 0.5, _READ_ONE: 0.3, _CREATE: 0.3, _DELETE: 0.3},
    _ACT: {_READ_ONE: 0.5, _ACT: 0.3, _READ_MANY: 0.3, _UPDATE: 0.2, _DELETE: 0.2},
}  # fmt: skip
_LIKE = {_CREATE_IN: _CREATE, _UPDATE_MANY: _UPDATE, _DELETE_MANY: _DELETE, _ACT_MANY: _ACT}

N_KINDS = 10


def _table() -> np.ndarray:
    table = np.zeros((N_KINDS, N_KINDS), dtype=np.float32)
    for before in range(N_KINDS):
        for after in range(N_KINDS):
            table[before, after] = _USUAL[_LIKE.get(before, before)].get(_LIKE.get(after, after), 0.0)
    return table


LIFECYCLE = _table()  # [N_KINDS, N_KINDS] float32: kind before, kind after
