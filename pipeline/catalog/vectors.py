"""Vectors of a catalog's operations, made once for all replicas, in the background.

Looks in the store; else takes the lease and has the operation cards encoded, a chunk at a time.
A card that an earlier edition holds is not encoded again. What a card says is embed.py's, who
waits for vectors is library.py's: it calls `Vectors.obtain` in a task of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import secrets
import time
from collections.abc import Awaitable, Iterable, Sequence
from concurrent.futures import Executor
from typing import Protocol, TypeVar

import msgspec
import numpy as np

from pipeline.catalog.embed import operation_card
from pipeline.errors import StateUnavailable
from pipeline.types import Catalog

T = TypeVar("T")

_log = logging.getLogger(__name__)

_HASH_BYTES = 16
_RETRY_FIRST_S, _RETRY_MAX_S = 1.0, 60.0


class VectorStore(Protocol):
    """What is kept for all replicas; every method may raise StateUnavailable."""

    async def get_vectors(self, encoder: str, digest: str) -> bytes | None: ...

    async def put_vectors(self, encoder: str, digest: str, data: bytes) -> None: ...

    async def acquire_lease(self, what: str, token: str, lease_s: float) -> bool: ...

    async def renew_lease(self, what: str, token: str, lease_s: float) -> bool: ...

    async def release_lease(self, what: str, token: str) -> bool: ...


class CardEncoder(Protocol):
    """The sentence encoder, wherever it runs."""

    async def identity(self) -> tuple[str, int]:
        """Its name (what stored vectors are keyed by) and its dimensions."""
        ...

    async def encode(self, texts: Sequence[str]) -> np.ndarray:
        """Float32 [n_texts, n_dims], unit length."""
        ...


class _Stored(msgspec.Struct, array_like=True, frozen=True):
    """As the store holds them: arrays as bytes, no pickle."""

    dims: int
    cards: bytes  # [n_operations] hashes of the cards, 16 bytes each
    vectors: bytes  # [n_operations, dims] float16, little-endian


class Vectors:
    """Makes vectors, one catalog at a time."""

    def __init__(
        self, store: VectorStore, encoder: CardEncoder, thread: Executor, *, chunk: int, lease_s: float
    ) -> None:
        self._store = store
        self._encoder = encoder
        self._thread = thread
        self._chunk = chunk
        self._lease_s = lease_s
        self._token = secrets.token_hex(8)
        self._turn = asyncio.Lock()

    async def obtain(self, catalog: Catalog, editions: Iterable[str] = ()) -> tuple[str, np.ndarray]:
        """The encoder's name and its vectors of the operations, float32 [n_operations, n_dims], however long it takes.

        `editions` are digests of catalogs likely to hold the same cards. Whatever fails is tried again.
        """
        loop = asyncio.get_running_loop()
        cards, hashes = await loop.run_in_executor(self._thread, _cards, catalog)
        known: dict[bytes, np.ndarray] = {}  # hash of a card -> its vector, kept from one try to the next
        retry_s = _RETRY_FIRST_S
        while True:
            try:
                name, dims = await self._encoder.identity()
                vectors = await self._stored(name, dims, catalog.digest, hashes)
                if vectors is None:
                    vectors = await self._make(name, dims, catalog.digest, cards, hashes, tuple(editions), known)
                if vectors is not None:
                    return name, vectors
                wait_s = min(2.0, self._lease_s / 10)  # another replica is at it
                retry_s = _RETRY_FIRST_S
            except Exception as error:  # whatever the encoder's host raises; nobody waits for this task
                _log.warning("operation cards not embedded, trying again in %.0f s: %r", retry_s, error)
                wait_s, retry_s = retry_s, min(_RETRY_MAX_S, 2 * retry_s)
            await asyncio.sleep(wait_s)

    async def _stored(self, name: str, dims: int, digest: str, hashes: list[bytes]) -> np.ndarray | None:
        data = await _or(self._store.get_vectors(name, digest), None)
        if data is None:
            return None
        found = await asyncio.get_running_loop().run_in_executor(self._thread, _unpack, data, dims)
        # Cards may have changed with our own version: then only those that did are encoded again.
        return None if found is None or found[0] != hashes else found[1]

    async def _make(
        self,
        name: str,
        dims: int,
        digest: str,
        cards: list[str],
        hashes: list[bytes],
        editions: Sequence[str],
        known: dict[bytes, np.ndarray],
    ) -> np.ndarray | None:
        """The vectors, encoded and stored; None when another replica holds the lease."""
        loop = asyncio.get_running_loop()
        lease = f"embed:{digest}"
        async with self._turn:
            try:
                # Without a state every replica makes its own.
                if not await _or(self._store.acquire_lease(lease, self._token, self._lease_s), True):
                    return None
                for edition in (digest, *editions):
                    data = await _or(self._store.get_vectors(name, edition), None)
                    if data is not None:
                        found = await loop.run_in_executor(self._thread, _unpack, data, dims)
                        known.update(zip(*found, strict=True) if found else ())
                missing = {h: card for h, card in zip(hashes, cards, strict=True) if h not in known}
                order = sorted(missing, key=lambda h: len(missing[h]))  # like lengths together: little padding
                renewed = time.monotonic()
                for at in range(0, len(order), self._chunk):
                    chunk = order[at : at + self._chunk]
                    known.update(zip(chunk, await self._encoder.encode([missing[h] for h in chunk]), strict=True))
                    if time.monotonic() - renewed > self._lease_s / 3:
                        renewed = time.monotonic()
                        if not await _or(self._store.renew_lease(lease, self._token, self._lease_s), True):
                            return None
                packed, vectors = await loop.run_in_executor(self._thread, _pack, hashes, known, dims)
                await _or(self._store.put_vectors(name, digest, packed), None)
                return vectors
            finally:  # also when cancelled before the lease was answered: it may be ours; another's stays
                with contextlib.suppress(StateUnavailable):
                    await self._store.release_lease(lease, self._token)


async def _or(asked: Awaitable[T], otherwise: T) -> T:
    """What the store says, `otherwise` when it is away."""
    try:
        return await asked
    except StateUnavailable:
        return otherwise


def _cards(catalog: Catalog) -> tuple[list[str], list[bytes]]:
    """The card of each operation, and its hash."""
    cards = [operation_card(operation) for operation in catalog.operations]
    return cards, [hashlib.blake2b(card.encode(errors="replace"), digest_size=_HASH_BYTES).digest() for card in cards]


def _pack(hashes: Sequence[bytes], known: dict[bytes, np.ndarray], dims: int) -> tuple[bytes, np.ndarray]:
    """The bytes to store, and the very vectors that they hold: every replica computes with the same."""
    rows = [known[h] for h in hashes]
    half = np.asarray(rows, dtype="<f2").reshape(len(rows), dims)
    data = msgspec.msgpack.encode(_Stored(dims, b"".join(hashes), half.tobytes()))
    return data, half.astype(np.float32)


def _unpack(data: bytes, dims: int) -> tuple[list[bytes], np.ndarray] | None:
    """Hashes of the cards and their vectors, float32 [n, dims]; None when it is not what `_pack` makes."""
    try:
        stored = msgspec.msgpack.decode(data, type=_Stored)
    except msgspec.DecodeError:
        return None
    n = len(stored.cards) // _HASH_BYTES
    if stored.dims != dims or len(stored.cards) != n * _HASH_BYTES or len(stored.vectors) != n * dims * 2:
        return None
    hashes = [stored.cards[at : at + _HASH_BYTES] for at in range(0, len(stored.cards), _HASH_BYTES)]
    half = np.frombuffer(stored.vectors, dtype="<f2").reshape(n, dims)
    return hashes, half.astype(np.float32)
