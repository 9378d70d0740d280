"""Everything on one machine: Redis, a private Ray, the graph; started together, stopped together.

The `RAY_SERVE_*` variables must stand before Ray is imported, in this process and in every child:
`environment` makes them, `Runtime.start` imports Ray only after setting them. Paths and ports are
per instance, so that two instances do not meet. Called by `opensesame serve` and by end-to-end tests.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import os
import secrets
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import psutil
import pydantic

from pipeline.errors import SettingsError, Unavailable
from pipeline.priority import leave_no_group
from pipeline.settings import Settings, under
from pipeline.stores.embedded import EmbeddedRedis
from pipeline.stores.pseudonym import secret_of
from pipeline.stores.state import State
from serve import tracing

_APP = "opensesame"
_READY_S = 120.0
# The last line of the `defaults` that Ray writes for HAProxy, and what there is no variable for: a body is read before
# it is sent on (only what lies in the buffer whole can be sent a second time), and where no replica answers the client
# hears so in a problem document.
HAPROXY_DEFAULTS = "\n    ".join(
    [
        "leastconn",
        "option http-buffer-request",
        *(
            f"http-error status {status} content-type application/problem+json string "
            f'\'{{"type":"urn:opensesame:unavailable","title":"Try again","status":{status},"slug":"unavailable",'
            '"detail":"No replica of the service answers at the moment; try again."}\' hdr Retry-After 1'
            for status in (502, 503, 504)
        ),
    ]
)
_STOP_S = 20.0  # a child that has not ended by then is killed


def environment(settings: Settings, folder: Path, token_file: Path) -> dict[str, str]:
    """The variables Ray and Serve read when they are imported, for an instance whose private folder is `folder`."""
    haproxy = settings.ray.haproxy and sys.platform == "linux"
    variables = {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(token_file),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_SERVE_ENABLE_HA_PROXY": "1" if haproxy else "0",
        "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1" if haproxy else "0",
        "RAY_SERVE_LOG_TO_STDERR": "0",
        # Ray runs workers at nice 15: on a shared machine everything else would go before the service.
        "RAY_worker_niceness": "0",
        # A training asks for a worker again and again; by default one that was idle for a second ends, and a new one
        # takes two seconds of CPU to start.
        "RAY_idle_worker_killing_time_threshold_ms": "30000",
        "RAY_raylet_start_wait_time_s": f"{_READY_S:.0f}",  # by default 30, which a busy machine does not keep
        # An upload of server.upload_limit_bytes crosses one hop whole.
        "RAY_SERVE_REPLICA_GRPC_MAX_MESSAGE_LENGTH": str(settings.server.upload_limit_bytes + (1 << 20)),
        # A proxy that died is replaced after three failed checks: by default half a minute without a service.
        "RAY_SERVE_PROXY_HEALTH_CHECK_PERIOD_S": "1",
        # A new proxy may take three times as long; Serve's 5 s are too short for one that starts on a busy machine.
        "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "15",
        # On stop the replicas of a single machine have nobody to hand their clients to.
        "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "1",
        "TOKENIZERS_PARALLELISM": "false",
    }
    variables |= tracing.variables(settings.tracing)
    if haproxy:
        metrics_port, stats_port, fallback_port, fallback_grpc_port = _free_ports(4)
        low = 20000 + secrets.randbelow(200) * 50  # this instance's replicas listen in a window of its own
        variables |= {
            "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": str(folder / "haproxy.cfg"),
            "RAY_SERVE_HAPROXY_SOCKET_PATH": str(folder / "haproxy.sock"),
            "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": str(folder),
            "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": str(folder / "server-state"),
            "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH": str(folder / "metrics.sock"),
            "RAY_SERVE_HAPROXY_METRICS_PORT": str(metrics_port),
            # HAProxy's backup server. Its default port is bound with SO_REUSEPORT: two instances would share it.
            "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT": str(fallback_port),
            "RAY_SERVE_FALLBACK_PROXY_GRPC_PORT": str(fallback_grpc_port),
            "RAY_SERVE_HAPROXY_STATS_PORT": str(stats_port),
            "RAY_SERVE_HAPROXY_NBTHREAD": "1" if (os.cpu_count() or 1) <= 4 else "4",
            "RAY_SERVE_HAPROXY_TIMEOUT_CLIENT_S": "75",
            "RAY_SERVE_HAPROXY_TIMEOUT_CONNECT_S": "1",
            # A request whose replica died before it answered goes to another one: every route may be asked twice.
            "RAY_SERVE_HAPROXY_RETRIES": "3",
            "RAY_SERVE_HAPROXY_RETRY_ON": "conn-failure empty-response",
            "RAY_SERVE_HAPROXY_OBSERVE_ERROR_LIMIT": "1",
            "RAY_SERVE_HAPROXY_BALANCE_ALGORITHM": HAPROXY_DEFAULTS,
            "RAY_SERVE_HAPROXY_TUNE_BUFSIZE": "65536",
            "RAY_SERVE_HAPROXY_HEALTH_CHECK_INTER": "1s",
            "RAY_SERVE_DIRECT_INGRESS_MIN_HTTP_PORT": str(low),
            "RAY_SERVE_DIRECT_INGRESS_MAX_HTTP_PORT": str(low + 49),
            "RAY_SERVE_DIRECT_INGRESS_MIN_GRPC_PORT": str(low + 10000),
            "RAY_SERVE_DIRECT_INGRESS_MAX_GRPC_PORT": str(low + 10049),
        }
    return variables


class Runtime:
    """The processes of one instance.

    `start` blocks until the graph is ready; `stop` ends what was started, by pid, and may be called twice.
    """

    def __init__(self, settings: Settings, var: Path, build: Callable[[Settings], Any] | None = None) -> None:
        """`build` makes the Serve application; without one it is our graph."""
        self._settings = settings
        self._var = var.resolve()
        self._build = build
        self._folder: Path | None = None
        self._redis: EmbeddedRedis | None = None
        self._children: list[psutil.Process] = []
        self._connected = False
        self.dashboard = ""
        self.token_file = self._var / "ray-token"

    @property
    def settings(self) -> Settings:
        """As they hold: once it is started, with the address of the state."""
        return self._settings

    def start(self) -> None:
        """Raises SettingsError when a port is taken, or the folder or the state cannot be used."""
        settings = self._settings
        _require_free("server.port", settings.server.host, settings.server.port)
        if settings.ray.dashboard_port and not settings.ray.address:
            _require_free("ray.dashboard_port", "127.0.0.1", settings.ray.dashboard_port)
        try:
            self._var.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SettingsError(f"{self._var} cannot hold the state: {error.strerror}.") from None
        # Short: the paths of unix sockets are limited to 107 bytes, and Ray adds 60 of its own.
        self._folder = Path(tempfile.mkdtemp(prefix="os-", dir="/tmp" if os.path.isdir("/tmp") else None))
        _write_token(self.token_file)
        os.environ.update(environment(settings, self._folder, self.token_file))
        if settings.state.url == "embedded":
            self._redis = EmbeddedRedis(self._var, settings.state.redis_server)
            self._redis.start()
            state = settings.state.model_copy(update={"url": self._redis.url})
            settings = settings.model_copy(update={"state": state})
        settings = under(settings, self._var)
        secret = pydantic.SecretStr(secret_of(settings.privacy, self._var))
        settings = settings.model_copy(update={"privacy": settings.privacy.model_copy(update={"secret": secret})})
        self._settings = settings
        asyncio.run(_verify(settings))
        # Ray puts the driver's folder first on its workers' path: nothing there may shadow our packages.
        os.chdir(self._folder)
        self._start_ray(settings)

    def _start_ray(self, settings: Settings) -> None:
        import ray
        from ray import serve

        handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        self._connected = True
        if settings.ray.address:
            ray.init(address=settings.ray.address, namespace=_APP, log_to_driver=False)
        else:
            with _job_agent_on_any_port():
                context: Any = ray.init(
                    num_cpus=settings.ray.logical_cpus,
                    object_store_memory=settings.ray.object_store_bytes,
                    include_dashboard=settings.ray.dashboard_port > 0,
                    dashboard_host="127.0.0.1",
                    dashboard_port=settings.ray.dashboard_port or None,
                    namespace=_APP,
                    log_to_driver=False,
                    logging_level=logging.ERROR,
                    _temp_dir=str(self._folder),
                )
            self.dashboard = f"http://{context.dashboard_url}" if context.dashboard_url else ""
        for number, handler in handlers.items():  # ray.init installs a SIGTERM handler of its own, which aborts
            signal.signal(number, handler)
        logging.getLogger("ray.serve").setLevel(logging.WARNING)
        serve.start(
            proxy_location="HeadOnly",
            http_options={
                "host": settings.server.host,
                "port": settings.server.port,
                "request_timeout_s": settings.ray.request_timeout_s,
            },
            logging_config={"enable_access_log": False},  # the ingress writes its own line
            tracing_config=tracing.config(settings.tracing),
        )
        from serve.graph import application

        serve.run((self._build or application)(settings), name=_APP, route_prefix="/", _local_testing_mode=False)
        self._children = psutil.Process().children(recursive=True)
        self._await_ready()

    def _await_ready(self) -> None:
        """Until the service has answered that it may have traffic; a graph without /ready is ready when it answers."""
        server = self._settings.server
        deadline = time.monotonic() + _READY_S
        with httpx2.Client(base_url=f"http://{server.host}:{server.port}", trust_env=False, timeout=5) as client:
            while time.monotonic() < deadline:
                with contextlib.suppress(httpx2.HTTPError):
                    if client.get("/ready").status_code < 500:
                        return
                time.sleep(0.1)
        raise Unavailable(f"The service did not become ready within {_READY_S:.0f} s: see /health and Ray's dashboard.")

    def stop(self) -> None:
        if self._connected:
            import ray
            from ray import serve

            # Those that were seen before count too: a child whose parent died is no descendant any more.
            self._children = _union(self._children, psutil.Process().children(recursive=True))
            with contextlib.suppress(Exception):  # whatever Ray says while it ends, its processes are ended below
                serve.shutdown()
            with contextlib.suppress(Exception):
                ray.shutdown()
            self._connected = False
        keep = {self._redis.server_pid} if self._redis else set()
        _end([child for child in self._children if child.pid not in keep])
        leave_no_group()
        if self._redis is not None:
            self._redis.stop()
            self._redis = None
        if self._folder is not None:
            os.chdir(self._var)
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None


@contextlib.contextmanager
def _job_agent_on_any_port() -> Iterator[None]:
    """While Ray starts, the port of its job agent is a free one.

    By itself it takes 52365, and `ray.init` has no word for another (2.60): beside another Ray on this machine the
    agent then goes without, and no training can be submitted.
    """
    from ray._private import parameter

    original: Any = parameter.RayParams
    parameter.RayParams = functools.partial(original, dashboard_agent_listen_port=0)  # type: ignore[misc, assignment]
    try:
        yield
    finally:
        parameter.RayParams = original  # type: ignore[misc]


async def _verify(settings: Settings) -> None:
    state = State(settings.state, settings.state.url)
    try:
        await state.verify()
    finally:
        await state.close()


def _write_token(path: Path) -> None:
    if not path.exists():
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_hex(32))


def _free_ports(count: int) -> list[int]:
    """Ports that nobody uses, below those that the system gives out to connections, before HAProxy binds them."""
    found: set[int] = set()
    while len(found) < count:
        port = 10000 + secrets.randbelow(10000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("0.0.0.0", port))
            found.add(port)
    return list(found)


def _require_free(setting: str, host: str, port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host if host != "localhost" else "127.0.0.1", port))
        except OSError as error:
            raise SettingsError(
                f"Port {port} on {host} cannot be used ({error.strerror}): choose another one ({setting})."
            ) from None


def _union(known: list[psutil.Process], more: list[psutil.Process]) -> list[psutil.Process]:
    return [*known, *(p for p in more if p not in known)]


def _end(processes: list[psutil.Process]) -> None:
    """End the processes that are still there: politely, then not."""
    alive = [p for p in processes if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]
    for process in alive:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGTERM)
    _, alive = psutil.wait_procs(alive, timeout=_STOP_S / 4)
    for process in alive:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(alive, timeout=_STOP_S / 4)


@contextlib.contextmanager
def wait_for_signal() -> Iterator[threading.Event]:
    """An event that SIGINT and SIGTERM set; until then a start can be interrupted by either (KeyboardInterrupt)."""
    stopped = threading.Event()

    def stop(number: int, frame: object) -> None:
        if stopped.is_set():
            return  # stopping has begun; a second Ctrl-C must not leave half of it behind
        stopped.set()
        raise KeyboardInterrupt

    previous = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stopped
    except KeyboardInterrupt:
        pass
    finally:
        for number in previous:
            signal.signal(number, signal.SIG_IGN)
