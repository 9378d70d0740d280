"""STORY 1: a query becomes a prediction.

Told in two halves. `prepare` runs where the catalog lies (inside deployment Catalogs, or in process): match the calls,
shortlist, bind arguments, compute the features that depend on the catalog. `predict` runs in the ingress: guard,
recall, ground, score, propose where that is worth it and score again, order, remember. This is the only maker of
feature matrices; `assemble` makes them for training from the same two halves. It knows nothing of Ray: where a stage
runs is decided by whoever implements `Stages`.
"""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

import msgspec
import numpy as np

from pipeline import arms, guardrails
from pipeline.candidates import travel
from pipeline.candidates.arguments import Session
from pipeline.candidates.route import Outlook
from pipeline.candidates.standing import standing
from pipeline.catalog import mentions, parts, undo, verbs
from pipeline.catalog.compile import content_digest
from pipeline.catalog.entrances import sign_ins, signs_in
from pipeline.catalog.fetch import canonical_url
from pipeline.catalog.library import Compiled, lineage
from pipeline.catalog.retrieve import gather
from pipeline.catalog.terms import prompt_terms
from pipeline.errors import StateUnavailable, Unavailable
from pipeline.generate import outlook
from pipeline.ranking import adapt, features
from pipeline.ranking.entry import entry, entry_scores
from pipeline.ranking.propositions import NEEDS_OPERATION
from pipeline.ranking.table import Head
from pipeline.reasons import Reasons, explained
from pipeline.settings import Settings, Shortlist
from pipeline.types import (
    Answer,
    Candidate,
    GroundedQuery,
    Impression,
    Prediction,
    Proposal,
    Query,
    Route,
    Scores,
    Source,
)

_IMPRESSION_OTHERS = 24
_SIGN_INS = 3  # operations that sign in, of those who know nothing else to begin with
_RESCORE_S = 0.01  # that scoring again gets at least: a reply that came in time is not thrown away for a millisecond
_EXPLAINED = 10  # predictions whose features the ranker names; of more the reasons keep to plain evidence
_MORE = 3  # times k, for who wants explanations: what was learnt may lift what the ranker has far below


class Recall(adapt.Known, Protocol):
    """What the state knows before a query is grounded."""

    digest: str  # of the catalog the source names, "" when it is not known yet
    accepted: Collection[str]  # destructive operations this user accepted before
    habit: Mapping[str, float]  # operation key -> how often it followed the last call here


class Memory(Protocol):
    """The state, as this story needs it: one round trip before, one after."""

    async def recall(self, query: Query) -> Recall: ...

    async def remember(self, impression: Impression) -> None: ...

    async def amend(self, impression: Impression) -> None: ...

    def new_id(self) -> str: ...


class Stages(Protocol):
    """Where the work is done: in this process (`pipeline.local`) or behind deployment handles (`serve.remote`)."""

    async def ground(self, query: Query, habit: Mapping[str, float]) -> GroundedQuery:
        """The query grounded in its catalog; waits for a catalog never seen, up to its limit.

        Raises: SpecError, UnknownCatalog, CatalogPreparing, Unavailable.
        """
        ...

    async def propose(
        self, query: Query, grounded: GroundedQuery, outlook: Outlook, budget_s: float
    ) -> tuple[Proposal | None, Route]:
        """A generator's choice within `budget_s`, None when it is off, late, broken or not worth its cost; and why.

        `outlook` is what the ranker alone says.
        """
        ...

    async def score(
        self, matrix: np.ndarray, head: str, shown: Sequence[int] = (), explain: int = 0, arm: str = "champion"
    ) -> Scores:
        """Raw and calibrated scores of a matrix [n_candidates, n_features] float32.

        For the `explain` best of the rows `shown` also which features raised them. `arm` is who scores: where there
        is no challenger it is the champion.
        """
        ...


class _Nothing(adapt.Nothing):  # the recall of a state that is away or was never there
    digest = ""
    accepted: Collection[str] = ()
    habit: Mapping[str, float] = {}


def prepare(
    query: Query,
    compiled: Compiled,
    prompt_vector: np.ndarray | None,
    habit: Mapping[str, float],
    limits: Shortlist,
) -> GroundedQuery:
    """The half of the story that needs the catalog; pure and synchronous (milliseconds).

    `prompt_vector` is float32 [n_dims], unit length, None without a prompt or an embedder.

    Raises:
        BadRequest: an event names a proposition, or propositions are wanted, and the catalog holds operations.
    """
    started = time.perf_counter()
    if not compiled.catalog.holds_propositions:
        guardrails.operations_only(query)
    operations = compiled.catalog.operations
    matches = tuple(compiled.matcher.match(call.method, call.path, call.params) for call in query.calls)
    matched = [match.index for match in matches if match is not None]
    # Who only signed in has not said yet what for: the session opens with the next call.
    is_opening = not query.prompt.strip() and all(signs_in(operations[i]) for i in matched)
    ways_in: list[int] = []
    offered = habit
    if is_opening and not matched:
        ways_in = sign_ins(operations, _SIGN_INS)
        offered = {**{operations[i].key: 1e-6 for i in ways_in}, **habit}  # so that they are shortlisted
    read = (None,) * len(matches) if is_opening else matches
    evidence = gather(compiled, query, read, prompt_vector, offered, limits)
    done = [None if match is None else operations[match.index] for match in matches]
    values = [{} if match is None else match.path_params for match in matches]
    about = compiled.relations.entities
    is_own = mentions.ownership(about)
    session = Session(query.calls, done, values, query.prompt, query.today, about.reader_of, about.knows, is_own)
    without = NEEDS_OPERATION if compiled.catalog.holds_propositions else None
    with np.errstate(over="ignore"):  # beyond float16's range a value becomes infinite, which trees read well
        block = features.ground_block(evidence, without).astype(np.float16)
    if not is_opening:
        opening, order = None, features.prior_order(block, _head(query, bool(matched)))
    else:
        keys = [operations[i].key for i in evidence.candidates]
        signing = np.isin(evidence.candidates, ways_in) * 1.0 - np.isin(evidence.candidates, matched)
        opening = entry_scores(block, signing, [habit.get(key, 0.0) for key in keys])
        order = np.argsort(-opening, kind="stable")
    order = evidence.leading(order, max(limits.leading, limits.schemas, 2 * query.k))
    opening = None if opening is None else opening[order]
    block = block[order]
    candidates, bound, undoes, speaking = [], [], [], undo.done(operations, query.calls, matches)
    for position in order.tolist():
        operation = operations[evidence.candidates[position]]
        binding = session.bind(operation)
        bound.append(standing(operation, binding, session.past(operation)))
        if operation.destructive and undo.spoken_for(operation, binding.params, speaking):
            undoes.append(operation.key)
        candidates.append(
            Candidate(
                operation=operation.key,
                operation_id=operation.operation_id,
                summary=operation.summary,
                verb=operation.verb,
                destructive=operation.destructive,
                deprecated=operation.deprecated,
                params=binding.params,
                missing_params=binding.missing,
                guessed_params=binding.guessed,
                origins=binding.origins,
                sources=tuple(s for s in evidence.sources[position] if s != "habit" or operation.key in habit),
                reason="It signs in, as other calls may need." if evidence.candidates[position] in ways_in else "",
            )
        )
    features.add_bound(block, bound, without)
    schemas = [operations[i].parameters for i in evidence.candidates[order[: limits.schemas]]]
    fitting = travel.fit(candidates, schemas, travel.LIMIT_BYTES - block.nbytes)
    degraded = ("embedding",) if compiled.vectors is None or (query.prompt and prompt_vector is None) else ()
    return GroundedQuery(
        digest=compiled.catalog.digest,
        lineage=lineage(query.source, compiled.catalog.digest),
        title=compiled.catalog.title,
        operations=len(operations),
        previous=tuple(operations[index].key for index in matched[-3:]),
        unmatched=tuple(i for i, match in enumerate(matches, query.unread) if match is None),
        candidates=fitting,
        block=block[: len(fitting)],
        intents=tuple(sorted(verbs.intents(query.prompt))) if query.prompt else (),
        undoes=tuple(undoes),
        prompt_vector=prompt_vector,
        entry=None if opening is None else opening[: len(fitting)],
        degraded=degraded,
        ground_s=time.perf_counter() - started,
    )


async def predict(query: Query, stages: Stages, memory: Memory | None, settings: Settings) -> Answer:
    """The k most likely next calls; without a memory nothing is remembered and the prediction has no id.

    Raises:
        BadRequest, SpecError, UnknownCatalog, Unavailable: nothing to answer from. A generator, an
        embedder or a state that is away is no error: the answer names it in `degraded`.
    """
    started = time.perf_counter()
    query = guardrails.admit(query, settings.predict)
    if query.source.url:  # one URL has one spelling from here on: the state's keys hang on it
        url = canonical_url(query.source.url)
        query = msgspec.structs.replace(query, source=msgspec.structs.replace(query.source, url=url))
    screened = guardrails.screen(query.prompt, settings.guardrails)
    degraded: list[str] = []
    recall: Recall = _Nothing()
    if memory is not None:
        try:
            recall = await memory.recall(msgspec.structs.replace(query, prompt=screened.kept))
        except StateUnavailable:
            degraded += ["state", "adaptation"]
    if recall.digest and not query.source.digest:
        query = msgspec.structs.replace(query, source=msgspec.structs.replace(query.source, digest=recall.digest))
    recalled_at = time.perf_counter()
    grounded = await stages.ground(query, recall.habit)
    degraded += grounded.degraded
    grounded_at = time.perf_counter()
    # The deadline counts without what the first answer of a catalog never seen waits for the catalog.
    due = grounded_at - grounded.ground_s - (recalled_at - started) + query.deadline_s
    matrix = features.compute(grounded, query, None)  # [n_candidates, n_features] float32
    cleared, wholes = {*recall.accepted, *grounded.undoes}, parts.wholes(grounded.candidates, query.prompt)
    may = guardrails.allow(grounded.candidates, grounded.intents, cleared, settings.guardrails.destructive, wholes)
    showable = set(allowed := np.flatnonzero(may).tolist())
    explain, rival = _MORE * query.k if query.explain else min(query.k, _EXPLAINED), None
    head = _head(query, bool(grounded.previous))
    alone: tuple[Scores | None, Scores | None] = None, None  # what champion and challenger say without the generator
    prediction_id: str | None = None if memory is None or "state" in degraded else memory.new_id()
    arm = arms.assigned(query, settings.experiments) if prediction_id else "champion"

    async def scored(matrix: np.ndarray) -> tuple[Scores, Scores | None]:
        return await arms.scored(arm, lambda who: stages.score(matrix, head, allowed, explain, who))

    if grounded.entry is None:
        scores, rival = await scored(matrix)
    else:
        scores = entry(grounded.entry, matrix, allowed, explain)  # which reads the habit itself
    kept = msgspec.structs.replace(query, prompt=screened.kept)  # what is learnt knows no personal data
    adapted, order = _ordered(scores, kept, grounded, recall)
    scored_at = time.perf_counter()

    # Only now is it known what a generator could mend; what it proposes is scored with the rest.
    view = outlook(matrix, adapted.probability, [i for i in order if i in showable])
    veiled, hidden = guardrails.veil(query, screened, settings.guardrails)
    left_s = due - settings.generator.reserve_s - scored_at
    proposal, route = await stages.propose(veiled, grounded, view, left_s)
    proposed_at = time.perf_counter()
    if proposal is not None:
        proposal = guardrails.unveil(proposal, hidden)
        proposed = features.compute(grounded, query, proposal)
        try:
            async with asyncio.timeout(max(due - time.perf_counter(), _RESCORE_S)):
                (scores, rival), alone = await scored(proposed), (scores, rival)
        except (TimeoutError, Unavailable):
            proposal, route = None, dataclasses.replace(route, is_degraded=True)
        else:
            matrix = proposed
            adapted, order = _ordered(scores, kept, grounded, recall, alone[0])
    rescored_at = time.perf_counter()
    if route.is_degraded:
        degraded.append("generator")
    if not scores.is_current:
        degraded.append("registry")

    best = [i for i in order if i in showable]
    theirs = None
    if rival is not None:
        theirs = [i for i in _ordered(rival, kept, grounded, recall, alone[1])[1] if i in showable]
    harmless = {i for i in allowed if not grounded.candidates[i].destructive}
    how = arms.arranged(query, settings.experiments, scores, best, theirs, harmless, prediction_id or "")
    shown = how.shown
    reasons = Reasons(query, grounded, matrix)
    predictions = tuple(
        Prediction(
            rank,
            _completed(grounded.candidates[i], i, proposal, reasons.tell(i, scores.because.get(i, ()))),
            float(adapted.probability[i]),
            float(adapted.scores[i]),
            explained(i, scores, matrix) if query.explain else None,
        )
        for rank, i in enumerate(shown, 1)
    )
    arranged_at = time.perf_counter()
    if memory is not None and prediction_id:
        terms = prompt_terms(kept.prompt) if settings.privacy.prompts == "stems" else ()
        impression = _impression(prediction_id, kept, terms, grounded, matrix, scores, adapted, how, order)
        try:
            await memory.remember(impression)
        except StateUnavailable:
            degraded.append("state")
            prediction_id = None
        else:

            def challengers(scores: Scores) -> tuple[str, ...]:
                order = (i for i in _ordered(scores, kept, grounded, recall)[1] if i in showable)
                return tuple(grounded.candidates[i].operation for i in order)[: query.k]

            arms.shadow(
                settings.experiments,
                impression,
                lambda who: stages.score(matrix, head, allowed, 0, who),
                challengers,
                memory,
            )
    return Answer(
        prediction_id=prediction_id,
        predictions=predictions,
        grounded=grounded,
        model_version=scores.version,
        proposal=proposal,
        degraded=tuple(dict.fromkeys(degraded)),
        timings_s={
            "recall": recalled_at - started,
            "ground": grounded_at - recalled_at,
            "generate": proposed_at - scored_at,
            "score": scored_at - grounded_at + rescored_at - proposed_at,
            "remember": time.perf_counter() - arranged_at,
            "total": time.perf_counter() - started,
        },
        arm=how.arm,
        flags=screened.flags,
        route=route,
    )


def assemble(
    query: Query,
    compiled: Compiled,
    prompt_vector: np.ndarray | None,
    habit: Mapping[str, float],
    limits: Shortlist,
) -> tuple[GroundedQuery, np.ndarray]:
    """The grounded query and the matrix [n_candidates, n_features] float32 of its whole shortlist, without generator.

    Training and evaluation make their query groups through this, so that no feature is ever computed twice.
    """
    grounded = prepare(query, compiled, prompt_vector, habit, limits.model_copy(update={"leading": limits.total}))
    return grounded, features.compute(grounded, query, None)


def source_key(source: Source) -> str:
    """What a source is routed by: the same catalog goes to the same replica, whether its digest is known yet or not."""
    return source.digest or source.name or source.url or content_digest(source.data)


def _impression(
    prediction_id: str,
    query: Query,
    terms: tuple[int, ...],
    grounded: GroundedQuery,
    matrix: np.ndarray,
    scores: Scores,
    adapted: adapt.Adapted,
    how: arms.Arranged,
    order: list[int],
) -> Impression:
    shown, taken = how.shown, set(how.shown)
    others = [i for i in order if i not in taken][:_IMPRESSION_OTHERS]
    rows = shown + others
    with np.errstate(over="ignore"):  # beyond float16's range a value becomes infinite, which trees read well
        block = matrix[rows].astype(np.float16)
    return Impression(
        id=prediction_id,
        tenant=query.tenant,
        user=query.user,
        lineage=grounded.lineage,
        digest=grounded.digest,
        ts=time.time(),
        shown=tuple(grounded.candidates[i].operation for i in shown),
        others=tuple(grounded.candidates[i].operation for i in others),
        features=block.tobytes(),
        fingerprint=features.FINGERPRINT,
        scores=tuple(float(scores.raw[i]) for i in rows),
        model_version=scores.version,
        arm=how.arm,
        propensity=how.propensity,
        explored=how.explored,
        experiment=how.experiment,
        teams=how.teams,
        history=grounded.previous,
        has_prompt=bool(query.prompt),
        head=scores.head,
        terms=terms,
        last_ts=query.calls[-1].ts if query.calls else None,
        adapted=tuple(float(adapted.probability[i]) for i in rows) if adapted.losses else (),
        confidence=float(adapted.probability[shown[0]]) if shown else 0.0,
        losses=tuple(adapted.losses[i] for i in rows) if adapted.losses else (),
    )


def _ordered(
    scores: Scores, query: Query, grounded: GroundedQuery, recall: Recall, alone: Scores | None = None
) -> tuple[adapt.Adapted, list[int]]:
    """The scores after what was learnt here, and all candidates by them, best first; `alone`: without a generator."""
    adapted = adapt.unchanged(scores)
    if grounded.entry is None:
        operations = [candidate.operation for candidate in grounded.candidates]
        adapted = adapt.adapt(scores, operations, grounded.previous, prompt_terms(query.prompt), recall, alone)
    return adapted, np.lexsort((-scores.raw, -adapted.scores)).tolist()


def _head(query: Query, has_history: bool) -> Head:
    """Which of the ranker's heads a query is for; calls of no operation are no history that it could read."""
    if not query.prompt.strip():
        return "history_only"
    return "prompt_history" if has_history else "prompt_only"


def _completed(candidate: Candidate, index: int, proposal: Proposal | None, reason: str) -> Candidate:
    """The candidate as it is shown: with what the generator adds, and why it is offered."""
    params, missing, sources, why = candidate.params, candidate.missing_params, candidate.sources, ""
    for pick, arguments, pick_why in proposal.picks if proposal else ():
        if pick == index:
            params = {**arguments, **params}  # what was seen in the session beats what a model wrote
            missing = tuple(name for name in missing if name not in params)
            sources, why = (*sources, "generator"), pick_why
            break
    return msgspec.structs.replace(
        candidate,
        params=guardrails.clean_params(params),
        missing_params=missing,
        sources=sources,
        reason=why or reason,
        schema=(),
    )
