"""The generator's proposal: which operations of the shortlist a language model would call next.

`Proposer` builds the request, holds the deadline, reads the reply and counts what it cost; the model
itself is an `Engine` (vLLM in `serve/generator.py`, a script in tests). Whatever goes wrong is a
GeneratorError, and the answer is then given without a proposal.
"""

from __future__ import annotations

import asyncio
import dataclasses
import uuid
from collections.abc import Sequence
from pathlib import PurePath
from typing import Any, Protocol

from pipeline.candidates import prompt
from pipeline.errors import GeneratorError
from pipeline.settings import Generator
from pipeline.types import GroundedQuery, Proposal, Query

_OPTIONS_MIN = 4
_PICK_TOKENS = 40  # that one pick takes with an argument and a reason
_MARGIN_TOKENS = 64  # of the context, for what the chat template adds


@dataclasses.dataclass(frozen=True, slots=True)
class Reply:
    """One completion and its tokens."""

    text: str
    tokens_in: int
    tokens_cached: int
    tokens_out: int
    finish: str  # stop | length | abort


class Engine(Protocol):
    """A language model that answers chat messages in JSON of a schema."""

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


class Proposer:
    """Asks the engine for picks among the first `settings.options` of a shortlist."""

    def __init__(self, settings: Generator, engine: Engine) -> None:
        self._settings = settings
        self._engine = engine
        self._model = PurePath(settings.model).name if settings.model.startswith(("/", ".")) else settings.model

    async def propose(self, query: Query, grounded: GroundedQuery, deadline_s: float) -> Proposal:
        """The engine's picks within `deadline_s` seconds.

        Raises:
            GeneratorError: late, broken, over the query's cost limit, or no reply that names an offered operation.
        """
        settings = self._settings
        if not grounded.candidates:
            raise GeneratorError("the shortlist is empty")
        options, picks, messages = self._request(query, grounded)
        self._check_cost(query, messages)
        request_id = uuid.uuid4().hex
        try:
            async with asyncio.timeout(deadline_s):
                reply = await self._engine.generate(
                    messages,
                    prompt.schema(len(options.indexes), picks),
                    settings.max_tokens,
                    query.temperature,
                    request_id,
                )
        except TimeoutError:
            raise GeneratorError(f"no reply within {deadline_s:.3f} s") from None
        chosen = prompt.read(reply.text, options, query, picks)
        if not chosen:
            raise GeneratorError(f"the reply names no offered operation (finish: {reply.finish})")
        return Proposal(
            picks=chosen,
            model=self._model,
            tokens_in=reply.tokens_in,
            tokens_cached=reply.tokens_cached,
            tokens_out=reply.tokens_out,
            cost_usd=self._cost_usd(reply.tokens_in, reply.tokens_out),
        )

    def _request(self, query: Query, grounded: GroundedQuery) -> tuple[prompt.Options, int, list[dict[str, str]]]:
        """As many options as fit into the model's context, how many picks to ask for, and the messages."""
        settings = self._settings
        limit = settings.max_model_len - settings.max_tokens - _MARGIN_TOKENS
        wanted = min(query.k + settings.buffer, max(1, settings.max_tokens // _PICK_TOKENS))
        count = settings.options
        while True:
            options = prompt.offer(grounded.candidates, count)
            picks = min(wanted, len(options.indexes))
            messages = prompt.messages(options, grounded.title, query, picks, limit)
            if count <= _OPTIONS_MIN or sum(prompt.estimate_tokens(m["content"]) for m in messages) <= limit:
                return options, picks, messages
            count = max(_OPTIONS_MIN, count * 3 // 4)

    def _check_cost(self, query: Query, messages: Sequence[dict[str, str]]) -> None:
        if query.max_cost_usd is None:
            return
        tokens_in = sum(prompt.estimate_tokens(message["content"]) for message in messages)
        expected = self._cost_usd(tokens_in, self._settings.max_tokens)
        if expected > query.max_cost_usd:
            raise GeneratorError(f"a proposal may cost {expected:.6f} USD, over the limit {query.max_cost_usd:.6f}")

    def _cost_usd(self, tokens_in: int, tokens_out: int) -> float:
        settings = self._settings
        return (
            tokens_in * settings.usd_per_million_tokens_in + tokens_out * settings.usd_per_million_tokens_out
        ) / 1_000_000
