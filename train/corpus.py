"""A folder of OpenAPI specs becomes a corpus of synthetic sessions, split by provider.

Chooses specs that differ from one another and from what evaluation uses, restyles some (RPC names,
blocks of a large API), walks over what each spec truly says (`train/walks.py`), and writes the
sessions beside a corrupted catalog, which is all that features will see. Deterministic by seed.
Called by `train/default_model.py`; `train/bootstrap.py` turns the result into query groups.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import hashlib
import os
import random
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import orjson

from pipeline.catalog import document, verbs
from pipeline.catalog.parse import parse_spec
from pipeline.errors import BadRequest, SpecError, TooLarge
from pipeline.settings import Parse
from pipeline.types import Call, Catalog, Operation, Parameter
from train.ground import Ground
from train.prompts import words, write_prompt
from train.walks import Walk, walk

# APIs that evaluation uses, their relatives and copies; nothing named so is ever trained on.
EVALUATION_FAMILIES = re.compile(r"github|ghes|gitea|gogs|tmdb|themoviedb|spotify|stripe|tau2|retail", re.I)
_SUFFIX = re.compile(r"\.(?:json|ya?ml)$")
_METHODS = frozenset({"get", "put", "post", "delete", "patch", "head", "options", "trace"})
_GIANTS = frozenset({"azure.com", "amazonaws.com", "googleapis.com"})
_OPERATIONS = (5, 260)  # a spec with fewer teaches no choice; a larger one is cut to a block


@dataclasses.dataclass(frozen=True, slots=True)
class Spec:
    """One chosen document."""

    name: str  # path inside the folder
    provider: str
    split: str  # train | valid | test
    shapes: frozenset[str]  # "GET /users/{}"


class Session(msgspec.Struct, frozen=True):
    """One synthetic session on one catalog of the corpus."""

    id: str
    catalog: str  # digest
    spec: str
    provider: str
    split: str
    prompt: str
    calls: tuple[Call, ...]
    operations: tuple[str, ...]  # key of each call's operation
    answers: tuple[int, ...]  # positions that may be asked for


@dataclasses.dataclass(frozen=True, slots=True)
class Plan:
    """How many and how: everything a corpus depends on besides the folder."""

    specs: int = 900
    sessions: int = 12  # of each spec
    seed: int = 7
    per_provider: int = 25
    giant_share: float = 0.08  # of all specs, for each of the three largest providers
    flatten: float = 0.35
    block: float = 0.35
    reorder: float = 0.35


def shapes_of(document: Any) -> list[str]:
    """`METHOD /path/{}` of every operation, without names of parameters."""
    paths = document.get("paths") if isinstance(document, dict) else None
    out = []
    for path, item in (paths if isinstance(paths, dict) else {}).items():
        out += [shape_of(m, str(path)) for m in item if m in _METHODS] if isinstance(item, dict) else []
    return out


def shape_of(method: str, path: str) -> str:
    return f"{method.upper()} {re.sub(r'{[^}]*}', '{}', path).lower().rstrip('/')}"


def choose(
    folder: Path,
    plan: Plan,
    exclude: Path | None = None,
    progress: Callable[[int, int], None] = lambda done, chosen: None,
    limits: Parse | None = None,
    dropped: Counter[str] | None = None,
) -> list[Spec]:
    """The specs of `folder` to train on: no evaluation family, no near copy of another one, no flood of one provider.

    `exclude` is a folder of specs; one that shares over 30 % of its paths with any of them is left out.
    A spec over half of whose paths stand in one chosen before is left out, over 30 % if the splits differ. YAML is
    read only with `limits`; `dropped` counts what was left out, by its reason.

    Raises:
        BadRequest: a document of `exclude` cannot be read.
    """
    dropped = Counter() if dropped is None else dropped
    barred = set()
    for file in _documents(exclude, limits) if exclude else ():
        content = _load(file, limits)
        if content is None:
            raise BadRequest(f"{file} cannot be read, so that nobody knows what it would leave out.")
        barred |= set(shapes_of(content))
    files = sorted(_documents(folder, limits), key=lambda f: _hash(plan.seed, f.relative_to(folder).as_posix()))
    chosen: list[Spec] = []
    owners: dict[str, list[int]] = defaultdict(list)
    taken: Counter[str] = Counter()
    for done, file in enumerate(files):
        if len(chosen) >= plan.specs:
            break
        progress(done, len(chosen))
        name = file.relative_to(folder).as_posix()
        provider = _SUFFIX.sub("", name.split("/", 1)[0])
        allowed = plan.giant_share * plan.specs if provider in _GIANTS else plan.per_provider
        if EVALUATION_FAMILIES.search(name):
            dropped["of evaluation families"] += 1
            continue
        if taken[provider] >= allowed:
            dropped["more of a provider that has its share"] += 1
            continue
        content = _load(file, limits)
        if content is None:
            dropped["neither JSON nor YAML"] += 1
            continue
        shapes = shapes_of(content)
        unique = frozenset(shapes)
        if len(shapes) < _OPERATIONS[0]:
            dropped[f"with fewer than {_OPERATIONS[0]} operations"] += 1
            continue
        if sum("#" in s or "?" in s for s in shapes) > 0.2 * len(shapes):
            dropped["with operations told apart by query"] += 1
            continue
        if len(unique & barred) > 0.3 * len(unique):
            dropped["like an excluded one"] += 1
            continue
        split = split_of(provider, plan.seed)
        shared = Counter(owner for shape in unique for owner in owners[shape])
        if any(n > (0.5 if chosen[i].split == split else 0.3) * len(unique) for i, n in shared.items()):
            dropped["like another one"] += 1
            continue
        for shape in unique:
            owners[shape].append(len(chosen))
        taken[provider] += 1
        chosen.append(Spec(name, provider, split, unique))
    return chosen


def _documents(folder: Path, limits: Parse | None) -> list[Path]:
    """The documents under a folder; YAML only where there are limits to read it within."""
    kinds = ("*.json", "*.yaml", "*.yml") if limits else ("*.json",)
    return sorted(file for kind in kinds for file in folder.rglob(kind) if file.is_file())


def _load(file: Path, limits: Parse | None) -> Any:
    try:
        data = file.read_bytes()
        return orjson.loads(data) if file.suffix == ".json" or not limits else document.load(data, limits, [])
    except (orjson.JSONDecodeError, OSError, SpecError, TooLarge):
        return None


def split_of(provider: str, seed: int) -> str:
    """train (84 %), valid (8 %: early stopping, calibration) or test (8 %: reported); the giants are always train."""
    share = _hash(seed, "split " + provider) % 100
    return "train" if provider in _GIANTS or share < 84 else "valid" if share < 92 else "test"


def fold_of(provider: str, folds: int, seed: int) -> int:
    """The fold, of `folds`, that a provider is left out with where what is fitted must not know it (cross-fitting)."""
    digest = hashlib.blake2b(f"{seed} fold {provider}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") % folds


def synthesize(
    folder: Path, specs: Iterable[Spec], plan: Plan, limits: Parse, workers: int = 2
) -> Iterator[tuple[Spec, Catalog, list[Session]]]:
    """Of each spec the catalog that features may see and its sessions, in the order of `specs`."""
    jobs = [(folder, spec, plan, limits) for spec in specs]
    if workers <= 1:
        yield from filter(None, map(_one, jobs))
        return
    with concurrent.futures.ProcessPoolExecutor(workers, initializer=os.nice, initargs=(5,)) as pool:
        yield from filter(None, pool.map(_one, jobs, chunksize=4))


def _one(job: tuple[Path, Spec, Plan, Parse]) -> tuple[Spec, Catalog, list[Session]] | None:
    folder, spec, plan, limits = job
    rng = random.Random(_hash(plan.seed, "sessions " + spec.name))
    try:
        catalog = parse_spec((folder / spec.name).read_bytes(), limits)
    except (SpecError, TooLarge):
        return None
    truth = restyle(catalog, rng, plan)
    if len(truth.operations) < _OPERATIONS[0]:
        return None
    seen = corrupt(truth, rng)
    ground = Ground(truth)
    sessions = []
    for number in range(plan.sessions):
        made = walk(ground, rng)
        if made is None:
            continue
        sessions.append(
            Session(
                id=f"{spec.name}#{number}",
                catalog=seen.digest,
                spec=spec.name,
                provider=spec.provider,
                split=spec.split,
                prompt=_prompt(made, truth, rng),
                calls=made.calls[:40],
                operations=tuple(truth.operations[i].key for i in made.operations[:40]),
                answers=tuple(a for a in made.answers if a < 40),
            )
        )
    return spec, seen, sessions


def _prompt(made: Walk, truth: Catalog, rng: random.Random) -> str:
    second = truth.operations[made.second] if made.second is not None else None
    return write_prompt(rng, truth.operations[made.goal], made.mentions, second, made.searched)


def restyle(catalog: Catalog, rng: random.Random, plan: Plan) -> Catalog:
    """The catalog as another team might have published it: a block of it, or RPC names instead of resources."""
    operations = list(catalog.operations)
    if len(operations) > _OPERATIONS[1] or (len(operations) > 14 and rng.random() < plan.block):
        size = rng.randint(10, 40) if rng.random() < 0.7 else rng.randint(40, _OPERATIONS[1])
        start = rng.randrange(max(1, len(operations) - size + 1))
        operations = operations[start : start + size]
    if rng.random() < plan.flatten:
        operations = flatten(operations, rng)
    order = rng.random()
    if order < plan.reorder:  # document order says much in most specs and nothing in some
        operations.sort(key=lambda o: (o.path, o.method)) if order < plan.reorder / 2 else rng.shuffle(operations)
    return _with_operations(catalog, operations)


def flatten(operations: list[Operation], rng: random.Random) -> list[Operation]:
    """`GET /users/{id}/orders` becomes `GET /list_user_orders` with a required `user_id`, for every operation."""
    join = rng.choices(("_", "-", ""), (0.7, 0.15, 0.15))[0]
    prefix = rng.choice(("/", "/", "/api/", "/tools/"))
    only_post = rng.random() < 0.2
    out: dict[str, Operation] = {}
    for op in operations:
        name = words(op.operation_id)
        if len(name) < 2 or len(name) > 8:
            literals = [s for s in op.path.split("/") if s and "{" not in s][-2:]
            verb = {"GET": "get", "POST": "create", "PUT": "update", "PATCH": "update", "DELETE": "delete"}
            name = [verb.get(op.method, "do"), *(w for s in literals for w in words(s))]
        text = join.join(name) if join else name[0] + "".join(w.title() for w in name[1:])
        method = "POST" if only_post or op.verb != "read" else "GET"
        key = f"{method} {prefix}{text}"
        if key in out:
            continue
        noun = next(
            (w.rstrip("s") for s in reversed(op.path.split("/")) if s and "{" not in s for w in words(s)[-1:]), "item"
        )
        verb_class, family = verbs.classify(method, prefix + text, text, op.summary)
        out[key] = msgspec.structs.replace(
            op,
            method=method,
            path=prefix + text,
            operation_id=text,
            parameters=tuple(_argument(p, op.path, method) for p in op.parameters),
            response_fields=tuple(f"{noun}_id" if f == "id" else f for f in op.response_fields),
            links=(),
            verb=verb_class,
            destructive=family,
        )
    return list(out.values())


def _argument(parameter: Parameter, path: str, method: str) -> Parameter:
    if parameter.location != "path":
        moved = "body" if parameter.location == "query" and method == "POST" else parameter.location
        return msgspec.structs.replace(parameter, location=moved)
    name = parameter.name
    if name.lower() in ("id", "uuid", "slug", "name", "key"):
        literals = [s for s in path.split("{" + name)[0].split("/") if s and "{" not in s]
        name = "_".join([*(w.rstrip("s") for w in words(literals[-1] if literals else "item")), name.lower()])
    return msgspec.structs.replace(parameter, name=name, location="query" if method == "GET" else "body", required=True)


def corrupt(truth: Catalog, rng: random.Random) -> Catalog:
    """What the features may see of a catalog: as real specs are, incomplete.

    Response schemas hidden in 30 % of catalogs, otherwise 30 % of their fields; descriptions in 15 %; operation ids in
    10 %; links always forgotten in half of them.
    """
    no_responses, no_descriptions = rng.random() < 0.30, rng.random() < 0.15
    no_ids, no_links = rng.random() < 0.10, rng.random() < 0.5
    operations = []
    for op in truth.operations:
        fields = () if no_responses else tuple(f for f in op.response_fields if rng.random() >= 0.3)
        operations.append(
            msgspec.structs.replace(
                op,
                response_fields=fields,
                description="" if no_descriptions else op.description,
                summary="" if no_descriptions and rng.random() < 0.3 else op.summary,
                operation_id="" if no_ids else op.operation_id,
                links=() if no_links else op.links,
            )
        )
    return _with_operations(truth, operations)


def _with_operations(catalog: Catalog, operations: list[Operation]) -> Catalog:
    bare = msgspec.structs.replace(catalog, digest="", operations=tuple(operations), warnings=())
    digest = hashlib.sha256(msgspec.msgpack.encode(bare)).hexdigest()
    return msgspec.structs.replace(bare, digest=f"sha256:{digest}")


def write(corpus: Iterable[tuple[Spec, Catalog, list[Session]]], folder: Path) -> tuple[int, int]:
    """Writes catalogs.parquet and sessions.parquet under `folder`; returns how many of each."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder.mkdir(parents=True, exist_ok=True)
    catalogs: list[dict[str, Any]] = []
    sessions: list[dict[str, Any]] = []
    for spec, catalog, made in corpus:
        row = {"digest": catalog.digest, "spec": spec.name, "provider": spec.provider, "split": spec.split}
        catalogs.append(row | {"catalog": msgspec.msgpack.encode(catalog)})
        sessions += [msgspec.structs.asdict(s) | {"calls": msgspec.json.encode(s.calls).decode()} for s in made]
    pq.write_table(pa.Table.from_pylist(catalogs), folder / "catalogs.parquet", compression="zstd")
    pq.write_table(pa.Table.from_pylist(sessions), folder / "sessions.parquet", compression="zstd")
    return len(catalogs), len(sessions)


def read(folder: Path) -> Iterator[tuple[Catalog, list[Session]]]:
    """The corpus written under `folder`, one catalog at a time."""
    import pyarrow.parquet as pq

    by_catalog: dict[str, list[Session]] = defaultdict(list)
    for row in pq.read_table(folder / "sessions.parquet").to_pylist():
        calls = msgspec.json.decode(row.pop("calls"), type=tuple[Call, ...])
        session = Session(**row | {k: tuple(row[k]) for k in ("operations", "answers")}, calls=calls)
        by_catalog[session.catalog].append(session)
    for row in pq.read_table(folder / "catalogs.parquet").to_pylist():
        yield msgspec.msgpack.decode(row["catalog"], type=Catalog), by_catalog[row["digest"]]


def _hash(seed: int, text: str) -> int:
    return int.from_bytes(hashlib.blake2b(f"{seed} {text}".encode(), digest_size=8).digest(), "big")
