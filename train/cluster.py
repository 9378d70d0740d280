"""The Ray that a training runs on: one to join, or a private one for as long as it takes.

Called by `train/retrain.py` and by the child process of `train/fit.py`.
"""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import shlex
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from pipeline.errors import Unavailable
from pipeline.priority import giving_way

_TRIES = 3


@contextlib.contextmanager
def connected(address: str = "", cpus: int = 3, store_bytes: int = 1024**3, *, idle: bool = False) -> Iterator[None]:
    """Ray at `address`; "" starts one on this machine with `cpus` by Ray's count and such a store, and ends it.

    Workers on a Ray that was joined give way (`giving_way`); a private one's have niceness 15 by themselves.

    Raises:
        Unavailable: nobody answers at `address`, or the token is not its.
    """
    scratch = None
    if not address:
        scratch = Path(tempfile.mkdtemp(prefix="osr-", dir="/tmp"))  # short: Ray puts unix sockets under it
        token = scratch / "token"
        token.touch(mode=0o600)
        token.write_text(secrets.token_hex(32))
        # Ray's control ports listen on all interfaces, so nobody gets in without the token.
        os.environ.update(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN_PATH=str(token))
        # By default a worker that was idle for a second ends: Ray Data would start one, of two seconds of CPU, for
        # nearly every file it reads.
        os.environ.setdefault("RAY_idle_worker_killing_time_threshold_ms", "30000")
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    # By default 60: workers that a busy machine starts more slowly would be started for ever.
    os.environ.setdefault("RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S", "300")
    import ray
    import ray.data

    try:
        if scratch is None:
            os.environ["RAY_ADDRESS"] = address  # what is started from here joins the same one
            try:
                ray.init(
                    address=address,
                    log_to_driver=False,
                    logging_level=logging.WARNING,
                    runtime_env={"py_executable": shlex.join([*giving_way(idle), sys.executable])},
                )
            except ConnectionError as error:
                raise Unavailable(f"The Ray at {address} cannot be joined: {error}.") from error
        else:
            _start(cpus, store_bytes, scratch)
        logging.getLogger("ray.data").setLevel(logging.WARNING)
        context = ray.data.DataContext.get_current()
        context.use_datasource_v2 = False  # it starts up to 32 actors per dataset to read footers
        context.enable_progress_bars = False
        yield
    finally:
        ray.shutdown()
        if scratch is not None:
            shutil.rmtree(scratch, ignore_errors=True)


def _start(cpus: int, store_bytes: int, scratch: Path) -> None:
    """Starts Ray; on a busy machine it may find itself too slow, which it reports as a bare Exception."""
    import ray

    for left in reversed(range(_TRIES)):
        try:
            ray.init(
                num_cpus=cpus,
                include_dashboard=False,
                object_store_memory=store_bytes,
                log_to_driver=False,
                logging_level=logging.WARNING,
                _temp_dir=str(scratch / "ray"),
            )
            return
        except Exception as error:
            if "timed out during startup" not in str(error) or not left:
                raise
            ray.shutdown()
