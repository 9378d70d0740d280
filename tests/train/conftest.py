"""A folder of small specs from made-up providers, enough to go through every step of training."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

_RESOURCES = {
    "garden.example": ("plant", "bed", "watering"),
    "fleet.example": ("vehicle", "driver", "trip"),
    "clinic.example": ("patient", "visit", "prescription"),
    "school.example": ("course", "student", "grade"),
    "hotel.example": ("room", "guest", "booking"),
    "museum.example": ("exhibit", "ticket", "tour"),
    "harbor.example": ("ship", "berth", "cargo"),
    "kitchen.example": ("recipe", "ingredient", "menu"),
    "library.example": ("book", "reader", "loan"),
    "studio.example": ("track", "album", "session"),
    "farm.example": ("field", "crop", "harvest"),
    "court.example": ("hearing", "judge", "filing"),
}


@pytest.fixture(autouse=True)
def at_ease(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands that give way to others do so for good: not here, where other tests follow in the same process."""
    monkeypatch.setattr(os, "nice", lambda increment: increment)


def spec(*nouns: str) -> dict[str, Any]:
    """An OpenAPI document with a collection, an item and a search for each noun, the later ones under the first."""
    paths: dict[str, Any] = {}
    for i, noun in enumerate(nouns):
        root = f"/{nouns[0]}s/{{{nouns[0]}_id}}" if i else ""
        above = [_path_parameter(nouns[0])] if i else []
        fields = {f"{noun}_id": {"type": "string"}, "name": {"type": "string"}, "note": {"type": "string"}}
        thing = {"type": "object", "properties": fields}
        many = {"type": "array", "items": thing}
        body = {"content": {"application/json": {"schema": {**thing, "required": ["name"]}}}}
        paths[f"{root}/{noun}s"] = {
            "parameters": above,
            "get": _operation(f"list_{noun}s", f"List all {noun}s", noun, many),
            "post": _operation(f"create_{noun}", f"Create a {noun}", noun, thing) | {"requestBody": body},
        }
        paths[f"{root}/{noun}s/{{{noun}_id}}"] = {
            "parameters": [*above, _path_parameter(noun)],
            "get": _operation(f"get_{noun}", f"Get one {noun}", noun, thing),
            "patch": _operation(f"update_{noun}", f"Change a {noun}", noun, thing) | {"requestBody": body},
            "delete": _operation(f"delete_{noun}", f"Delete a {noun}", noun, {}),
        }
        query = {"name": "q", "in": "query", "required": True, "schema": {"type": "string"}}
        paths[f"/search/{noun}s"] = {
            "get": _operation(f"search_{noun}s", f"Search {noun}s by name", noun, many) | {"parameters": [query]}
        }
    return {"openapi": "3.0.3", "info": {"title": " ".join(nouns), "version": "1"}, "paths": paths}


def _path_parameter(noun: str) -> dict[str, Any]:
    return {"name": f"{noun}_id", "in": "path", "required": True, "schema": {"type": "string"}}


def _operation(name: str, summary: str, tag: str, schema: dict[str, Any]) -> dict[str, Any]:
    content = {"application/json": {"schema": schema}} if schema else {}
    return {
        "operationId": name,
        "summary": summary,
        "description": f"{summary} of this account.",
        "tags": [tag],
        "responses": {"200": {"description": "ok", "content": content}},
    }


@pytest.fixture(scope="session")
def specs_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One spec for each of twelve providers."""
    folder = tmp_path_factory.mktemp("specs")
    for provider, nouns in _RESOURCES.items():
        (folder / f"{provider}.json").write_text(json.dumps(spec(*nouns)))
    return folder
