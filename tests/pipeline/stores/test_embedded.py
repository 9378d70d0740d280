from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
import redis

from pipeline.errors import SettingsError, StateUnavailable
from pipeline.stores.embedded import EmbeddedRedis

pytestmark = pytest.mark.redis

_OWNER = """
import sys, time
from pathlib import Path
from pipeline.stores.embedded import EmbeddedRedis
embedded = EmbeddedRedis(Path(sys.argv[1]))
print(embedded.start(), embedded.server_pid, flush=True)
time.sleep(600)
"""


class Owner:
    """Another process that owns the server of a folder."""

    def __init__(self, folder: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", _OWNER, str(folder)], stdout=subprocess.PIPE, text=True, cwd=os.getcwd()
        )
        assert self.process.stdout is not None
        self.url, pid = self.process.stdout.readline().split()
        self.server_pid = int(pid)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture
def owner(tmp_path: Path) -> Iterator[Owner]:
    owner = Owner(tmp_path)
    yield owner
    owner.kill()


def _client(url: str) -> redis.Redis:
    return redis.Redis.from_url(url, retry=None, socket_timeout=5)


def _becomes_true(condition: Callable[[], bool], within_s: float = 15.0) -> bool:
    until = time.monotonic() + within_s
    while time.monotonic() < until:
        if condition():
            return True
        time.sleep(0.02)
    return False


def _answers(url: str) -> bool:
    try:
        with _client(url) as client:
            return bool(client.ping())
    except redis.RedisError:
        return False


def test_listens_on_a_private_socket_and_no_port(tmp_path: Path):
    with EmbeddedRedis(tmp_path / ("deep" * 30)) as embedded, _client(embedded.url) as client:
        path = Path(embedded.url.removeprefix("unix://"))
        assert len(str(path)) <= 100
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        assert client.config_get("port") == {"port": "0"} or client.config_get("port") == {b"port": b"0"}
        assert not psutil.Process(embedded.server_pid).net_connections(kind="inet")


def test_it_is_started_once_its_process_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    spawn = EmbeddedRedis._spawn

    def slowly(self: EmbeddedRedis, binary: str) -> subprocess.Popen[bytes]:
        process = spawn(self, binary)
        time.sleep(0.5)  # it answers meanwhile
        return process

    monkeypatch.setattr(EmbeddedRedis, "_spawn", slowly)
    with EmbeddedRedis(tmp_path) as embedded:
        assert psutil.pid_exists(embedded.server_pid)
        assert not embedded.adopted
        assert (tmp_path / "redis" / "MAJOR_VERSION").exists()


def test_what_was_written_is_there_after_a_stop_and_start(tmp_path: Path):
    with EmbeddedRedis(tmp_path) as embedded, _client(embedded.url) as client:
        client.set("a", "1")
        pid = embedded.server_pid
    assert not psutil.pid_exists(pid)
    with EmbeddedRedis(tmp_path) as embedded, _client(embedded.url) as client:
        assert client.get("a") == b"1"


def test_nothing_acknowledged_is_lost_when_everything_is_killed(tmp_path: Path, owner: Owner):
    acknowledged = 0

    def write() -> None:
        nonlocal acknowledged
        with _client(owner.url) as client:
            try:
                while True:
                    client.xadd("inbox", {"group": b"x" * 300})
                    acknowledged += 1
            except redis.RedisError:
                return

    writer = threading.Thread(target=write)
    writer.start()
    assert _becomes_true(lambda: acknowledged > 2000)
    owner.process.kill()
    os.kill(owner.server_pid, signal.SIGKILL)
    writer.join()
    owner.process.wait()
    with EmbeddedRedis(tmp_path) as embedded, _client(embedded.url) as client:
        assert acknowledged <= client.xlen("inbox") <= acknowledged + 1


def test_server_ends_when_its_owner_is_killed(owner: Owner):
    owner.kill()
    assert _becomes_true(lambda: not psutil.pid_exists(owner.server_pid))


def test_server_outlives_the_thread_that_started_it():
    embedded = EmbeddedRedis.throwaway()
    starter = threading.Thread(target=embedded.start)
    starter.start()
    starter.join()
    time.sleep(0.2)
    assert _answers(embedded.url)
    embedded.stop()


def test_a_live_one_is_adopted_and_left_alone(tmp_path: Path, owner: Owner):
    with EmbeddedRedis(tmp_path) as adopter:
        assert adopter.adopted
        assert (adopter.url, adopter.server_pid) == (owner.url, owner.server_pid)
    assert _answers(owner.url)


def test_adopter_takes_over_on_the_same_socket_when_the_owner_is_gone(tmp_path: Path, owner: Owner):
    with EmbeddedRedis(tmp_path) as adopter:
        with _client(adopter.url) as client:
            client.set("a", "1")
        owner.kill()
        assert _becomes_true(lambda: not adopter.adopted and _answers(adopter.url))
        with _client(adopter.url) as client:
            assert client.get("a") == b"1"
        assert adopter.server_pid != owner.server_pid
    assert not _answers(owner.url)


def test_server_is_started_again_when_it_dies_by_itself(tmp_path: Path):
    with EmbeddedRedis(tmp_path) as embedded:
        with _client(embedded.url) as client:
            client.set("a", "1")
        pid = embedded.server_pid
        os.kill(pid, signal.SIGKILL)
        assert _becomes_true(lambda: embedded.server_pid != pid and _answers(embedded.url))
        with _client(embedded.url) as client:
            assert client.get("a") == b"1"


def test_a_lock_file_that_nobody_holds_is_stale(tmp_path: Path):
    (tmp_path / "redis.lock").write_text('{"owner": 1, "server": 1, "socket": "/nowhere.sock"}')
    with EmbeddedRedis(tmp_path) as embedded:
        assert not embedded.adopted
        assert _answers(embedded.url)


def test_a_stale_lock_file_that_is_read_late_is_no_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "redis.lock").write_text('{"owner": 1, "server": 1, "socket": "/nowhere.sock"}')
    stale = EmbeddedRedis(tmp_path)._holder()

    def late(self: EmbeddedRedis) -> object:
        time.sleep(0.5)  # meanwhile the server starts
        return stale

    monkeypatch.setattr(EmbeddedRedis, "_holder", late)
    with EmbeddedRedis(tmp_path) as embedded:
        assert not embedded.adopted
        assert _answers(embedded.url)


def test_two_starts_at_once_give_one_server(tmp_path: Path):
    both = [EmbeddedRedis(tmp_path), EmbeddedRedis(tmp_path)]
    threads = [threading.Thread(target=embedded.start) for embedded in both]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(embedded.adopted for embedded in both) == [False, True]
    assert both[0].server_pid == both[1].server_pid
    for embedded in both:
        embedded.stop()


def test_data_of_a_newer_server_is_refused(tmp_path: Path):
    with EmbeddedRedis(tmp_path):
        pass
    written = tmp_path / "redis" / "MAJOR_VERSION"
    assert written.read_text() == "6\n"
    written.write_text("7\n")
    with pytest.raises(SettingsError, match="written by Redis 7"):
        EmbeddedRedis(tmp_path).start()


def test_broken_data_is_an_error_that_quotes_the_server(tmp_path: Path):
    with EmbeddedRedis(tmp_path) as embedded, _client(embedded.url) as client:
        client.set("a", "1")
    (tmp_path / "redis" / "appendonly.aof").write_bytes(b"this is no append-only file\r\n" * 10)
    with pytest.raises(StateUnavailable, match="Bad file format"):
        EmbeddedRedis(tmp_path).start()


@pytest.mark.parametrize("binary", ["/no/such/redis-server", sys.executable])
def test_a_binary_that_is_no_redis_server_is_refused(tmp_path: Path, binary: str):
    with pytest.raises(SettingsError, match="redis"):
        EmbeddedRedis(tmp_path, binary).start()


def test_throwaway_leaves_nothing_behind():
    with EmbeddedRedis.throwaway() as embedded, _client(embedded.url) as client:
        client.set("a", "1")
        folder, path, pid = embedded.folder, embedded.url.removeprefix("unix://"), embedded.server_pid
    assert not folder.exists()
    assert not Path(path).exists()
    assert not psutil.pid_exists(pid)
