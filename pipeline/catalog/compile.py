"""A catalog with everything that is computed from it alone.

`compile_catalog` is pure; `library.py` calls it for servers and keeps what it makes, `pipeline.local`,
training and tests call it by themselves. Vectors come from an encoder and are added later.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from pathlib import Path

import msgspec
import numpy as np

from pipeline.catalog.kept import Kept
from pipeline.catalog.match import Matcher
from pipeline.catalog.relations import Relations
from pipeline.catalog.words import Words
from pipeline.types import Catalog, Parameter

# Memory, measured with tracemalloc on github, stripe, tmdb and retail (2026-11-23).
_CATALOG_BYTES = 2.8  # per byte of its msgpack: 2.0 to 2.8
_MATCHER_BYTES = 1400  # per operation: 600 to 1300
_NEAR_BYTES = 2 << 20  # of what `retrieve` keeps of how near operations are to one another


@dataclasses.dataclass(frozen=True, slots=True)
class Compiled:
    """A catalog with everything that is computed from it alone."""

    catalog: Catalog
    matcher: Matcher
    relations: Relations
    words: Words
    vectors: np.ndarray | None  # [n_operations, n_dims] float32, unit length; None until they are made
    encoder: str  # whose vectors they are; "" until they are made, or where nobody said
    near: Kept  # operation -> how near each is to it, with what is known; float32 [n_operations]
    size_bytes: int  # an estimate of what it occupies


def compile_catalog(catalog: Catalog) -> Compiled:
    """The compiled catalog, without vectors; blocks for about 0.4 ms an operation."""
    catalog = _shared(catalog)
    relations, words = Relations(catalog), Words(catalog)
    size_bytes = int(_CATALOG_BYTES * len(msgspec.msgpack.encode(catalog)))
    near = _near(catalog)
    size_bytes += _MATCHER_BYTES * len(catalog.operations) + relations.nbytes + words.nbytes + near.nbytes
    return Compiled(catalog, Matcher(catalog), relations, words, None, "", near, size_bytes)


def with_vectors(compiled: Compiled, vectors: np.ndarray, encoder: str = "") -> Compiled:
    """The same with vectors of `encoder`, float32 [n_operations, n_dims], unit length."""
    without = compiled.size_bytes - (0 if compiled.vectors is None else compiled.vectors.nbytes)
    near = _near(compiled.catalog)  # another one with them
    size_bytes = without + vectors.nbytes
    return dataclasses.replace(compiled, vectors=vectors, encoder=encoder, near=near, size_bytes=size_bytes)


def _shared(catalog: Catalog) -> Catalog:
    """The same with one object for equal parameters: a big catalog has few different ones, many operations each."""
    known: dict[bytes, Parameter] = {}
    encode = msgspec.msgpack.Encoder().encode
    operations = tuple(
        msgspec.structs.replace(o, parameters=tuple(known.setdefault(encode(p), p) for p in o.parameters))
        for o in catalog.operations
    )
    return msgspec.structs.replace(catalog, operations=operations)


def _near(catalog: Catalog) -> Kept:
    n = len(catalog.operations)
    return Kept(_NEAR_BYTES, 4 * n, n)


def content_digest(data: bytes) -> str:
    """How a spec's bytes are named: `sha256:` and 64 hexadecimal digits."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


@functools.cache
def compiler_version() -> str:
    """What stored catalogs are keyed by beside their digest: a hash of the code that makes them."""
    here = Path(__file__).resolve().parent
    made_by = [here.parent / "types.py", *sorted(here.glob("*.py"))]
    return hashlib.sha256(b"\0".join(path.read_bytes() for path in made_by)).hexdigest()[:12]
