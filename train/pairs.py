"""Sessions become instruction pairs: what the generator is asked, by the very code that asks it, and the right reply.

Sessions of a corpus (`train/corpus.py`) ask with their prompt, as serving does. Of the journal, which keeps no words
of anybody, a pair has the calls before and the one chosen, with empty wish and no arguments. What prompt and reply
look like the section `generator` of the settings decides. Split by provider as the corpus is, the journal by time;
what evaluation uses is left out by name. Written and read as Parquet; called by `train/generator.py`.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import random
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from pipeline.candidates import overview, prompt, travel
from pipeline.candidates.propose import Request, compose
from pipeline.candidates.quoting import clean, estimate_tokens
from pipeline.catalog.embed import operation_card
from pipeline.catalog.library import Compiled, compile_catalog, with_vectors
from pipeline.errors import GeneratorError
from pipeline.predict import assemble
from pipeline.ranking import features
from pipeline.ranking.ranker import serving
from pipeline.settings import Settings
from pipeline.types import Call, Candidate, Catalog, GroundedQuery, Query, Source
from train import corpus, replay
from train.bootstrap import Vectors
from train.dataset import SPLITS

Array = np.ndarray[Any, np.dtype[Any]]

_POSITIONS = 2  # asked of one session, beside its first call
_EVENTS = 20  # last calls of a query
_WITHOUT_OVERVIEW = 0.3  # share of prompts without a catalog's overview, as those that come before it is read
_LINE_TOKENS = 8  # the shortest line of an overview takes about so many
_WHY_MAX = 80
_PARAMS_MAX = 4
_VALUE_MAX = 60
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,39}")  # of an argument where no overview says which there are
_TYPES = {"integer": int, "boolean": bool}
_ROWS = 1024  # written at once
_SIDES = {"train": "train", "valid": "valid", "later": "test"}  # of the journal


class Pair(msgspec.Struct, frozen=True):
    """One question with its reply."""

    id: str
    provider: str  # the journal's is its lineage
    split: str  # train | valid | test
    messages: tuple[dict[str, str], ...]
    reply: str
    option: int  # number of the right option, counted from 1 as the model reads them
    options: int  # how many there are
    weight: float = 1.0
    ranked: int = 0  # number of the option that the ranker alone finds likeliest; 0 where nothing is judged by the pair


def of_corpus(
    folder: Path, vectors: Vectors | None, settings: Settings, seed: int, lost: Counter[str]
) -> Iterator[Pair]:
    """The pairs of a corpus; `vectors` has its cards and prompts, without it the shortlist goes by words alone.

    `lost` counts what gave no pair, by its reason.
    """
    ranker = serving(settings.ranker.artifact)
    for catalog, sessions in corpus.read(folder):
        if sessions and corpus.EVALUATION_FAMILIES.search(sessions[0].spec):
            lost["of evaluation families"] += len(sessions)
            continue
        rng = random.Random(f"{seed} {catalog.digest}")
        compiled = compile_catalog(catalog)
        if vectors is not None:
            compiled = with_vectors(compiled, vectors.of([operation_card(o) for o in catalog.operations]))
        known = _overview(catalog, settings)
        for session in sessions:
            if not session.prompt:
                lost["without a prompt"] += 1
                continue
            vector = None if vectors is None else vectors.of([session.prompt])[0]
            later = [a for a in session.answers if a > 0]
            first = [a for a in session.answers if a == 0]
            for position in first + sorted(rng.sample(later, min(_POSITIONS, len(later)))):
                call = session.calls[position]
                query = Query(
                    Source(digest=catalog.digest), calls=session.calls[:position][-_EVENTS:], prompt=session.prompt
                )
                grounded, matrix = assemble(query, compiled, vector, {}, settings.shortlist)
                scores = ranker.score(matrix, features.head(query)).raw if session.split == "valid" else None
                match = compiled.matcher.match(call.method, call.path, call.params)
                given = {**call.params, **({} if match is None else match.path_params)}
                pair = _pair(query, grounded, scores, session.operations[position], given, known, settings, rng, lost)
                if pair is not None:
                    yield msgspec.structs.replace(
                        pair, id=f"{session.id} {position}", provider=session.provider, split=session.split
                    )


def of_journal(
    journal: replay.Journal,
    catalog: Callable[[str], Catalog | None],
    settings: Settings,
    seed: int,
    lost: Counter[str],
) -> Iterator[Pair]:
    """The pairs of what users did, the latest as test; `catalog` gives the one of a digest, None where it is gone."""
    limits, ranker = settings.train, serving(settings.ranker.artifact)
    found = replay.names(journal, limits.groups_max)
    cut = replay.split(found, limits.later_share, limits.valid_share, limits.groups_max)
    kept: dict[str, tuple[Compiled, overview.Overview | None] | None] = {}
    columns = ("id", "ts", "lineage", "digest", "history", "chosen", "weight")
    for batch in journal.groups(since=None, fingerprint="", columns=columns, batch=512):
        for row in batch.to_pylist():
            side = cut.side(row["id"], round(row["ts"].timestamp() * 1e6))
            history, digest = row["history"] or (), row["digest"]
            if not side or not row["chosen"] or not history:
                lost["without history or choice"] += 1
                continue
            if corpus.EVALUATION_FAMILIES.search(row["lineage"]):
                lost["of evaluation families"] += 1
                continue
            if digest not in kept:
                there = catalog(digest)
                kept[digest] = (compile_catalog(there), _overview(there, settings)) if there else None
            held = kept[digest]
            if held is None:
                lost["of a catalog that is gone"] += 1
                continue
            compiled, known = held
            calls = tuple(Call(*key.split(" ", 1)) for key in history)
            query = Query(Source(digest=digest), calls=calls)
            grounded, matrix = assemble(query, compiled, None, {}, settings.shortlist)
            scores = ranker.score(matrix, features.head(query)).raw if side == "valid" else None
            rng = random.Random(f"{seed} {row['id']}")
            pair = _pair(query, grounded, scores, row["chosen"], {}, known, settings, rng, lost)
            if pair is not None:
                yield msgspec.structs.replace(
                    pair, id=row["id"], provider=row["lineage"], split=_SIDES[side], weight=row["weight"]
                )


def _overview(catalog: Catalog, settings: Settings) -> overview.Overview | None:
    """What the generator knows of a catalog once it has met it; None where it is told none."""
    tokens = settings.generator.overview_tokens
    if not tokens:
        return None
    return overview.overview(travel.cards(catalog.operations, tokens // _LINE_TOKENS), tokens)


def _pair(
    query: Query,
    grounded: GroundedQuery,
    scores: Array | None,
    wanted: str,
    given: Mapping[str, Any],
    known: overview.Overview | None,
    settings: Settings,
    rng: random.Random,
    lost: Counter[str],
) -> Pair | None:
    """The pair in which `wanted` is the right operation, called with `given`; None where it is not offered.

    `scores` [n_candidates] are the ranker's, of a pair that is judged by.
    """
    if known is not None and rng.random() < _WITHOUT_OVERVIEW:
        known = None
    try:
        request = compose(
            settings.generator, query, grounded, known, holds_back=settings.guardrails.destructive != "allow"
        )
    except GeneratorError:
        lost["with nothing to offer"] += 1
        return None
    number = next((n for n, c in enumerate(request.options.candidates) if c.operation == wanted), None)
    if number is None:
        lost["whose answer is not offered"] += 1
        return None
    indexes = list(request.options.indexes)
    order, messages = list(range(len(indexes))), request.messages[0]
    if request.orders:
        turn = rng.randrange(len(request.orders))
        order, messages = request.orders[turn], request.messages[turn]
    option = order.index(number) + 1
    ranked = 0 if scores is None else order.index(int(scores[indexes].argmax())) + 1
    if request.orders:
        reply = prompt.LETTERS[option - 1]
    else:
        reply = _written(request, number, given, query, settings.generator.max_tokens)
    return Pair("", "", "train", tuple(messages), reply, option, len(indexes), ranked=ranked)


def _written(request: Request, right: int, given: Mapping[str, Any], query: Query, token_limit: int) -> str:
    """The reply in JSON: the right option, then the shortlist's own order, as many as were asked for and fit."""
    candidates = request.options.candidates
    by_rank = sorted(range(len(candidates)), key=lambda n: request.options.indexes[n])
    order = [right, *(n for n in by_rank if n != right)][: request.picks]
    said = prompt.said(query)
    picks = []
    for n in order:
        candidate = candidates[n]
        params = _arguments(given if n == right else candidate.params, candidate, said, request.known)
        about = clean(candidate.summary or candidate.operation_id or candidate.operation, _WHY_MAX)
        picks.append({"i": n + 1, "params": params, "why": about})
    while True:
        text = json.dumps({"picks": picks}, ensure_ascii=False)  # the grammar's own blanks: ", " and ": "
        if len(picks) == 1 or estimate_tokens(text) <= token_limit:
            return text
        picks.pop()


def _arguments(
    given: Mapping[str, Any], candidate: Candidate, said: str, known: overview.Overview | None
) -> dict[str, Any]:
    """Of the arguments those that can be known, as the grammar has them: by name, strings unless it says else."""
    declared = {p.name for p in candidate.schema if p.location not in ("header", "cookie")}
    arguments: dict[str, Any] = {}
    for name in sorted(declared & given.keys()):
        value = given[name]
        if not isinstance(value, str | int | float | bool) or not prompt.stands_in(str(value), said):
            continue
        text = clean(str(value), _VALUE_MAX)
        if known is None or not known.arguments:
            if _NAME.fullmatch(name):
                arguments[name] = text
        elif (kind := known.arguments.get(name)) is not None:
            if "enum" in kind:
                fits = value in kind["enum"]
            else:
                fits = kind["type"] == "string" or type(value) is _TYPES[kind["type"]]
            if fits:
                arguments[name] = text if kind.get("type") == "string" else value
        if len(arguments) == _PARAMS_MAX:
            break
    return arguments


def write(pairs: Iterable[Pair], folder: Path) -> Counter[str]:
    """Writes pairs as `folder/{split}.parquet`, in place of older ones; returns how many of each split."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder.mkdir(parents=True, exist_ok=True)
    kinds = pa.schema(
        [
            ("id", pa.string()),
            ("provider", pa.string()),
            ("messages", pa.string()),  # JSON
            ("reply", pa.string()),
            ("option", pa.int32()),
            ("options", pa.int32()),
            ("weight", pa.float32()),
            ("ranked", pa.int32()),
        ]
    )
    counts: Counter[str] = Counter()
    waiting: dict[str, list[dict[str, Any]]] = {split: [] for split in SPLITS}
    with contextlib.ExitStack() as stack:
        files = {
            split: stack.enter_context(pq.ParquetWriter(folder / f"{split}.parquet", kinds, compression="zstd"))
            for split in SPLITS
        }

        def flush(split: str, least: int) -> None:
            if len(waiting[split]) >= least:
                files[split].write_table(pa.Table.from_pylist(waiting[split], schema=kinds))
                waiting[split].clear()

        for pair in pairs:
            row = msgspec.structs.asdict(pair) | {"messages": json.dumps(pair.messages, ensure_ascii=False)}
            waiting[row.pop("split")].append(row)
            counts[pair.split] += 1
            flush(pair.split, _ROWS)
        for split in SPLITS:
            flush(split, 1)
    return counts


def read(folder: Path, split: str) -> list[Pair]:
    """The pairs of one split, in the order they were written."""
    import pyarrow.parquet as pq

    rows = pq.read_table(folder / f"{split}.parquet").to_pylist()
    return [Pair(**row | {"split": split, "messages": tuple(json.loads(row["messages"]))}) for row in rows]


def content_hash(folder: Path) -> str:
    """Hash of all that is learnt from and judged by under `folder`."""
    import pyarrow.parquet as pq

    digest = hashlib.sha256()
    for split in SPLITS:
        table = pq.read_table(folder / f"{split}.parquet", columns=["id", "messages", "reply"])
        for name in table.column_names:
            digest.update("\0".join(table[name].to_pylist()).encode(errors="surrogatepass"))
    return f"sha256:{digest.hexdigest()}"
