"""A service on a port, shared by the tests of clients; each takes a user of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests import live


@pytest.fixture(scope="session")
def url() -> Iterator[str]:
    with live.service() as found:
        yield found
