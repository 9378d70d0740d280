"""The journal: labelled query groups as Parquet files, for ever but for retention and for who asks to be forgotten.

One row a group, one folder a day of predictions (UTC), zstd. `drain` moves the inbox here exactly
once, whatever dies when: a batch is claimed in Redis, written under a name that follows from the
claim, synced, renamed, and only then acknowledged; a batch that is met again finds its file. `compact`
merges small files into one that names those it replaces, so that they are not read twice. Of those
who change files each holds the folder's `lock` alone; of `reading` readers hold a share, and who rewrites
or deletes what is there holds it alone, so that what was listed stays while it is read. Locks go with their
process. The training job calls this, and `opensesame forget`. pyarrow is imported when it is needed.
"""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import json
import os
import time
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import msgspec

from pipeline import settings
from pipeline.errors import JournalError
from pipeline.stores.counts import owner_hash
from pipeline.stores.encoding import unpack_group
from pipeline.stores.forget import forget_user, rewrite
from pipeline.stores.inbox import Claim
from pipeline.stores.locks import held
from pipeline.stores.records import VERSION, conform, schema, table
from pipeline.types import QueryGroup

if TYPE_CHECKING:
    import pyarrow as pa

    from pipeline.stores.state import State

_LOCK_WAIT_S = 60.0
_READ_WAIT_S = 600.0  # for readers, which a training is for minutes, and for who rewrites
_ROWS = 1000  # of a row group, and of what is held while files are rewritten
_LEVEL = 3  # of zstd
_DAY_S = 86400


class Journal:
    """The files below `folder`. Nothing is made before the first drain."""

    def __init__(self, folder: Path, limits: settings.Journal) -> None:
        self.folder = folder
        self._limits = limits

    @classmethod
    def at(cls, limits: settings.Journal, var: Path) -> Self:
        """The journal of a configuration; `var` is where the embedded state lies."""
        return cls(Path(limits.folder) if limits.folder else var / "journal", limits)

    async def drain(self, state: State) -> int:
        """How many groups of all inboxes lie here now that did not before; blocks while it writes.

        Raises:
            JournalError: another process works on the journal, or the disk refuses.
            StateUnavailable: what is not acknowledged is met again by the next drain.
        """
        moved = 0
        with self._locked():
            for tenant in await state.inbox.tenants():
                waiting = await state.inbox.length(tenant)  # what comes in meanwhile is for the next drain
                while waiting > 0 and (claim := await state.inbox.claim(tenant, self._limits.batch)) is not None:
                    count, last = self._keep(claim)
                    await state.inbox.acknowledge(claim, last)
                    moved += count
                    waiting -= len(claim.entries)
        return moved

    def compact(self) -> int:
        """How many files fewer there are, after small ones of a day were merged and expired days deleted.

        While somebody reads it is left for the next time.

        Raises:
            JournalError: another process works on the journal, or the disk refuses.
        """
        if not self.folder.is_dir():
            return 0
        with self._locked(), contextlib.ExitStack() as stack:
            try:
                stack.enter_context(self._rewriting(0.0))
            except JournalError:
                return 0
            before = len(self._files())
            self._tidy()
            oldest = time.time() - self._limits.retention_days * _DAY_S
            for day in self._days():
                if day.name < _day(oldest):
                    for path in day.iterdir():
                        path.unlink()
                    day.rmdir()
                else:
                    self._merge(day)
            return before - len(self._files())

    async def forget(self, state: State, tenant: str, user: str) -> dict[str, int]:
        """How much of what a user left has gone, from Redis and from here: `rows` of the files.

        Raises:
            BadRequest: anonymous is nobody's data.
            JournalError, StateUnavailable: it is not all gone; do it again.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        # A drain on its way would write down what is being forgotten; it need not wait for readers.
        with self._rewriting(_READ_WAIT_S), self._locked():
            gone = await forget_user(state.connection, tenant, user)
            self._tidy()
            for refused in (self.folder / "refused").glob("*"):
                refused.unlink()  # nobody can tell whose they are
            owner = owner_hash(tenant, user)
            gone["rows"] = sum(self._disown(path, owner) for path in self._files())
        await rewrite(state.connection)
        return gone

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        """While this is held files are added and none is rewritten or deleted: for who lists them and reads them later.

        Raises:
            JournalError: they are being rewritten, for long.
        """
        if not self.folder.is_dir():
            yield
            return
        with self._held("reading", "is being rewritten", _READ_WAIT_S, shared=True):
            yield

    def files(self, since: datetime.date | None = None, until: datetime.date | None = None) -> list[Path]:
        """The files that hold the groups of predictions of these days, both included, oldest first; each group once.

        They stay as long as the caller holds `reading`.
        """
        with self.reading():
            return self._files(since, until)

    def _files(self, since: datetime.date | None = None, until: datetime.date | None = None) -> list[Path]:
        found = []
        for day in self._days():
            date = datetime.date.fromisoformat(day.name.removeprefix("day="))
            if (since is None or date >= since) and (until is None or date <= until):
                found += _live(day)
        return found

    def groups(
        self,
        *,
        since: datetime.date | None = None,
        until: datetime.date | None = None,
        tenant: str = "",
        lineage: str = "",
        fingerprint: str = "",
        trainable: bool = False,
        columns: Sequence[str] | None = None,
        batch: int = 256,
    ) -> Iterator[pa.RecordBatch]:
        """Groups in batches of at most so many, by day: columns of `records.schema`; holds a few batches at a time.

        `trainable` leaves out those that teach no order: without a label above 0, or without features. Of
        a suggestion that was told of several times only the latest group is read, which has all labels.

        Raises:
            JournalError: a file is of a newer version or unreadable, or they are being rewritten, for long.
        """
        import pyarrow as pa
        import pyarrow.compute as pc
        import pyarrow.dataset as ds

        wanted = [pc.field("tenant") == tenant] if tenant else []
        wanted += [pc.field("lineage") == lineage] if lineage else []
        wanted += [pc.field("fingerprint") == fingerprint] if fingerprint else []
        wanted += [pc.field("best") > 0, pc.field("columns") > 0] if trainable else []
        condition = None
        for one in wanted:
            condition = one if condition is None else condition & one
        names = list(columns) if columns is not None else schema().names
        needed = list(dict.fromkeys([*names, "id", "ts"]))
        by_day: dict[Path, list[Path]] = {}
        try:
            with self.reading():
                for path in self._files(since, until):
                    by_day.setdefault(path.parent, []).append(path)
                for paths in by_day.values():
                    for path in paths:
                        _check_version(path)
                    dataset = ds.dataset([str(path) for path in paths], schema=schema(), format="parquet")
                    latest = _latest_logged(dataset)
                    scan = {"batch_size": batch, "batch_readahead": 1, "fragment_readahead": 1, "use_threads": False}
                    for found in dataset.to_batches(columns=needed, filter=condition, **scan):
                        if latest:
                            found = found.filter(_is_latest(found, latest))
                        if found.num_rows:
                            yield found.select(names)
        except (OSError, pa.ArrowInvalid) as error:
            raise JournalError(f"The journal at {self.folder} cannot be read: {error}.") from error

    # Writing

    def _keep(self, claim: Claim) -> tuple[int, str]:
        """How many groups of a claimed batch were written, and the id up to which the batch is kept."""
        groups: dict[str, list[tuple[str, QueryGroup]]] = {}
        for id_, data in claim.entries:
            try:
                group = unpack_group(data)
            except (msgspec.DecodeError, zlib.error):
                self._refuse(claim, id_, data)
                continue
            groups.setdefault(_day(group.impression.ts), []).append((id_, group))
        name, last, written = _batch_name(claim), claim.last, 0
        missing = []
        for day in sorted(groups):
            kept = _last_kept(self.folder / day, name)
            if kept is None:
                missing.append(day)
            else:  # after a power cut the same batch may be claimed longer than it was
                last = min(last, kept, key=_order)
        for day in missing:
            rows = [group for id_, group in groups[day] if _order(id_) <= _order(last)]
            if rows:
                self._write(self.folder / day / f"{name}.parquet", [table(rows)], batches={name: last})
                written += len(rows)
        return written, last

    def _write(
        self,
        path: Path,
        tables: Iterator[pa.Table] | Sequence[pa.Table],
        *,
        batches: dict[str, str],
        replaces: Sequence[str] = (),
    ) -> None:
        """Write a file whole or not at all, and make sure that it stays."""
        import pyarrow.parquet as pq

        metadata = {"version": str(VERSION), "batches": json.dumps(batches), "replaces": json.dumps(list(replaces))}
        marked = schema().with_metadata({f"opensesame.{name}": value for name, value in metadata.items()})
        temporary = path.with_name(f".{path.name}.tmp")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with temporary.open("wb") as file:
                with pq.ParquetWriter(file, marked, compression="zstd", compression_level=_LEVEL) as writer:
                    for part in tables:
                        writer.write_table(part.replace_schema_metadata(marked.metadata), row_group_size=_ROWS)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
            _sync(path.parent)
            _sync(self.folder)
        except OSError as error:
            raise JournalError(f"{path} cannot be written: {error}.") from error

    def _merge(self, day: Path) -> None:
        """Merge the small files of a day; those merged go after the new file is there."""
        import pyarrow.parquet as pq

        pending: list[Path] = []
        rows = 0
        for path in [*_live(day), None]:
            count = pq.read_metadata(path).num_rows if path else 0
            if pending and (path is None or rows + count > self._limits.file_groups):
                self._merge_files(day, pending)
                pending, rows = [], 0
            if path and count < self._limits.small_groups:
                pending.append(path)
                rows += count

    def _merge_files(self, day: Path, paths: Sequence[Path]) -> None:
        if len(paths) < 2:
            return
        batches: dict[str, str] = {}
        for path in paths:
            batches |= _metadata(path, "batches", {})
        names = [path.name for path in paths]
        digest = hashlib.sha256("\n".join(names).encode()).hexdigest()[:8]
        target = day / f"c-{'-'.join(paths[0].stem.split('-')[1:4])}-{digest}.parquet"
        self._write(target, (part for path in paths for part in _parts(path)), batches=batches, replaces=names)
        for path in paths:
            path.unlink()
        _sync(day)

    def _disown(self, path: Path, owner: str) -> int:
        """How many rows of a user there were in a file; it is written anew without them."""
        import pyarrow.compute as pc
        import pyarrow.parquet as pq

        rows = pq.read_table(path, columns=["owner"])["owner"]
        gone = int(pc.sum(pc.equal(rows, owner)).as_py() or 0)
        if gone == len(rows):
            path.unlink()
            _sync(path.parent)
        elif gone:
            kept = (part.filter(pc.not_equal(part["owner"], owner)) for part in _parts(path))
            batches, replaces = _metadata(path, "batches", {}), _metadata(path, "replaces", [])
            self._write(path, kept, batches=batches, replaces=replaces)
        return gone

    def _refuse(self, claim: Claim, id_: str, data: bytes) -> None:
        """Put a group aside that cannot be read, so that it holds up no other."""
        folder = self.folder / "refused"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{_batch_name(claim)}-{id_}.bin").write_bytes(data)

    def _tidy(self) -> None:
        """Delete what a crash left: temporary files, and files that were merged."""
        for day in self._days():
            for path in day.glob(".*.tmp"):
                path.unlink()
            for name in _replaced(day):
                (day / name).unlink(missing_ok=True)
            _sync(day)

    def _days(self) -> list[Path]:
        return sorted(self.folder.glob("day=*"))

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """The only one that changes the folder."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with self._held("lock", "is worked on by another process", _LOCK_WAIT_S):
            yield

    @contextlib.contextmanager
    def _rewriting(self, wait_s: float) -> Iterator[None]:
        """Without readers."""
        with self._held("reading", "is being read, as by a training", wait_s):
            yield

    @contextlib.contextmanager
    def _held(self, name: str, otherwise: str, wait_s: float, shared: bool = False) -> Iterator[None]:
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(held(self.folder / name, shared=shared, wait_s=wait_s))
            except TimeoutError:
                raise JournalError(f"The journal at {self.folder} {otherwise}; try again.") from None
            except OSError as error:
                raise JournalError(f"The journal at {self.folder} cannot be locked: {error}.") from error
            yield


def _day(ts: float) -> str:
    """Name of the folder of a moment."""
    return f"day={datetime.datetime.fromtimestamp(ts, datetime.UTC):%Y-%m-%d}"


def _batch_name(claim: Claim) -> str:
    """What the file of a batch is called: it sorts by time, and the same claim gives the same name."""
    milliseconds, number = claim.first.split("-")
    return f"b-{int(milliseconds):013d}-{number}-{hashlib.sha256(claim.tenant.encode()).hexdigest()[:8]}"


def _order(id_: str) -> tuple[int, int]:
    milliseconds, _, number = id_.partition("-")
    return int(milliseconds), int(number)


def _live(day: Path) -> list[Path]:
    """The files of a day that are to be read, oldest first."""
    replaced = _replaced(day)
    return sorted((p for p in day.glob("[bc]-*.parquet") if p.name not in replaced), key=lambda path: path.name[2:])


def _replaced(day: Path) -> set[str]:
    return {name for path in day.glob("c-*.parquet") for name in _metadata(path, "replaces", [])}


def _last_kept(day: Path, name: str) -> str | None:
    """The last id of a batch as a day has it, by itself or merged; None when it does not."""
    alone = day / f"{name}.parquet"
    for path in [alone] if alone.exists() else day.glob("c-*.parquet"):
        last = _metadata(path, "batches", {}).get(name)
        if last is not None:
            return last
    return None


def _metadata(path: Path, name: str, default: Any) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        found = pq.read_schema(path).metadata or {}
    except (OSError, pa.ArrowInvalid) as error:
        raise JournalError(f"{path} is no file of the journal: {error}.") from error
    return json.loads(found.get(f"opensesame.{name}".encode(), b"null")) or default


def _check_version(path: Path) -> None:
    version = int(_metadata(path, "version", VERSION))
    if version > VERSION:
        raise JournalError(f"{path} is of version {version}, and {VERSION} is the newest known: update OpenSesame.")


def _parts(path: Path) -> Iterator[pa.Table]:
    """The rows of a file in tables of at most `_ROWS`, in today's schema."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        for found in file.iter_batches(_ROWS):
            yield conform(pa.Table.from_batches([found]))


def _latest_logged(dataset: Any) -> dict[str, Any]:
    """Suggestion of which events were logged -> when its latest group was recorded; a day's worth of ids."""
    import pyarrow.compute as pc

    latest: dict[str, Any] = {}
    is_logged = pc.field("outcome").isin(["impression", "click", "conversion"])
    for condition in (is_logged, ~is_logged):  # what was said of one, or observed, has its marks too
        if condition is not is_logged and not latest:
            break
        for found in dataset.to_batches(columns=["id", "ts"], filter=condition, use_threads=False):
            for id_, ts in zip(found["id"].to_pylist(), found["ts"].cast("int64").to_pylist(), strict=True):
                if condition is is_logged or id_ in latest:
                    latest[id_] = max(ts, latest.get(id_, ts))
    return latest


def _is_latest(found: pa.RecordBatch, latest: dict[str, Any]) -> pa.Array:
    import pyarrow as pa

    ids, times = found["id"].to_pylist(), found["ts"].cast("int64").to_pylist()
    return pa.array([latest.get(id_, ts) == ts for id_, ts in zip(ids, times, strict=True)])


def _sync(folder: Path) -> None:
    """Make renames and deletions in a folder outlive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
