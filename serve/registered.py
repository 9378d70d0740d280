"""Registered rankers as the operator meets them: may one serve, and how are they told on the wire.

For deployment Models and the command line; loads neither Ray nor MLflow by itself.
"""

from __future__ import annotations

from typing import Any

import msgspec

from pipeline.errors import Conflict, RankerArtifactError
from pipeline.ranking.admission import admit
from pipeline.stores.mirror import Identity
from pipeline.stores.registry import Overview, Registry, Version


def fetch(registry: Registry, version: str, score_limit_s: float) -> tuple[Identity, str]:
    """A version that may serve here, and its text.

    Raises:
        RankerArtifactError: it may not.
        UnknownModel, RegistryUnavailable.
    """
    known = registry.show(version)
    text = registry.text(known.number)
    who = Identity(known.version, known.sha256, known.fingerprint)
    admit(text, version=who.version, sha256=who.sha256, fingerprint=who.fingerprint, score_limit_s=score_limit_s)
    return who, text


def promote(registry: Registry, version: str, score_limit_s: float) -> Overview:
    """Make a version the champion; raises Conflict when it may not serve here."""
    _check(registry, version, score_limit_s)
    return registry.promote(version)


def challenge(registry: Registry, version: str, score_limit_s: float) -> Overview:
    """Make a version the challenger, "" for none; raises Conflict when it may not serve here or is the champion."""
    if version:
        _check(registry, version, score_limit_s)
        if "champion" in registry.show(version).aliases:
            raise Conflict(f"Version {version} is the champion: it cannot be compared with itself.")
    return registry.challenge(version)


def _check(registry: Registry, version: str, score_limit_s: float) -> None:
    try:
        fetch(registry, version, score_limit_s)
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


def _row(version: Version) -> dict[str, Any]:
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
