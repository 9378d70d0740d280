"""Synthetic sessions become query groups, through the very code that serves.

Each session asks at several of its positions, with prompt, with prompt and history, and with the
prompt taken away; `pipeline.predict.assemble` grounds each query and makes its features on the
corrupted catalog. Of a group for training the answer, the hardest others and some at random are
kept; groups for calibration and reporting stay whole. Called by `train/default_model.py`.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import hashlib
import itertools
import os
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import msgspec
import numpy as np

from pipeline.catalog.embed import operation_card
from pipeline.catalog.library import Compiled, compile_catalog, with_vectors
from pipeline.predict import assemble
from pipeline.ranking.network import CALLS
from pipeline.ranking.prior import hand_score
from pipeline.settings import Shortlist
from pipeline.types import Catalog, Query, Source
from train import corpus, dataset

Array = np.ndarray[Any, np.dtype[Any]]

_HARD, _RANDOM = 36, 15  # others kept of a training group: with the answer 52 rows
_POSITIONS = 4  # asked of one session, beside its first call
_WITHOUT_VECTORS = 0.08  # share of catalogs seen before their vectors are made
_CHUNK = 8  # catalogs of one job
_EVENTS = 20  # last calls of a query


class Encodes(Protocol):
    """What turns texts into unit vectors (`pipeline.catalog.embed.Encoder`)."""

    name: str

    def encode(self, texts: Sequence[str]) -> Array: ...


class Vectors:
    """Vectors of texts, kept in a folder of each encoder as float16 so that no text is encoded twice."""

    def __init__(self, *folders: Path) -> None:
        self._places: list[dict[bytes, int]] = []  # by folder
        blocks, count = [], 0
        for folder in folders:
            self._places.append({})
            for file in sorted(folder.glob("*.npz")):
                with np.load(file) as shard:
                    self._places[-1].update((bytes(key), count + i) for i, key in enumerate(shard["keys"]))
                    blocks.append(shard["vectors"])
                    count += len(blocks[-1])
        self._rows = np.concatenate(blocks) if blocks else np.zeros((0, 0), dtype=np.float16)

    @property
    def folds(self) -> int:
        """Encoders beside the first one, each of which never saw the providers of its fold."""
        return len(self._places) - 1

    def of(self, texts: Sequence[str], encoder: int = 0) -> Array:
        """Their vectors, float32 [n_texts, n_dims]; KeyError for a text never encoded."""
        return self.at(np.array(self.places(texts, encoder), dtype=np.int64))

    def places(self, texts: Sequence[str], encoder: int = 0) -> list[int]:
        """Their rows in the store, which stay; KeyError for a text never encoded."""
        return [self._places[encoder][_key(t)] for t in texts]

    def at(self, places: Array) -> Array:
        """The vectors in these rows, float32 [..., n_dims]."""
        return self._rows[places].astype(np.float32)

    def missing(self, texts: Iterable[str]) -> list[str]:
        """What the first encoder has not been given yet."""
        return [t for t in dict.fromkeys(texts) if _key(t) not in self._places[0]]

    @classmethod
    def encode(
        cls,
        texts: Iterable[str],
        encoder: Encodes,
        folder: Path,
        progress: Callable[[int, int], None],
        chunk: int = 2048,
    ) -> Vectors:
        """Encodes what is not there yet, a chunk a file, and opens the whole."""
        folder.mkdir(parents=True, exist_ok=True)
        todo = cls(folder).missing(texts)
        number = len(list(folder.glob("*.npz")))
        for start in range(0, len(todo), chunk):
            some = todo[start : start + chunk]
            keys = np.array([list(_key(t)) for t in some], dtype=np.uint8)
            np.savez(folder / f"{number:05}.npz", keys=keys, vectors=encoder.encode(some).astype(np.float16))
            number += 1
            progress(min(start + chunk, len(todo)), len(todo))
        return cls(folder)


def _key(text: str) -> bytes:
    return hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=16).digest()


def texts_of(sessions: Path, folds: int = 0, seed: int = 0, encoder: int = 0) -> Iterator[str]:
    """Every text of a corpus that needs a vector, by this one of `1 + folds` encoders: cards of operations, prompts."""
    for catalog, made in corpus.read(sessions):
        if encoder == _encoder_of(made, folds, seed):
            yield from (operation_card(operation) for operation in catalog.operations)
            yield from (session.prompt for session in made)


def _encoder_of(sessions: Sequence[corpus.Session], folds: int, seed: int) -> int:
    """Whose vectors a catalog's groups are made of: to train on, those of the encoder that never saw its provider."""
    if not folds or not sessions or sessions[0].split != "train":
        return 0
    return 1 + corpus.fold_of(sessions[0].provider, folds, seed)


def bootstrap(
    sessions: Mapping[Path, float],
    vectors: Sequence[Path],
    groups: Path,
    limits: Shortlist,
    seed: int,
    workers: int = 2,
    progress: Callable[[int], None] = lambda _: None,
) -> int:
    """Writes the query groups of the corpora in `sessions` under `groups`; returns how many.

    Each corpus has the weight that its groups count in a fit. `vectors` are folders of `Vectors`: first the packaged
    encoder's, then, if there are any, those of encoders that never saw the providers of a fold, for groups to train on.
    """
    jobs = [
        (f"{place}-{i:05}", chunk, groups, limits, seed, weight)
        for place, (folder, weight) in enumerate(sessions.items())
        for i, chunk in enumerate(_chunks(corpus.read(folder), _CHUNK))
    ]
    total = 0
    with contextlib.ExitStack() as stack:
        if workers > 1:
            pool = concurrent.futures.ProcessPoolExecutor(workers, initializer=_start, initargs=(vectors, 5))
            parts = stack.enter_context(pool).map(_part, jobs)
        else:
            _start(vectors)
            parts = map(_part, jobs)
        for done, count in enumerate(parts, 1):
            total += count
            progress(done * _CHUNK)
    dataset.merge_parts(groups)
    return total


def _chunks(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    iterator = iter(items)
    while chunk := list(itertools.islice(iterator, size)):
        yield chunk


_vectors: Vectors  # of this worker process


def _start(vectors: Sequence[Path], nice: int = 0) -> None:
    global _vectors
    if nice:
        os.nice(nice)
    _vectors = Vectors(*vectors)


def _part(job: tuple[str, list[tuple[Catalog, list[corpus.Session]]], Path, Shortlist, int, float]) -> int:
    name, chunk, folder, limits, seed, weight = job
    made = (
        group for catalog, sessions in chunk for group in groups_of(catalog, sessions, _vectors, limits, seed, weight)
    )
    return dataset.write_part(made, folder, name)


def groups_of(
    catalog: Catalog,
    sessions: Sequence[corpus.Session],
    vectors: Vectors,
    limits: Shortlist,
    seed: int,
    weight: float = 1.0,
) -> Iterator[dataset.Group]:
    """The labelled query groups of one catalog's sessions, each counting `weight` in a fit."""
    rng = random.Random(f"{seed} {catalog.digest}")
    compiled = compile_catalog(catalog)
    places: dict[str, int] = {}
    encoder = _encoder_of(sessions, vectors.folds, seed)
    if rng.random() >= _WITHOUT_VECTORS:
        cards = [operation_card(o) for o in catalog.operations]
        compiled = with_vectors(compiled, vectors.of(cards, encoder))  # nameless: `network` comes when one is fitted
        places = dict(zip((o.key for o in catalog.operations), vectors.places(cards, encoder), strict=True))
    source = Source(digest=catalog.digest)
    alone: set[bytes] = set()  # histories asked about without a prompt: recorded sessions come once for each prompt
    for session in sessions:
        vector = vectors.of([session.prompt], encoder)[0] if places else None
        later = [a for a in session.answers if a > 0]
        asked = [a for a in session.answers if a == 0] + sorted(rng.sample(later, min(_POSITIONS, len(later))))
        for position in asked:
            calls = session.calls[:position][-_EVENTS:]
            heads = ("prompt_history", "history_only") if position else ("prompt_only",)
            for head in heads if session.prompt else heads[1:]:  # recorded sessions may be silent about the goal
                if head == "history_only":
                    known = msgspec.msgpack.encode(calls)
                    if known in alone:
                        continue
                    alone.add(known)
                query = Query(source=source, calls=calls, prompt="" if head == "history_only" else session.prompt)
                said = vectors.places([session.prompt], encoder)[0] if places and query.prompt else -1
                group = _group(query, compiled, vector, limits, session, position, head, rng, weight, places, said)
                if group is not None:
                    yield group


def _group(
    query: Query,
    compiled: Compiled,
    vector: Array | None,
    limits: Shortlist,
    session: corpus.Session,
    position: int,
    head: str,
    rng: random.Random,
    weight: float,
    places: Mapping[str, int],
    said: int,
) -> dataset.Group | None:
    grounded, matrix = assemble(query, compiled, vector if query.prompt else None, {}, limits)
    wanted = session.operations[position]
    answer = next((i for i, c in enumerate(grounded.candidates) if c.operation == wanted), -1)
    texts = [places[c.operation] for c in grounded.candidates] if places else []
    if session.split == "train":
        if answer < 0 or len(matrix) < 2:  # no order puts it first
            return None
        kept = _negatives(matrix, answer, rng)
        matrix, answer = matrix[kept], kept.index(answer)
        texts = [texts[i] for i in kept] if texts else []
    labels = np.zeros(len(matrix), dtype=np.int32)
    if answer >= 0:
        labels[answer] = 1
    calls = [places[key] for key in reversed(grounded.previous)][:CALLS] if places else []
    calls += [-1] * (CALLS - len(calls))
    return dataset.Group(
        qid=dataset.qid_of(f"{session.id} {position} {head}"),
        spec=session.spec,
        provider=session.provider,
        split=session.split,
        head=head,
        operations=len(compiled.catalog.operations),
        answer=answer,
        x=matrix,
        y=labels,
        weight=weight,
        texts=(said, *calls, *texts) if texts else (),
    )


def _negatives(matrix: Array, answer: int, rng: random.Random) -> list[int]:
    """Rows to keep, in their order: the answer, those a hand-weighted sum finds best, and some at random."""
    if len(matrix) <= _HARD + _RANDOM + 1:
        return list(range(len(matrix)))
    order = [i for i in np.argsort(-hand_score(matrix), kind="stable").tolist() if i != answer]
    return sorted([answer, *order[:_HARD], *rng.sample(order[_HARD:], _RANDOM)])
