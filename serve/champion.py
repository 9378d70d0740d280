"""The ranker that serves in this replica: found, followed and swapped, whatever else is away.

A thread looks into the mirror in Redis each second. Another champion there is loaded beside the one that
serves, tried, and put in its place by one assignment; one that must not serve is refused, counted, said once,
and the old one goes on. A new replica takes the champion, else its last good copy on disk, else the installed
ranker, else the declared linear order. Held by `serve/ranker.py`.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import os
import threading
import time
import weakref
from collections.abc import Callable
from pathlib import Path

import msgspec

from pipeline.errors import RankerArtifactError, StateUnavailable
from pipeline.ranking.admission import admit
from pipeline.ranking.ranker import COLD_START, Ranker, serving
from pipeline.settings import Settings
from pipeline.stores.mirror import ROLES, Identity, Mirror, Role
from serve.metrics import Metrics

_log = logging.getLogger("opensesame.ranker")
_AGAIN_S = 30.0  # until a refused ranker is tried once more: it may have been slow, or half restored


class Champion:
    """Champion and challenger of one replica. The constructor blocks for `ranker.first_look_s` at most, and a load."""

    def __init__(self, settings: Settings, metrics: Metrics | None = None) -> None:
        self._settings = settings
        self._metrics = metrics or Metrics()
        self._rankers: dict[Role, Ranker] = {}
        self._identities: dict[Role, Identity] = {}  # of those that came from the mirror or the copy
        self._refused: dict[Identity, float] = {}  # -> when it is tried again
        self._unserved = False  # the champion of the mirror was refused
        self._beat, self._heard_at = -1, time.monotonic()  # of the registry
        self._stopped = threading.Event()
        self._looked = threading.Event()
        self._copy = Path(settings.ranker.folder) / "champion.json" if settings.ranker.folder else None
        self._starting = threading.Lock()
        if settings.state.url != "embedded":  # an address, not the wish for one
            threading.Thread(target=_follow, args=(weakref.ref(self),), name="champion", daemon=True).start()
            self._looked.wait(settings.ranker.first_look_s)
        with self._starting:
            if "champion" not in self._rankers:
                self._begin()
        self._tell()

    def _tell(self) -> None:
        """Have told which rankers serve; whoever reads holds nothing of this replica."""
        self._metrics.begin("opensesame_ranker_swaps", "opensesame_ranker_refused")
        held = weakref.ref(self)

        def number(role: Role) -> float:
            champion = held()
            return -1.0 if champion is None else _number(champion._rankers.get(role))

        for role in ROLES:
            self._metrics.follow("opensesame_ranker_version", functools.partial(number, role), role=role)
        self._metrics.follow("opensesame_ranker_current", lambda: float((it := held()) is not None and it.is_current))

    @property
    def ranker(self) -> Ranker:
        return self._rankers["champion"]

    @property
    def challenger(self) -> Ranker | None:
        return self._rankers.get("challenger")

    @property
    def is_current(self) -> bool:
        """The champion serves, as far as the registry has been heard of lately."""
        return not self._unserved and time.monotonic() - self._heard_at < self._settings.registry.away_s

    def close(self) -> None:
        self._stopped.set()

    @property
    def closed(self) -> bool:
        return self._stopped.is_set()

    async def look(self, mirror: Mirror) -> None:
        """One look into the mirror, and what follows from it; raises StateUnavailable."""
        try:
            seen = await mirror.look()
            if seen.beat != self._beat:
                self._beat, self._heard_at = seen.beat, time.monotonic()
            for role in ROLES:
                await self._take(mirror, role, getattr(seen, role))
        finally:
            self._looked.set()

    async def _take(self, mirror: Mirror, role: Role, who: Identity | None) -> None:
        if who is None:
            if role == "challenger":
                self._rankers.pop(role, None)
                self._identities.pop(role, None)
            return
        if who == self._identities.get(role):
            if role == "champion":
                self._unserved = False
            return
        if time.monotonic() < self._refused.get(who, 0.0):
            return
        found = await mirror.read(role)
        if found is None or self.closed:
            return
        who, text = found  # another one by now, perhaps
        began = time.perf_counter()
        try:
            ranker = self._admit(who, text)
        except RankerArtifactError as error:
            self._refuse(role, who, error)
            return
        with self._starting:
            self._rankers[role] = ranker
        self._identities[role] = who
        self._refused.pop(who, None)
        self._metrics.count("opensesame_ranker_swaps", role=role)
        self._metrics.observe("opensesame_ranker_load_ms", (time.perf_counter() - began) * 1000)
        _log.info("ranker %s serves as %s", who.version, role)
        if role == "champion":
            self._unserved = False
            self._keep(who, text)

    def _admit(self, who: Identity, text: str) -> Ranker:
        limit_s = self._settings.ranker.score_limit_s
        return admit(text, version=who.version, sha256=who.sha256, fingerprint=who.fingerprint, score_limit_s=limit_s)

    def _refuse(self, role: Role, who: Identity, error: RankerArtifactError) -> None:
        is_new = who not in self._refused
        self._refused[who] = time.monotonic() + _AGAIN_S
        self._unserved |= role == "champion"  # before it is counted: who sees the count sees the answers say so
        if is_new:
            self._metrics.count("opensesame_ranker_refused", reason=error.reason)
            _log.error("%s %s is refused, the ranker before it goes on: %s", role, who.version, error)

    def _begin(self) -> None:
        """Without a champion from the mirror: the last good copy, else the installed ranker, else the linear order."""
        if self._copy is not None and self._copy.is_file():
            try:
                line, _, text = self._copy.read_text(encoding="utf-8").partition("\n")
                who = msgspec.json.decode(line, type=Identity)
                self._rankers["champion"], self._identities["champion"] = self._admit(who, text), who
                _log.info("ranker %s serves, from its copy on disk", who.version)
                return
            except (RankerArtifactError, msgspec.DecodeError, OSError, UnicodeDecodeError) as error:
                _log.warning("the copy of the last champion is not served: %s", error)
        self._rankers["champion"] = serving(self._settings.ranker.artifact)

    def _keep(self, who: Identity, text: str) -> None:
        """Copy the champion to the disk, for a start without Redis. Replicas of one node share the file."""
        if self._copy is None:
            return
        draft = self._copy.with_suffix(f".{os.getpid()}-{threading.get_ident()}")
        try:
            self._copy.parent.mkdir(parents=True, exist_ok=True)
            draft.write_text(msgspec.json.encode(who).decode() + "\n" + text, encoding="utf-8")
            draft.replace(self._copy)
        except OSError as error:
            _log.warning("the champion could not be copied to %s: %s", self._copy, error)
            with contextlib.suppress(OSError):
                draft.unlink(missing_ok=True)


def _number(ranker: Ranker | None) -> float:
    if ranker is None or ranker.version == COLD_START:
        return -1.0
    return float(ranker.version) if ranker.version.isdecimal() else 0.0


def _follow(champion: Callable[[], Champion | None]) -> None:
    """Look until the champion is closed or nobody holds it any more: the thread's reference is a weak one."""
    asyncio.run(_follow_mirror(champion))


async def _follow_mirror(champion: Callable[[], Champion | None]) -> None:
    mirror: Mirror | None = None
    try:
        while (followed := champion()) is not None and not followed.closed:
            settings = followed._settings
            mirror = mirror or Mirror(settings.state, settings.state.url)
            try:
                await followed.look(mirror)
            except StateUnavailable:
                pass  # what serves goes on; the answers' own reads of the state say that it is away
            except Exception:  # a fault of ours must not end the looking: a replica would never swap again
                _log.exception("looking for the champion failed")
            pause_s = settings.ranker.poll_s
            del followed
            await asyncio.sleep(pause_s)
    finally:
        if mirror is not None:
            await mirror.close()
