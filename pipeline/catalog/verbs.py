"""What an operation does to the world, and what a prompt asks to be done.

Words of method, operation id, summary and path, never of long descriptions.
"""

from __future__ import annotations

from pipeline.types import Verb


def classify(method: str, path: str, operation_id: str, summary: str) -> tuple[Verb, str]:
    """Verb and destructive family ("" when harmless) of an operation."""
    verbs: dict[str, Verb] = {"POST": "create", "PUT": "update", "PATCH": "update", "DELETE": "delete"}
    return verbs.get(method, "read"), "delete" if method == "DELETE" else ""


def prompt_verbs(prompt: str) -> frozenset[Verb]:
    """Verbs a prompt asks for."""
    return frozenset()


def intents(prompt: str) -> frozenset[str]:
    """Families of destructive words a prompt asks for and does not negate."""
    return frozenset()
