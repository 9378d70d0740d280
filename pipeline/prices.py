"""The settings of what language models cost and when one is worth it: sections `endpoint` and `router`, and prices.

What each key means is said in `configs/base.yaml`; `pipeline/settings.py` puts the sections where they belong.
"""

from __future__ import annotations

import pydantic

from pipeline.access import Section


class Price(Section):
    """What a tier costs: tokens, or the time of an engine of one's own."""

    usd_per_million_in: pydantic.NonNegativeFloat
    usd_per_million_cached: pydantic.NonNegativeFloat
    usd_per_million_out: pydantic.NonNegativeFloat
    usd_per_hour: pydantic.NonNegativeFloat


class Endpoint(Section):
    url: str = pydantic.Field(pattern=r"^(https?://\S+[^/\s])?$")
    model: str
    api_key: pydantic.SecretStr
    connect_s: pydantic.PositiveFloat
    max_ongoing_requests: pydantic.PositiveInt
    tokens_in_max: int = pydantic.Field(ge=1024)
    max_tokens: pydantic.PositiveInt
    lift: float = pydantic.Field(ge=0, le=1)
    price: Price

    @pydantic.model_validator(mode="after")
    def _has_a_model(self) -> Endpoint:
        if self.url and not self.model:
            raise ValueError("an endpoint needs the name of a model, in endpoint.model")
        return self


class Router(Section):
    usd_per_hit: pydantic.PositiveFloat
    min_gain: float = pydantic.Field(ge=0, le=1)
    daily_budget_usd: pydantic.NonNegativeFloat
    tenant_share: float = pydantic.Field(gt=0, le=1)
    breaker_failures: pydantic.PositiveInt
    breaker_open_s: pydantic.PositiveFloat
