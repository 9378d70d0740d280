"""The packaged network: what it is fitted on, and its column in the groups that rankers are fitted on.

Fitted on the hand-written groups of the specs to train on, by the cross entropy of the call that came next among the
candidates. A ranker must not believe it more than it deserves on an API never seen: in the training split the column
comes from networks that never saw the provider (cross-fitting, as in L. Breiman, "Stacked Regressions", 1996), in the
others from the packaged one. Called by `train/default_model.py` between bootstrap and fit.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.ranking import network
from pipeline.ranking.network import CALLS, N_COLUMNS, Member, Network
from pipeline.ranking.table import COLUMN, FEATURES
from train.bootstrap import Vectors
from train.corpus import fold_of

if TYPE_CHECKING:
    import torch

Array = np.ndarray[Any, np.dtype[Any]]

_SCALE = 4.0


@dataclasses.dataclass(frozen=True, slots=True)
class Params:
    """How networks are fitted; tuned on written sessions of specs held out."""

    rank: int = 64  # of each product of vectors
    hidden: int = 96
    dropout: float = 0.3
    epochs: int = 4
    groups: int = 64  # of a step
    rate: float = 2e-3
    decay: float = 1.0
    members: int = 2  # of the packaged network; those for one fold are alone
    folds: int = 3  # of providers
    seed: int = 7


@dataclasses.dataclass(frozen=True, slots=True)
class Groups:
    """Groups of one file, end to end, as networks read them."""

    columns: Array  # [n_rows, N_COLUMNS] float32
    starts: Array  # [n_groups + 1]
    answers: Array  # [n_groups], -1 where it is no candidate
    providers: tuple[str, ...]
    weights: Array  # [n_groups] float32
    prompts: Array  # [n_groups] places in the store of vectors, -1 without one
    calls: Array  # [n_groups, CALLS] places, the latest first, -1 where there are fewer
    cards: Array  # [n_rows] places, -1 of catalogs without vectors

    def rows(self, group: int) -> slice:
        return slice(int(self.starts[group]), int(self.starts[group + 1]))


def add_network(
    groups: Path,
    vectors: Vectors,
    encoder: str,
    params: Params,
    out: Path,
    workers: int = 1,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> None:
    """Fits networks on the written groups of `groups`, writes the packaged one to `out`, and fills the column.

    `vectors` is the store that the groups were made from, `encoder` whose vectors they are. `workers` networks are
    fitted side by side, one core each: that many cores on one network do not halve its time.
    """
    files = sorted((groups / "train").rglob("part-*.parquet"))
    read = [_read(file) for file in files]
    center, scale = _spread(read)
    plan: list[tuple[int | None, int]] = [(fold, params.seed) for fold in range(params.folds)]
    plan += [(None, params.seed + member) for member in range(params.members)]
    total = len(plan) + 1
    members = []
    with _single_threaded(), ThreadPoolExecutor(workers) as pool:
        for member in pool.map(lambda one: _fit(read, center, scale, vectors, params, *one), plan):
            members.append(member)
            progress(len(members), total)

    def made_of(some: Sequence[Member]) -> Network:
        return Network(encoder.rpartition("-")[0], center, scale, tuple(some))

    folds = [made_of([member]) for member in members[: params.folds]]
    network.save(made_of(members[params.folds :]), out)
    packaged = network.load(out)  # as it will be read: weights rounded
    for file, some in zip(files, read, strict=True):
        _fill(file, some, vectors, [folds[_fold(provider, params)] for provider in some.providers])
    for split in ("valid", "test"):
        for file in sorted((groups / split).rglob("part-*.parquet")):
            some = _read(file)
            _fill(file, some, vectors, [packaged] * len(some.providers))
    progress(total, total)


@contextmanager
def _single_threaded() -> Iterator[None]:
    """Each thread of torch's callers computes on one core."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _fold(provider: str, params: Params) -> int:
    return fold_of(provider, params.folds, params.seed)


def _read(file: Path) -> Groups:
    import pyarrow.parquet as pq

    table = pq.read_table(file).combine_chunks()
    sizes = table["n"].to_numpy().astype(np.int64)
    x = np.asarray(table["x"].chunk(0).flatten(), dtype=np.float32).reshape(-1, len(FEATURES))
    prompts = np.full(len(sizes), -1, dtype=np.int64)
    calls = np.full((len(sizes), CALLS), -1, dtype=np.int64)
    cards = np.full(len(x), -1, dtype=np.int64)
    starts = np.concatenate([[0], np.cumsum(sizes)])
    for i, texts in enumerate(table["texts"].to_pylist()):
        if texts:
            prompts[i], calls[i], cards[starts[i] : starts[i + 1]] = texts[0], texts[1 : 1 + CALLS], texts[1 + CALLS :]
    return Groups(
        columns=x[:, :N_COLUMNS],
        starts=starts,
        answers=table["answer"].to_numpy(),
        providers=tuple(table["provider"].to_pylist()),
        weights=table["weight"].to_numpy(),
        prompts=prompts,
        calls=calls,
        cards=cards,
    )


def _spread(read: Sequence[Groups]) -> tuple[Array, Array]:
    """Mean and standard deviation of each column, infinite where it does not change; float32 [N_COLUMNS]."""
    count, total, square = (np.zeros(N_COLUMNS) for _ in range(3))
    for groups in read:
        known = np.where(np.isfinite(groups.columns), groups.columns, np.nan).astype(np.float64)
        count += np.isfinite(known).sum(axis=0)
        total += np.nansum(known, axis=0)
        square += np.nansum(known**2, axis=0)
    mean = total / np.maximum(count, 1)
    spread = np.sqrt(np.maximum(square / np.maximum(count, 1) - mean**2, 0.0))
    return mean.astype(np.float32), np.where(spread < 1e-3, np.inf, spread).astype(np.float32)


def _fit(
    read: Sequence[Groups],
    center: Array,
    scale: Array,
    vectors: Vectors,
    params: Params,
    without: int | None,
    seed: int,
) -> Member:
    """A member fitted on the written groups, but those whose provider is of the fold `without`.

    All chance comes from generators of its own: others may be fitted at the same time.
    """
    import torch

    chance = torch.Generator().manual_seed(seed)
    rng = np.random.default_rng(seed)
    net = _Net(params, vectors.at(np.zeros(1, dtype=np.int64)).shape[1], chance)
    optimiser = torch.optim.AdamW(net.weights, lr=params.rate, weight_decay=params.decay)
    usable = _usable(read, params, without)
    steps = params.epochs * math.ceil(len(usable) / params.groups)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: _rate(step / max(steps, 1)))
    for _ in range(params.epochs):
        order = rng.permutation(len(usable))
        for start in range(0, len(order), params.groups):
            some = [usable[i] for i in order[start : start + params.groups]]
            batch = _batch(read, some, center, scale, vectors)
            raw = net(*batch[:4]).masked_fill(~batch[4], -1e9)
            loss = torch.nn.functional.cross_entropy(raw, batch[5])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    return net.member()


def _usable(read: Sequence[Groups], params: Params, without: int | None) -> list[tuple[int, int]]:
    """File and place of the groups to fit on: the written ones where there are any, those of catalogs with vectors."""
    written = any((groups.weights != 1.0).any() for groups in read)
    return [
        (which, group)
        for which, groups in enumerate(read)
        for group in range(len(groups.answers))
        if (groups.weights[group] != 1.0 or not written)
        and groups.answers[group] >= 0
        and groups.cards[groups.starts[group]] >= 0
        and _fold(groups.providers[group], params) != without
    ]


class _Net:
    """`network.Member` with gradients."""

    def __init__(self, params: Params, dims: int, chance: torch.Generator) -> None:
        import torch

        rank, wide = params.rank, (2 + CALLS) * params.rank + N_COLUMNS

        def weight(*shape: int, bound: float) -> torch.Tensor:
            return torch.empty(*shape).uniform_(-bound, bound, generator=chance).requires_grad_()

        bound = _SCALE / math.sqrt(dims)  # unit vectors: products would be too small to begin with
        self._dropout, self._chance = params.dropout, chance
        self.weights = [
            weight(dims, rank, bound=bound),
            weight(dims, rank, bound=bound),
            weight(CALLS, dims, rank, bound=bound),
            weight(wide, params.hidden, bound=1 / math.sqrt(wide)),
            torch.zeros(params.hidden, requires_grad=True),
            weight(params.hidden, bound=1 / math.sqrt(params.hidden)),
        ]

    def __call__(self, columns: torch.Tensor, cards: torch.Tensor, prompts: torch.Tensor, calls: torch.Tensor) -> Any:
        """Raw scores [n_groups, n_candidates]; what a group does not have is all zeros."""
        import torch
        from torch.nn.functional import relu

        card, prompt, call, hidden, bias, out = self.weights
        card = cards @ card
        parts = [card, card * (prompts @ prompt)[:, None]]
        parts += [card * (calls[:, place] @ call[place])[:, None] for place in range(CALLS)]
        read = self._dropped(torch.cat([*parts, columns], dim=-1))
        return self._dropped(relu(read @ hidden + bias)) @ out

    def _dropped(self, values: torch.Tensor) -> torch.Tensor:
        """Dropout of the share `params.dropout`, the rest scaled up: torch's own takes no generator."""
        import torch

        kept = torch.empty_like(values).bernoulli_(1 - self._dropout, generator=self._chance)
        return values * kept / (1 - self._dropout)

    def member(self) -> Member:
        return Member(*(weight.detach().numpy() for weight in self.weights))


def _rate(share: float) -> float:
    """Of the learning rate, `share` of the way: up over the first 5 %, then down along a cosine."""
    return min(1.0, share / 0.05 + 0.02) * 0.5 * (1 + math.cos(math.pi * share))


def _batch(
    read: Sequence[Groups], some: Sequence[tuple[int, int]], center: Array, scale: Array, vectors: Vectors
) -> tuple[torch.Tensor, ...]:
    """Columns, cards, prompts, calls, which candidates there are, and the answers, of groups side by side."""
    import torch

    rows = [read[which].rows(group) for which, group in some]
    most = max(row.stop - row.start for row in rows)
    columns = np.zeros((len(some), most, N_COLUMNS), dtype=np.float32)
    cards = np.full((len(some), most), -1, dtype=np.int64)
    for i, ((which, _), row) in enumerate(zip(some, rows, strict=True)):
        columns[i, : row.stop - row.start] = network.standardized(read[which].columns[row], center, scale)
        cards[i, : row.stop - row.start] = read[which].cards[row]
    prompts = np.array([read[which].prompts[group] for which, group in some])
    calls = np.stack([read[which].calls[group] for which, group in some])
    answers = np.array([read[which].answers[group] for which, group in some], dtype=np.int64)
    meant = (_vectors(vectors, places) for places in (cards, prompts, calls))
    return tuple(torch.from_numpy(a) for a in (columns, *meant, cards >= 0, answers))


def _vectors(vectors: Vectors, places: Array) -> Array:
    """The vectors in these places, zeros for -1; float32 [..., n_dims]."""
    return vectors.at(np.maximum(places, 0)) * (places >= 0)[..., None]


def _fill(file: Path, groups: Groups, vectors: Vectors, judges: Sequence[Network]) -> None:
    """Writes the column `network` of a file's groups, each by its judge."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    column = np.full(len(groups.cards), np.nan, dtype=np.float32)
    for group, judge in enumerate(judges):
        rows = groups.rows(group)
        if groups.cards[rows.start] < 0:
            continue
        prompt, calls = groups.prompts[group], groups.calls[group]
        column[rows] = judge.log_shares(
            groups.columns[rows],
            vectors.at(groups.cards[rows]),
            None if prompt < 0 else vectors.at(prompt),
            vectors.at(calls[calls >= 0]),
        )
    table = pq.read_table(file).combine_chunks()
    x = table["x"].chunk(0)
    values = np.array(x.flatten(), dtype=np.float32).reshape(-1, len(FEATURES))
    values[:, COLUMN["network"]] = column.astype(np.float16)
    filled = pa.ListArray.from_arrays(x.offsets, pa.array(values.ravel(), pa.float32()))
    place = table.column_names.index("x")
    pq.write_table(table.set_column(place, "x", filled), file, compression="zstd", row_group_size=512)
