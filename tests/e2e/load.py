"""A constant load on a running service: who asks all the time, and what was answered when, and by which ranker."""

from __future__ import annotations

import itertools
import threading
import time
from collections import Counter
from typing import Any, NamedTuple

import httpx2
import pytest

from tests.e2e.conftest import Service


class Answer(NamedTuple):
    """One answer to POST /predict."""

    began: float
    seconds: float
    version: str
    confidence: float  # of the first place
    endpoint: str  # the first place
    degraded: tuple[str, ...]  # what it had to do without


class Load:
    """Constant requests from some clients; keeps every answer and every failure."""

    def __init__(self, service: Service, body: dict[str, Any], clients: int, pace_s: float) -> None:
        """`pace_s` lies between the beginnings of two requests of a client."""
        self._service, self._body, self._pace_s = service, body, pace_s
        self._stopped = threading.Event()
        self.answers: list[Answer] = []
        self.failures: list[str] = []
        self._threads = [threading.Thread(target=self._ask) for _ in range(clients)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join()

    def _ask(self) -> None:
        with httpx2.Client(base_url=self._service.url, timeout=30, trust_env=False) as client:
            while not self._stopped.is_set():
                began = time.monotonic()
                try:
                    answer = client.post("/predict", json=self._body)
                    if answer.status_code != 200:
                        self.failures.append(answer.text)
                        continue
                    told, took = answer.json(), time.monotonic() - began
                    first, version = told["predictions"][0], told["metadata"]["model_version"]
                    degraded = tuple(told["metadata"]["degraded"])
                    self.answers.append(Answer(began, took, version, first["confidence"], first["endpoint"], degraded))
                except httpx2.HTTPError as error:
                    self.failures.append(repr(error))
                self._stopped.wait(max(0.0, self._pace_s - (time.monotonic() - began)))

    def settle(self, version: str, since: float) -> float:
        """Seconds after `since` at which the last answer of another version was asked for, once none comes any more."""
        while time.monotonic() - since < 60:
            # The newest only: to read all of them again and again would take the time of those who ask.
            answers = list(itertools.takewhile(lambda a: a.began + a.seconds > since, reversed(self.answers)))
            last = max((a.began for a in answers if a.began > since and a.version != version), default=since)
            newer = [a.began for a in answers if a.began > last and a.version == version]
            if len(newer) >= 20 and max(newer) - last > 1.0:  # both replicas have answered many times
                return last - since
            time.sleep(0.05)
        served = dict(Counter(a.version for a in self.answers if a.began > since))
        pytest.fail(f"version {version} does not serve alone after 60 s: {served}, failures {self.failures[-3:]}")

    def seconds(self, since: float, until: float) -> list[float]:
        """What the requests took that were begun in a span."""
        return [a.seconds for a in list(self.answers) if since <= a.began < until]
