"""The generator's proposal: which operations of the shortlist a language model would call next.

`Proposer` builds the request, holds the deadline, reads the reply and counts its tokens; the model itself is an
`Engine` (vLLM in `serve/engine.py`, a script in tests), and what a catalog is about comes from a `Directory`. The
model either writes picks with arguments and reasons in JSON, or says by one token's log-probabilities how likely each
option is. Whatever goes wrong is a GeneratorError, and the answer is then given without a proposal.
"""

from __future__ import annotations

import asyncio
import collections
import dataclasses
import math
import time
import uuid
from collections.abc import Sequence
from pathlib import PurePath
from typing import Any, Protocol

from pipeline.candidates import prompt, review
from pipeline.candidates.overview import Overview, overview
from pipeline.candidates.places import Places
from pipeline.candidates.quoting import estimate_tokens
from pipeline.errors import GeneratorError, OpenSesameError
from pipeline.settings import Generator
from pipeline.types import Candidate, GroundedQuery, Proposal, Query

_OPTIONS_MIN = 4
_PICK_TOKENS = 40  # that one pick takes with an argument and a reason
_MARGIN_TOKENS = 64  # of the context, for what the chat template adds
_OVERVIEWS = 64  # catalogs remembered
_RETRY_S = 60.0  # after a catalog that could not be prepared
_READ_S = 120.0  # an engine may take so long to read a catalog for the first time
_REFUSED = "That names no operation that was offered."

Messages = list[dict[str, str]]
Picks = tuple[tuple[int, dict[str, Any], str], ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Reply:
    """One completion and its tokens."""

    text: str
    tokens_in: int
    tokens_cached: int
    tokens_out: int
    finish: str  # stop | length | abort


@dataclasses.dataclass(frozen=True, slots=True)
class Weighing:
    """The log-probability of each mark as the reply's first token, in the order asked, and the tokens it took."""

    logprobs: tuple[float, ...]
    tokens_in: int
    tokens_cached: int


class Engine(Protocol):
    """A language model that reads chat messages and answers in JSON of a schema, or weighs one-token answers."""

    async def generate(
        self,
        messages: Sequence[dict[str, str]],
        schema: dict[str, Any],
        max_tokens: int,
        temperature: float,
        request_id: str,
    ) -> Reply:
        """One reply; the request ends when the caller is cancelled.

        Raises:
            GeneratorError: the model is starting, dead or refuses the request.
        """
        ...

    async def weigh(self, messages: Sequence[dict[str, str]], marks: Sequence[str], request_id: str) -> Weighing:
        """How likely the reply begins with each of `marks`; the request ends when the caller is cancelled.

        Raises:
            GeneratorError: as `generate`, or a mark is no single token.
        """
        ...


class Directory(Protocol):
    """Who knows whole catalogs."""

    async def cards(self, query: Query, grounded: GroundedQuery) -> Sequence[Candidate]:
        """The operations of the query's catalog with their argument schemas, as far as an overview can hold them.

        Raises:
            OpenSesameError.
        """
        ...


class Proposer:
    """Asks the engine to choose among the first `settings.options` of a shortlist.

    With a `directory` each catalog gets an overview, which is read by the engine in the background before it is used.
    `holds_back`: what destroys is offered only to a prompt that asks for it.
    """

    def __init__(
        self, settings: Generator, engine: Engine, directory: Directory | None = None, holds_back: bool = True
    ) -> None:
        self._settings = settings
        self._engine = engine
        self._directory = directory if settings.overview_tokens else None
        self._holds_back = holds_back
        self._model = PurePath(settings.model).name if settings.model.startswith(("/", ".")) else settings.model
        self._places = Places()
        self._known: collections.OrderedDict[str, Overview] = collections.OrderedDict()  # by digest, the latest last
        self._reading: dict[str, asyncio.Task[None]] = {}
        self._unreadable: dict[str, float] = {}  # digest -> when it may be tried again, monotonic

    async def propose(self, query: Query, grounded: GroundedQuery, deadline_s: float) -> Proposal:
        """The engine's picks within `deadline_s` seconds.

        Raises:
            GeneratorError: late, broken, or no reply that names an offered operation.
        """
        known = self._overview(query, grounded)
        request = compose(self._settings, query, grounded, known, self._holds_back)
        until = time.monotonic() + deadline_s
        try:
            if self._settings.mode == "logprob":
                return await self._weighed(request, until)
            return await self._chosen(query, grounded, request, until)
        except TimeoutError:
            raise GeneratorError(f"no reply within {deadline_s:.3f} s", asked=True) from None

    async def _chosen(self, query: Query, grounded: GroundedQuery, request: Request, until: float) -> Proposal:
        """Picks that the model writes; asked once more when that fits, and the reply names none or is objected to."""
        settings = self._settings
        replies: list[Reply] = []

        async def ask(messages: Messages) -> Picks:
            schema = prompt.schema(len(request.options.indexes), request.picks, request.known)
            async with asyncio.timeout(until - time.monotonic()):
                reply = await self._engine.generate(
                    messages, schema, settings.max_tokens, query.temperature, uuid.uuid4().hex
                )
            replies.append(reply)
            return prompt.read(reply.text, request.options, query, request.picks)

        started = time.monotonic()
        chosen = await ask(request.messages[0])
        took = time.monotonic() - started
        faults: dict[int, str] = {}
        if settings.critique:
            faults = review.objections(chosen, grounded.candidates, len(request.options.indexes))
        fits = until - time.monotonic() > took  # a second reply takes as long as the first
        if (faults or not chosen) and fits:
            messages = prompt.again(request.messages[0], replies[0].text, list(faults.values()) or [_REFUSED])
            unknown = _at_most(replies[0], messages[len(request.messages[0]) :], settings.max_tokens)
            try:
                second = await ask(messages)
            except TimeoutError:
                if not chosen:
                    raise
                replies.append(unknown)
            except GeneratorError as error:
                if not chosen:  # the first reply is paid, whatever became of the second
                    raise GeneratorError(error.detail, asked=True) from None
                if error.asked:
                    replies.append(unknown)
            else:
                kept = [pick for pick in chosen if pick[0] not in faults]
                taken = {pick[0] for pick in kept}
                kept += [pick for pick in second if pick[0] not in taken]
                chosen = tuple(kept[: request.picks]) or chosen
        if not chosen:
            raise GeneratorError(f"the reply names no offered operation (finish: {replies[-1].finish})", asked=True)
        return self._proposal(
            chosen,
            sum(reply.tokens_in for reply in replies),
            sum(reply.tokens_cached for reply in replies),
            sum(reply.tokens_out for reply in replies),
        )

    async def _weighed(self, request: Request, until: float) -> Proposal:
        """Picks by how likely the model finds each option, without arguments; asked in several orders at once."""
        count = len(request.options.indexes)
        marks = prompt.LETTERS[:count]

        async def ask(messages: Messages) -> Weighing | GeneratorError:
            try:
                return await self._engine.weigh(messages, marks, uuid.uuid4().hex)
            except GeneratorError as error:
                return error

        async with asyncio.timeout(until - time.monotonic()):
            answers = await asyncio.gather(*map(ask, request.messages))
        weighings = [answer for answer in answers if isinstance(answer, Weighing)]
        errors = [answer for answer in answers if isinstance(answer, GeneratorError)]
        if errors:  # of one order is enough; those that came are paid
            raise GeneratorError(errors[0].detail, asked=bool(weighings) or any(error.asked for error in errors))
        sums = [0.0] * count
        for order, weighing in zip(request.orders, weighings, strict=True):
            for option, logprob in zip(order, self._places.level(weighing.logprobs), strict=True):
                sums[option] += logprob / len(weighings)
        for weighing in weighings:
            self._places.learn(weighing.logprobs)
        weights = _softmax(sums)
        best = sorted(range(count), key=lambda option: -weights[option])[: request.picks]
        return self._proposal(
            tuple((request.options.indexes[option], {}, "") for option in best),
            sum(weighing.tokens_in for weighing in weighings),
            sum(weighing.tokens_cached for weighing in weighings),
            len(weighings),
            tuple(weights[option] for option in best),
        )

    def _proposal(
        self, picks: Picks, tokens_in: int, tokens_cached: int, tokens_out: int, weights: tuple[float, ...] = ()
    ) -> Proposal:
        return Proposal(
            picks=picks,
            model=self._model,
            tokens_in=tokens_in,
            tokens_cached=tokens_cached,
            tokens_out=tokens_out,
            weights=weights,
        )

    # What catalogs are about

    def _overview(self, query: Query, grounded: GroundedQuery) -> Overview | None:
        """The catalog's overview once the engine has read it; until then it is seen to in the background."""
        digest = grounded.digest
        known = self._known.get(digest)
        if known is not None:
            self._known.move_to_end(digest)
            return known
        is_due = digest not in self._reading and self._unreadable.get(digest, 0.0) < time.monotonic()
        if self._directory is not None and is_due:
            self._reading[digest] = asyncio.create_task(self._read(self._directory, query, grounded))
        return None

    async def _read(self, directory: Directory, query: Query, grounded: GroundedQuery) -> None:
        """Make a catalog's overview and have the engine read it: its prefix and its grammar are then at hand."""
        settings, digest = self._settings, grounded.digest
        is_ballot = settings.mode == "logprob"
        try:
            async with asyncio.timeout(_READ_S):
                known = overview(await directory.cards(query, grounded), settings.overview_tokens)
                opening = prompt.opening(grounded.title, known, is_ballot)
                if is_ballot:
                    await self._engine.weigh(opening, prompt.LETTERS[:1], uuid.uuid4().hex)
                else:
                    options = min(settings.options, len(grounded.candidates))
                    picks = min(query.k + settings.buffer, options, max(1, settings.max_tokens // _PICK_TOKENS))
                    await self._engine.generate(opening, prompt.schema(options, picks, known), 1, 0.0, uuid.uuid4().hex)
            self._known[digest] = known
            while len(self._known) > _OVERVIEWS:
                self._known.popitem(last=False)
        except (OpenSesameError, TimeoutError):  # proposals go on without
            self._unreadable[digest] = time.monotonic() + _RETRY_S
            while len(self._unreadable) > _OVERVIEWS:
                del self._unreadable[next(iter(self._unreadable))]
        finally:
            del self._reading[digest]

    async def read(self) -> None:
        """Wait until no catalog is being read."""
        await asyncio.gather(*self._reading.values())


@dataclasses.dataclass(frozen=True, slots=True)
class Request:
    """What an engine is asked about a query."""

    options: prompt.Options
    picks: int
    messages: list[Messages]  # of each time the engine is asked
    orders: list[list[int]]  # of the options in each of them, where letters stand before them
    known: Overview | None


def compose(
    settings: Generator, query: Query, grounded: GroundedQuery, known: Overview | None, holds_back: bool = True
) -> Request:
    """As many options as fit into the model's context, how many picks to ask for, and the messages.

    Raises:
        GeneratorError: nothing can be offered.
    """
    intents = grounded.intents if holds_back else None
    is_ballot = settings.mode == "logprob"
    out = 1 if is_ballot else settings.max_tokens
    limit = settings.max_model_len - out - _MARGIN_TOKENS
    wanted = query.k + settings.buffer
    if not is_ballot:
        wanted = min(wanted, max(1, settings.max_tokens // _PICK_TOKENS))
    count = settings.options
    while True:
        options = prompt.offer(grounded.candidates, count, intents)
        if not options.indexes:
            raise GeneratorError("nothing of the shortlist can be offered")
        picks = min(wanted, len(options.indexes))
        orders: list[list[int]] = []
        if is_ballot:
            orders = prompt.rotations(len(options.indexes), settings.permutations)
            messages = [prompt.ballot(options, order, grounded.title, query, limit, known) for order in orders]
        else:
            messages = [prompt.messages(options, grounded.title, query, picks, limit, known)]
        if count <= _OPTIONS_MIN or _tokens(messages[0]) <= limit:
            return Request(options, picks, messages, orders, known)
        count = max(_OPTIONS_MIN, count * 3 // 4)


def _at_most(first: Reply, added: Messages, tokens_out: int) -> Reply:
    """A second reply that did not come, at its most: each byte that its prompt adds is a token."""
    tokens = sum(len(message["content"].encode()) + _MARGIN_TOKENS for message in added)
    return Reply("", first.tokens_in + tokens, 0, tokens_out, "abort")


def _tokens(messages: Messages) -> int:
    return sum(estimate_tokens(message["content"]) for message in messages)


def _softmax(values: Sequence[float]) -> list[float]:
    top = max(values)
    powers = [math.exp(value - top) for value in values]
    return [power / sum(powers) for power in powers]
