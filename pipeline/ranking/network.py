"""What a small network makes of a shortlist: the features together with what the texts mean.

Trees read columns, and a cosine is one column. The network reads the vectors themselves: of each candidate's card,
of the prompt and of the last calls' cards, in products of low rank (bilinear, as in S. Rendle, "Factorization
Machines", 2010), beside all other columns. Its log-probabilities are one more column, `network`, so that rankers
trained anew go on from it. It fits the vectors of one encoder only; with another the column is missing. Fitted by
`train/network.py` on sessions of other APIs; called by `features.py`.
"""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import RankerArtifactError
from pipeline.ranking.table import COLUMN, GROUND_NAMES

Array = np.ndarray[Any, np.dtype[Any]]

PATH = Path(__file__).resolve().parents[1] / "models" / "network.safetensors"
N_COLUMNS = COLUMN["network"]  # those before its own
CALLS = 3  # last calls whose cards are read
CLIP = 5.0  # standard deviations: beyond, a column says no more


@dataclasses.dataclass(frozen=True, slots=True)
class Member:
    """One network; all float32."""

    card: Array  # [n_dims, rank]
    prompt: Array  # [n_dims, rank]
    calls: Array  # [CALLS, n_dims, rank]
    hidden: Array  # [(2 + CALLS) * rank + n_columns, n_hidden]
    bias: Array  # [n_hidden]
    out: Array  # [n_hidden]

    def raw(self, columns: Array, cards: Array, prompt: Array | None, calls: Array) -> Array:
        """The raw score of each candidate; float32 [n_candidates]. A vector that is missing has no products."""
        rank = self.card.shape[1]
        parts = self.hidden[: (2 + CALLS) * rank].reshape(2 + CALLS, rank, -1)
        # The same for all candidates: (card * prompt) @ part is card @ (prompt[:, None] * part).
        weights = parts[0] if prompt is None else parts[0] + (prompt @ self.prompt)[:, None] * parts[1]
        for call, own, part in zip(calls, self.calls, parts[2:], strict=False):
            weights = weights + (call @ own)[:, None] * part
        hidden = (cards @ self.card) @ weights + columns @ self.hidden[(2 + CALLS) * rank :] + self.bias
        return np.asarray(np.maximum(hidden, 0.0) @ self.out)


@dataclasses.dataclass(frozen=True, slots=True)
class Network:
    """One or more members, whose log-probabilities are averaged."""

    encoder: str  # whose vectors it was fitted on, without the dtype
    center: Array  # [n_columns] float32, of the columns before its own
    scale: Array  # [n_columns]; infinite where a column never changes
    members: tuple[Member, ...]

    def log_shares(self, block: Array, cards: Array, prompt: Array | None, calls: Array) -> Array:
        """The log-probability of each candidate among them; float32 [n_candidates].

        `block` is float32 [n_candidates, n_columns], the columns of the table before its own; `cards` the candidates'
        vectors [n_candidates, n_dims], `prompt` [n_dims] None without one, `calls` those of the last calls' cards, the
        latest first [at most CALLS, n_dims].
        """
        columns = standardized(block, self.center, self.scale)
        total = np.zeros(len(block), dtype=np.float32)
        for member in self.members:
            total += _log_shares(member.raw(columns, cards, prompt, calls))
        return _log_shares(total / np.float32(len(self.members)))

    def reads(self, encoder: str) -> bool:
        """Whether it was fitted on vectors of this encoder; what they are computed in does not count."""
        return encoder.rpartition("-")[0] == self.encoder


def _log_shares(raw: Array) -> Array:
    raw = raw - raw.max(initial=-np.inf)
    return np.asarray(raw - np.log(np.exp(raw).sum()), dtype=np.float32)


def standardized(block: Array, center: Array, scale: Array) -> Array:
    """Columns in standard deviations, a missing or infinite value as the mean; float32 of the same shape."""
    with np.errstate(invalid="ignore"):
        values = (block - center) / scale
    return np.clip(np.where(np.isfinite(block), values, 0.0), -CLIP, CLIP).astype(np.float32)


def save(network: Network, path: Path) -> None:
    """Write it as safetensors, weights in float16."""
    from safetensors.numpy import save_file

    tensors = {
        field.name: np.stack([getattr(member, field.name) for member in network.members]).astype(np.float16)
        for field in dataclasses.fields(Member)
    }
    metadata = {"encoder": network.encoder, "columns": _columns()}
    save_file(tensors | {"center": network.center, "scale": network.scale}, path, metadata)
    path.chmod(0o644)  # whoever serves reads it


def load(path: Path) -> Network:
    """The network that `save` wrote.

    Raises:
        RankerArtifactError: it cannot be read, or was fitted on another feature table.
    """
    from safetensors import SafetensorError, safe_open

    names = [field.name for field in dataclasses.fields(Member)]
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name).astype(np.float32) for name in (*names, "center", "scale")}
    except (OSError, SafetensorError) as error:
        raise RankerArtifactError(f"The network {path.name} cannot be read: {error}") from None
    if metadata.get("columns") != _columns():
        raise RankerArtifactError(f"The network {path.name} was fitted on another feature table: make it again.")
    members = tuple(Member(*rows) for rows in zip(*(tensors[name] for name in names), strict=True))
    return Network(metadata.get("encoder", ""), tensors["center"], tensors["scale"], members)


def packaged() -> Network:
    """The network that comes with the package, or that `hold` put in its place; raises RankerArtifactError."""
    return _held[0] if _held else hold(load(PATH))


def hold(network: Network) -> Network:
    """Make it this process's network: a ranker that was made beside another one is judged with that one."""
    _held[:] = [network]
    return network


_held: list[Network] = []


def _columns() -> str:
    """What the columns before its own are, in short."""
    return hashlib.sha256("\n".join(GROUND_NAMES[:N_COLUMNS]).encode()).hexdigest()[:16]
