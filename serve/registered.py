"""Registered rankers as the operator meets them: may one serve, and how are they told on the wire.

For deployment Models and the command line; loads neither Ray nor MLflow by itself.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, NamedTuple

import msgspec
import pydantic
from typing_extensions import TypedDict

from pipeline.errors import Conflict, RankerArtifactError
from pipeline.ranking.admission import admit
from pipeline.stores.mirror import Identity
from pipeline.stores.registry import Overview, Registry, Version
from serve.documents import field


@pydantic.with_config(json_schema_extra={"example": {"champion": "3", "challenger": None, "previous": "2"}})
class Aliases(TypedDict):
    """Versions by what they are now."""

    champion: Annotated[str | None, field("The one that serves.")]
    challenger: Annotated[str | None, field("The one that is compared with it.")]
    previous: Annotated[str | None, field("The one that a rollback goes to.")]


class RankerRow(TypedDict):
    """A registered ranker."""

    version: Annotated[str, field("How answers name it.")]
    number: str
    name: Annotated[str, field("What the artefact calls itself.")]
    aliases: list[str]
    created: Annotated[str, field("ISO 8601, UTC.")]
    origin: Literal["installed", "trained"]
    metrics: dict[str, float]
    gate: Annotated[dict[str, Any] | None, field("The gate's verdict in short; null where there was no gate.")]


@pydantic.with_config(
    json_schema_extra={
        "example": {
            "champion": "2",
            "challenger": None,
            "previous": None,
            "models": [
                {
                    "version": "2",
                    "number": "2",
                    "name": "retrained-20261120T181202",
                    "aliases": ["champion"],
                    "created": "2026-11-20T18:12:02+00:00",
                    "origin": "trained",
                    "metrics": {"hit@1": 0.5},
                    "gate": {"champion": "default-5bb08b3814", "passed": True, "why": "..."},
                }
            ],
        }
    }
)
class ModelsResponse(Aliases):
    """Every version, newest first, and what each is now."""

    models: list[RankerRow]


class Fetched(NamedTuple):
    """A version that may serve here."""

    number: str
    who: Identity
    text: str


def fetch(registry: Registry, version: str, score_limit_s: float) -> Fetched:
    """A version that may serve here.

    Raises:
        RankerArtifactError: it may not.
        UnknownModel, RegistryUnavailable.
    """
    known = registry.show(version)
    text = registry.text(known.number)
    who = Identity(known.version, known.sha256, known.fingerprint)
    admit(text, version=who.version, sha256=who.sha256, fingerprint=who.fingerprint, score_limit_s=score_limit_s)
    return Fetched(known.number, who, text)


def promote(registry: Registry, version: str, score_limit_s: float) -> tuple[Overview, Fetched]:
    """Make a version the champion; raises Conflict when it may not serve here."""
    fetched = _check(registry, version, score_limit_s)
    return registry.promote(version), fetched


def rollback(registry: Registry, score_limit_s: float) -> tuple[Overview, Fetched | None]:
    """Champion and previous change places; raises Conflict when there is none, or it may not serve here."""
    previous = registry.overview().previous
    fetched = _check(registry, previous, score_limit_s) if previous else None
    return registry.rollback(), fetched


def challenge(registry: Registry, version: str, score_limit_s: float) -> Overview:
    """Make a version the challenger, "" for none; raises Conflict when it may not serve here or is the champion."""
    if version:
        _check(registry, version, score_limit_s)
    return registry.challenge(version)


def _check(registry: Registry, version: str, score_limit_s: float) -> Fetched:
    try:
        return fetch(registry, version, score_limit_s)
    except RankerArtifactError as error:
        raise Conflict(f"Version {version} cannot serve: {error}") from None


def overview_json(found: Overview) -> dict[str, Any]:
    """The overview as GET /models sends it."""
    return {**aliases_json(found), "models": [_row(version) for version in found.models]}


def aliases_json(found: Overview) -> dict[str, Any]:
    """Who is what, as a promotion answers it."""
    return {
        "champion": found.champion or None,
        "challenger": found.challenger or None,
        "previous": found.previous or None,
    }


def version_json(version: Version) -> dict[str, Any]:
    """A version as GET /models/{version} sends it, with the gate's whole report."""
    return msgspec.to_builtins(version)


def _row(version: Version) -> RankerRow:
    gate = version.gate
    brief = None if gate is None else {k: v for k, v in gate.items() if isinstance(v, str | int | float | None)}
    return {
        "version": version.version,
        "number": version.number,
        "name": version.name,
        "aliases": list(version.aliases),
        "created": version.created,
        "origin": version.origin,
        "metrics": version.metrics,
        "gate": brief,
    }
