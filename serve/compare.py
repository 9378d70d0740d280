"""GET /models/compare: what an experiment's counts say of champion and challenger.

Read from the state alone, so it is there when the registry is away. What the numbers mean is
`pipeline/ranking/experiments.py`'s. Registered by `serve.ingress`.
"""

from __future__ import annotations

import datetime
from typing import Annotated, Literal, Protocol

from starlette.requests import Request
from starlette.responses import Response
from typing_extensions import TypedDict

from pipeline.errors import NotFound
from pipeline.ranking.experiments import Counts, compare
from pipeline.settings import Experiments
from serve import schemas
from serve.documents import Arm, field
from serve.identity import tenant_of


class Measure(TypedDict):
    """A rate of the challenger less that of the champion; the interval holds at every look."""

    measure: Literal["acceptance", "hit@1", "ctr", "conversion"]
    difference: float | None
    low: float
    high: float
    p_value: float
    verdict: Literal["champion", "challenger", "undecided"]


class Wins(TypedDict):
    """Of the cases that one of both has won, whose they are; the interval holds at every look."""

    champion: int
    challenger: int
    challenger_share: float | None
    low: float
    high: float
    p_value: float
    verdict: Literal["champion", "challenger", "undecided"]


Shadow = TypedDict(
    "Shadow",
    {
        "observed": int,
        "champion_hit@1": float | None,
        "challenger_hit@1": float | None,
        "only_one": Annotated[Wins, field("Of the calls that one of both knew.")],
    },
)
Shadow.__doc__ = "Both on the same observed calls, the challenger unseen."

ArmRates = TypedDict(
    "ArmRates",
    {
        "arm": Arm,
        "counts": dict[str, int],
        "acceptance": float | None,
        "hit@1": float | None,
        "ctr": float | None,
        "conversion": float | None,
        "intervals": Annotated[
            dict[str, list[float]], field("Of each rate that was measured: from where to where it lies.")
        ],
    },
)
ArmRates.__doc__ = "What the users of an arm did; a rate is null where nothing was counted."


class Percent(TypedDict):
    """How many users, in percent, `experiments` of the configuration gives to what."""

    challenger: float
    interleave: float
    shadow: float
    explore: float


class ExperimentRow(TypedDict):
    """An experiment that was counted."""

    experiment: Annotated[str, field("What ?experiment= takes.")]
    last_shown: Annotated[str, field("ISO 8601, UTC.")]


class CompareResponse(TypedDict):
    """Champion against challenger."""

    experiment: Annotated[str | None, field("Null where there was none yet.")]
    name: str | None
    champion: str | None
    challenger: str | None
    percent: Percent
    alpha: Annotated[float, field("In how many experiments a verdict may err, however often one looks.")]
    arms: list[ArmRates]
    differences: list[Measure]
    interleaving: Annotated[Wins, field("Both in one list, taking turns.")]
    shadow: Shadow
    experiments: Annotated[list[ExperimentRow], field("All that were counted, the latest first.")]


class Arms(Protocol):
    """The counts, as `pipeline.stores.arms.Arms` keeps them."""

    async def experiments(self, tenant: str) -> list[tuple[str, float]]: ...

    async def read(self, tenant: str, experiment: str) -> Counts: ...


class Comparison:
    """The handler."""

    def __init__(self, limits: Experiments, arms: Arms) -> None:
        self._limits = limits
        self._arms = arms

    async def compare_models(self, request: Request) -> Response:
        """Champion against challenger: rates by arm, differences with intervals that hold at every look."""
        tenant = tenant_of(request)
        known = await self._arms.experiments(tenant)
        asked = request.query_params.get("experiment", "")
        names = [name for name, _ in known]
        if asked and asked not in names:
            raise NotFound("There is no such experiment; without `experiment` the latest one is told, with all names.")
        told = asked or (names[0] if names else "")
        counts = await self._arms.read(tenant, told) if told else {}
        return Response(schemas.dump(report(told, known, counts, self._limits)), media_type="application/json")


def report(told: str, known: list[tuple[str, float]], counts: Counts, limits: Experiments) -> CompareResponse:
    """The comparison as it is sent; `experiment` is null where there was none yet."""
    name, champion, challenger = told.split(" ") if told else (None, None, None)
    found = compare(counts, limits.alpha)
    return {
        "experiment": told or None,
        "name": name,
        "champion": champion,
        "challenger": challenger,
        "percent": {
            "challenger": limits.challenger_percent,
            "interleave": limits.interleave_percent,
            "shadow": limits.shadow_percent,
            "explore": limits.explore_percent,
        },
        "alpha": found["alpha"],
        "arms": found["arms"],
        "differences": found["differences"],
        "interleaving": found["interleaving"],
        "shadow": found["shadow"],
        "experiments": [
            {"experiment": one, "last_shown": datetime.datetime.fromtimestamp(ts, datetime.UTC).isoformat()}
            for one, ts in known
        ],
    }
