"""Instruction pairs: the very prompts of serving, replies that its reader and its grammar take, nothing to cheat by."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from pipeline import settings as configuration
from pipeline.candidates import overview, prompt, travel
from pipeline.candidates.propose import Proposer, compose
from pipeline.catalog.compile import compiler_version
from pipeline.catalog.library import compile_catalog
from pipeline.errors import BadRequest
from pipeline.predict import assemble
from pipeline.ranking import features
from pipeline.ranking.ranker import serving
from pipeline.ranking.table import FEATURES, FINGERPRINT
from pipeline.settings import Settings
from pipeline.stores.embedded import EmbeddedRedis
from pipeline.stores.journal import Journal
from pipeline.stores.state import State
from pipeline.types import Catalog, GroundedQuery, Impression, Query, QueryGroup, Source
from tests.fakes import ScriptedEngine, WaitingGroups
from train import corpus, generator, pairs
from train.dataset import SPLITS
from train.pairs import Pair

_DAY = 1_790_000_000.0
_FEATURES = np.zeros((1, len(FEATURES)), dtype=np.float16).tobytes()


def settings(mode: str = "choose", overview_tokens: int = 0) -> Settings:
    few = {"model": "any", "mode": mode, "options": 24, "overview_tokens": overview_tokens, "max_model_len": 8192}
    return configuration.load("local-vllm", generator=few)


@pytest.fixture(scope="module")
def sessions(specs_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    plan = corpus.Plan(specs=50, sessions=3, per_provider=50)
    limits = configuration.load().parse
    corpus.write(corpus.synthesize(specs_folder, corpus.choose(specs_folder, plan), plan, limits, workers=1), folder)
    return folder


def made(sessions: Path, loaded: Settings, seed: int = 7) -> list[Pair]:
    return list(pairs.of_corpus(sessions, None, loaded, seed, Counter()))


def asked(sessions: Path) -> Mapping[str, tuple[Query, GroundedQuery, Catalog]]:
    """The queries about the first calls of the corpus, as serving would get them."""
    found = {}
    for catalog, some in corpus.read(sessions):
        compiled = compile_catalog(catalog)
        for session in some:
            query = Query(Source(digest=catalog.digest), prompt=session.prompt)
            grounded, _ = assemble(query, compiled, None, {}, configuration.load().shortlist)
            found[f"{session.id} 0"] = query, grounded, catalog
    return found


async def test_a_pair_asks_what_the_proposer_asks(sessions: Path) -> None:
    loaded, known = settings(), asked(sessions)
    first = [pair for pair in made(sessions, loaded) if pair.id in known]
    assert len(first) > 10
    for pair in first:
        query, grounded, _ = known[pair.id]
        engine = ScriptedEngine(pair.reply)
        proposal = await Proposer(loaded.generator, engine).propose(query, grounded, 5.0)
        assert engine.calls[0]["messages"] == list(pair.messages)
        options = compose(loaded.generator, query, grounded, None).options
        assert proposal.picks[0][0] == options.indexes[pair.option - 1]
        # What is taught is what is read: nothing of the reply is dropped or patched.
        wrote = json.loads(pair.reply)["picks"]
        assert len(wrote) == len(proposal.picks)
        assert [list(pick["params"]) for pick in wrote] == [list(params) for _, params, _ in proposal.picks]
        assert [pick["why"] for pick in wrote] == [why for _, _, why in proposal.picks]


async def test_a_letter_is_the_right_one_in_one_of_the_orders_of_serving(sessions: Path) -> None:
    loaded, known = settings("logprob"), asked(sessions)
    orders: Counter[int] = Counter()
    for pair in made(sessions, loaded):
        assert pair.reply == prompt.LETTERS[pair.option - 1]
        if pair.id not in known:
            continue
        query, grounded, _ = known[pair.id]
        request = compose(loaded.generator, query, grounded, None)
        turn = next(i for i, messages in enumerate(request.messages) if messages == list(pair.messages))
        orders[turn] += 1
        right = request.options.candidates[request.orders[turn][pair.option - 1]].operation
        line = next(line for line in pair.messages[1]["content"].splitlines() if line.startswith(f"{pair.reply}. "))
        assert line.removeprefix(f"{pair.reply}. ").split(" | ")[0] == right
    assert set(orders) == set(range(loaded.generator.permutations))


def test_a_pair_that_is_judged_by_says_what_the_ranker_alone_would_choose(sessions: Path, tmp_path: Path) -> None:
    loaded, ranker = settings("logprob"), serving()
    held = [
        (corpus.Spec(some[0].spec, some[0].provider, "valid", frozenset()), catalog,
         [msgspec.structs.replace(session, split="valid") for session in some])
        for catalog, some in corpus.read(sessions)
    ]  # fmt: skip
    corpus.write(held, tmp_path)
    known, right = asked(sessions), 0
    found = [pair for pair in made(tmp_path, loaded) if pair.id in known]
    for pair in found:
        query, grounded, _ = known[pair.id]
        scores = ranker.score(features.compute(grounded, query, None), "prompt_only").raw
        lines = pair.messages[1]["content"].splitlines()
        offered = {line.split(" | ")[0][3:] for line in lines if line[1:3] == ". "}
        best = max((score, c.operation) for score, c in zip(scores, grounded.candidates, strict=True)
                   if c.operation in offered)[1]  # fmt: skip
        assert any(line.startswith(f"{prompt.LETTERS[pair.ranked - 1]}. {best} |") for line in lines)
        right += pair.ranked == pair.option
    assert 0 < right < len(found)
    assert {pair.ranked for pair in made(sessions, loaded) if pair.split == "train"} == {0}


def test_arguments_stand_in_what_was_said(sessions: Path) -> None:
    told = 0
    for pair in made(sessions, settings()):
        said = pair.messages[1]["content"].lower()
        for pick in json.loads(pair.reply)["picks"]:
            told += len(pick["params"])
            assert all(str(value).lower() in said for value in pick["params"].values()), pair
    assert told > 20


@pytest.mark.vllm
@pytest.mark.parametrize("tokens", [0, 4000])
def test_the_grammar_of_serving_takes_every_reply(sessions: Path, tokens: int) -> None:
    import xgrammar
    from xgrammar.testing import _is_grammar_accept_string

    loaded = settings(overview_tokens=tokens)
    known = {id_: catalog for id_, (_, _, catalog) in asked(sessions).items()}
    grammars: dict[str, Any] = {}
    seen: Counter[bool] = Counter()
    for pair in made(sessions, loaded):
        catalog = known[pair.id.rsplit(" ", 1)[0] + " 0"]
        with_overview = "Its operations:" in pair.messages[1]["content"]
        view = overview.overview(travel.cards(catalog.operations, 500), tokens) if with_overview else None
        schema = json.dumps(prompt.schema(pair.options, 7, view))
        if schema not in grammars:
            grammars[schema] = xgrammar.Grammar.from_json_schema(schema, any_whitespace=False)
        assert _is_grammar_accept_string(grammars[schema], pair.reply), (pair.reply, schema)
        seen[with_overview] += 1
    assert set(seen) == ({True, False} if tokens else {False})


def test_pairs_are_split_by_provider_and_the_same_seed_gives_the_same(sessions: Path, tmp_path: Path) -> None:
    found = made(sessions, settings())
    by_provider = Counter((pair.provider, pair.split) for pair in found)
    assert len(by_provider) == len({provider for provider, _ in by_provider})
    counts = pairs.write(found, tmp_path / "one")
    assert counts == Counter(pair.split for pair in found)
    assert pairs.read(tmp_path / "one", "train") == [pair for pair in found if pair.split == "train"]
    pairs.write(made(sessions, settings()), tmp_path / "two")
    assert pairs.content_hash(tmp_path / "one") == pairs.content_hash(tmp_path / "two")
    pairs.write(found[1:], tmp_path / "two")
    assert pairs.content_hash(tmp_path / "one") != pairs.content_hash(tmp_path / "two")


def harmless(catalog: Catalog) -> list[str]:
    return [operation.key for operation in catalog.operations if not operation.destructive]


def _group(i: int, catalog: Catalog, lineage: str = "garden") -> QueryGroup:
    keys = harmless(catalog)
    shown = Impression(
        id=f"{i:026}", tenant="local", user=f"u{i}", lineage=lineage, digest=catalog.digest, ts=_DAY + 4000 * i,
        shown=(keys[1],), features=_FEATURES, fingerprint=FINGERPRINT, head="history_only",
        history=(keys[0],) if i % 5 else (),
    )  # fmt: skip
    return QueryGroup(shown, (1,), "accept", keys[1], shown.ts + 1, weight=0.5)


async def test_the_journal_gives_pairs_of_what_came_after_what(sessions: Path, tmp_path: Path) -> None:
    catalog = next(catalog for catalog, _ in corpus.read(sessions))
    gone = msgspec.structs.replace(catalog, digest="sha256:gone")
    groups = [_group(i, catalog) for i in range(20)]
    groups += [_group(21, gone), _group(22, catalog, lineage="https://api.github.com/spec.json")]
    journal = Journal.at(configuration.load().journal, tmp_path)
    await journal.drain(WaitingGroups(groups))  # type: ignore[arg-type]
    lost: Counter[str] = Counter()
    found = list(pairs.of_journal(journal, {catalog.digest: catalog}.get, settings("logprob"), 7, lost))
    assert lost == {
        "without history or choice": 4,
        "of a catalog that is gone": 1,
        "of evaluation families": 1,
    }
    assert len(found) == 16
    assert {pair.split for pair in found} == {"train", "valid", "test"}
    ids = [pair.id for pair in found]
    assert max(pair.id for pair in found if pair.split == "train") < min(p.id for p in found if p.split == "test")
    assert ids == sorted(ids)
    for pair in found:
        assert pair.weight == 0.5
        assert f"Calls so far:\n- {harmless(catalog)[0]}\n" in pair.messages[1]["content"]
        assert f"\n{pair.reply}. {harmless(catalog)[1]} |" in pair.messages[1]["content"]


@pytest.mark.redis
def test_a_journal_is_read_with_the_catalogs_that_the_state_still_has(sessions: Path, tmp_path: Path) -> None:
    catalog = next(catalog for catalog, _ in corpus.read(sessions))
    loaded = settings("logprob")
    with EmbeddedRedis(tmp_path, loaded.state.redis_server) as redis:

        async def fill() -> None:
            state = State(loaded.state, redis.url)
            await state.catalogs.put_catalog(compiler_version(), catalog.digest, msgspec.msgpack.encode(catalog))
            await state.close()
            waiting = WaitingGroups([_group(i, catalog) for i in range(20)])
            await Journal.at(loaded.journal, tmp_path).drain(waiting)  # type: ignore[arg-type]

        asyncio.run(fill())
        counts, lost = generator.make_pairs([], None, tmp_path, loaded, 7, tmp_path / "pairs")
    assert counts.total() == 16 == len([pair for split in SPLITS for pair in pairs.read(tmp_path / "pairs", split)])
    assert lost == {"without history or choice": 4}


def test_nothing_to_learn_from_is_said_with_the_reasons(tmp_path: Path) -> None:
    corpus.write([], tmp_path / "corpus")
    with pytest.raises(BadRequest, match="0 pairs to train on and 0 to judge by: there is none"):
        generator.make_pairs([tmp_path / "corpus"], None, None, settings(), 7, tmp_path / "pairs")
