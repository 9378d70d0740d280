"""What signs a client in is told from what merely speaks of it."""

from __future__ import annotations

import pytest

from pipeline.catalog.entrances import sign_ins, signs_in
from pipeline.types import Operation


@pytest.mark.parametrize(
    ("method", "path", "operation_id"),
    [
        ("POST", "/login", ""),
        ("POST", "/users/login", "loginUser"),
        ("GET", "/user/login", "loginUser"),
        ("POST", "/oauth2/token", "getToken"),
        ("POST", "/auth/1/session", "login"),
        ("POST", "/v1/auth/sign-in", ""),
        ("POST", "/authenticate", ""),
    ],
)
def test_a_log_in_or_a_token_for_one_signs_in(method: str, path: str, operation_id: str) -> None:
    assert signs_in(Operation(method, path, operation_id))


@pytest.mark.parametrize(
    ("method", "path", "operation_id"),
    [
        ("POST", "/v1/tokens", "PostTokens"),  # of a card
        ("POST", "/checkout/sessions", "createCheckoutSession"),
        ("POST", "/logout", "logout"),
        ("POST", "/oauth/token/revoke", ""),
        ("POST", "/auth/refresh", ""),
        ("POST", "/auth/password/reset", ""),
        ("GET", "/report/activities", "reportSignInSignOutActivities"),
        ("POST", "/webhooks/auth", ""),
        ("POST", "/applications/{client_id}/token", "checkToken"),
        ("GET", "/authors", "listAuthors"),
        ("DELETE", "/session", "login"),
    ],
)
def test_what_only_sounds_like_it_does_not(method: str, path: str, operation_id: str) -> None:
    assert not signs_in(Operation(method, path, operation_id))


def test_a_deprecated_log_in_is_no_way_in() -> None:
    assert not signs_in(Operation("POST", "/login", deprecated=True))


def test_only_the_first_few_are_named() -> None:
    assert sign_ins([Operation("POST", f"/{i}/login") for i in range(9)], 2) == [0, 1]
