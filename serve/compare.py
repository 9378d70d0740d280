"""GET /models/compare: what an experiment's counts say of champion and challenger.

Read from the state alone, so it is there when the registry is away. What the numbers mean is
`pipeline/ranking/experiments.py`'s. Registered by `serve.ingress`.
"""

from __future__ import annotations

import datetime
from typing import Any, Protocol

from starlette.requests import Request
from starlette.responses import Response

from pipeline.errors import NotFound
from pipeline.ranking.experiments import Counts, compare
from pipeline.settings import Experiments
from serve import schemas
from serve.identity import tenant_of


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


def report(told: str, known: list[tuple[str, float]], counts: Counts, limits: Experiments) -> dict[str, Any]:
    """The comparison as it is sent; `experiment` is null where there was none yet."""
    name, champion, challenger = told.split(" ") if told else (None, None, None)
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
        **compare(counts, limits.alpha),
        "experiments": [
            {"experiment": one, "last_shown": datetime.datetime.fromtimestamp(ts, datetime.UTC).isoformat()}
            for one, ts in known
        ],
    }
