"""When a training is due: enough new labelled groups, or some that have waited long enough.

New is what was labelled after the latest group of the last training, or of the last one that was started by itself:
one that failed is not started again over the same groups. What is judged are times of groups in the journal; who
starts a training is `serve/schedule.py`'s business, what it does `train/retrain.py`'s.
"""

from __future__ import annotations

import datetime
import time
from collections.abc import Sequence

from pipeline import settings
from pipeline.stores.connection import Connection
from pipeline.stores.journal import Journal
from pipeline.stores.keys import key
from pipeline.stores.registry import Overview

_STARTED = key("training", "until")


def last_trained(overview: Overview) -> float:
    """When the latest group of the last training was labelled, whatever became of it; 0 when there was none."""
    last = next((version for version in overview.models if version.origin == "trained"), None)
    return 0.0 if last is None else float(last.params.get("until", 0.0))


def labelled_after(journal: Journal, until: float, fingerprint: str, window_s: float) -> list[float]:
    """When the journal's groups were labelled that a training may learn from and that are newer than `until`.

    Folders are days of predictions; each was labelled at most `window_s` after it was made.
    """
    since = datetime.datetime.fromtimestamp(max(0.0, until - window_s), datetime.UTC).date()
    batches = journal.groups(since=since, fingerprint=fingerprint, trainable=True, columns=("ts",), batch=4096)
    times = (moment.timestamp() for batch in batches for moment in batch["ts"].to_pylist())
    return [ts for ts in times if ts > until]


def waiting(times: Sequence[float], limits: settings.Train) -> str:
    """Why no training is due for groups labelled at these times, all of them new; "" when one is."""
    if not times:
        return "there is no new labelled group"
    hours = (time.time() - min(times)) / 3600
    if len(times) >= limits.groups or hours >= limits.hours:
        return ""
    return f"{len(times)} new labelled groups of {limits.groups}, the oldest waits {hours:.1f} h of {limits.hours:g}"


async def started(redis: Connection) -> float:
    """When the latest group was labelled as a training was last started by itself; 0 when none was."""
    return float(await redis.run(lambda client: client.get(_STARTED)) or 0.0)


async def start(redis: Connection, until: float) -> None:
    """Keep that a training was started over the groups labelled up to `until`."""
    await redis.run(lambda client: client.set(_STARTED, repr(until)))
