"""Operations that sign a client in: what an API that has them is entered by.

Told by their own words (path, operation id), never by descriptions; one that needs an identifier already, or signs
out, renews or resets, is none. Called by `pipeline.predict.prepare` where a query has neither prompt nor history.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence

from pipeline.catalog.stem import split_words
from pipeline.types import Operation

_HINT = re.compile(r"(?i)log[-_]?in|log[-_]?on|sign[-_]?in|auth|token|session")
_SIGNS_IN = frozenset({"login", "logon", "signin", "authenticate"})
_PAIRS = frozenset({("log", "in"), ("log", "on"), ("sign", "in")})
_CREDENTIALS = frozenset({"token", "tokens", "session", "sessions", "auth", "oauth", "authentication"})
_ABOUT_SIGNING_IN = frozenset(
    {"auth", "oauth", "authentication", "authenticate", "login", "signin", "jwt", "bearer", "credentials"}
)
_SOMETHING_ELSE = frozenset(
    """logout logoff signout out refresh renew revoke verify verification validate reset forgot forgotten register
    signup introspect introspection check status list search history attempt attempts url link settings config
    configuration callback device devices key keys invite app apps application applications impersonate failed failure
    policy policies provider providers methods method factor factors otp mfa report reports activity activities
    page html""".split()  # noqa: SIM905
)
_NOT_AROUND = frozenset({"webhook", "webhooks", "internal"})


def signs_in(operation: Operation) -> bool:
    """Whether the operation gives what other calls are authorised with: a log-in, or a token or session for one."""
    if operation.method not in ("POST", "GET") or "{" in operation.path or operation.destructive:
        return False
    if operation.deprecated or not (_HINT.search(operation.path) or _HINT.search(operation.operation_id)):
        return False
    segments = [segment for segment in operation.path.split("/") if segment]
    last = split_words(segments[-1]) if segments else []
    named = split_words(operation.operation_id)
    said = {*last, *named}
    around = {word for segment in segments for word in split_words(segment)} | {*named, *split_words(operation.summary)}
    if said & _SOMETHING_ELSE or around & _NOT_AROUND:
        return False
    if said & _SIGNS_IN or _PAIRS & {*_pairs(last), *_pairs(named)}:
        return True
    return operation.method == "POST" and bool(set(last) & _CREDENTIALS) and bool(around & _ABOUT_SIGNING_IN)


def sign_ins(operations: Sequence[Operation], most: int) -> list[int]:
    """Indexes of the first `most` operations that sign in."""
    found: list[int] = []
    for index, operation in enumerate(operations):
        if signs_in(operation):
            found.append(index)
            if len(found) == most:
                break
    return found


def _pairs(words: Sequence[str]) -> list[tuple[str, str]]:
    return list(itertools.pairwise(words))
