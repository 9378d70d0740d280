"""The registry of rankers: runs, versions and aliases, in MLflow; the only file that imports it.

Embedded, MLflow works on a SQLite file and a folder of artefacts; otherwise on a server by URL. A version
holds one text, as `ranking/ranker.py` saves it, with its metrics, figures and the report of the gate. Every
move of an alias (`champion`, `challenger`, `previous`) happens here; what takes more than one step is written
down before, and done by whoever comes when its process died. Whether a text may be served is not judged here.
Blocking, and one call at a time: used by deployment Models, `train/retrain.py` and the command line, never on
the request path.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import logging
import math
import os
import sqlite3
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import msgspec
import orjson

from pipeline import settings
from pipeline.errors import Conflict, RankerArtifactError, RegistryUnavailable, UnknownModel
from pipeline.stores.locks import held
from pipeline.stores.mlflowdb import settle

CHAMPION, CHALLENGER, PREVIOUS = "champion", "challenger", "previous"
Origin = Literal["installed", "trained"]

_PASSED = "passed"  # tag of a version that is to be promoted, until the champion moves
_MOVING = "moving"  # tag of the registered model while aliases move: why, champion and previous afterwards

_TEXT = "model/ranker.json"  # artefacts of a version's run
_GATE = "gate.json"
_TAG_MAX = 100_000  # characters, MLflow's limit for a version's tag
_PARAM_MAX = 6000
_BATCH = 100  # parameters in one request, MLflow's limit
_METRICS = 1000  # metrics in one request, MLflow's limit
_RETRY_S = 5.0


class Version(msgspec.Struct, frozen=True):
    """One registered ranker."""

    version: str  # how answers name it: its number here; the installed one's own name, the same everywhere
    number: str
    name: str  # what the artefact calls itself
    aliases: tuple[str, ...]
    created: str  # ISO 8601 UTC
    origin: Origin
    sha256: str  # of the text
    fingerprint: str  # of the feature table it was fitted on
    run: str
    metrics: dict[str, float]
    params: dict[str, str]
    gate: dict[str, Any] | None  # the report of the gate, whole


class Overview(msgspec.Struct, frozen=True):
    """Every version, newest first, and which of them stand for an alias; "" is none."""

    champion: str
    challenger: str
    previous: str
    models: tuple[Version, ...]


class _Header(msgspec.Struct, frozen=True):
    """What of a saved ranker is read here."""

    version: str
    fingerprint: str


class Registry:
    """The registered model `section.name`. Opens MLflow (seconds; more for a new database) when first asked."""

    def __init__(self, section: settings.Registry) -> None:
        self._name = section.name
        self._url = section.url
        self._embedded = section.url == "embedded"
        self._folder = Path(section.folder).resolve() if self._embedded and section.folder else None
        self._client: Any = None
        self._experiment = ""
        self._lock = threading.RLock()
        self._locked = False  # the folder, by this process

    def open(self) -> None:
        """Connect, and make what is missing: database, experiment, registered model."""
        with self._asked():
            pass

    def aliases(self) -> dict[str, str]:
        """Alias -> number of its version. One query: what is looked at every second."""
        with self._asked() as client:
            return self._aliases(client)

    def register(
        self,
        text: str,
        *,
        metrics: Mapping[str, float] | None = None,
        params: Mapping[str, Any] | None = None,
        gate: Mapping[str, Any] | None = None,
        figures: Mapping[str, bytes] | None = None,
        origin: Origin = "trained",
        passed_over: str | None = None,
    ) -> Version:
        """Keep a saved ranker as a new version; no alias moves. The same text again gives the version it has.

        `figures` are files by name (PNG). A gate's report is kept whatever its verdict. What passed is promoted by
        `finish`, unless the champion is another by now than the one that it was judged better than, `passed_over`.

        Raises:
            RankerArtifactError: it is no saved ranker.
        """
        try:
            header = msgspec.json.decode(text, type=_Header)
        except msgspec.DecodeError as error:
            raise RankerArtifactError(f"Not a saved ranker: {error}") from error
        digest = hashlib.sha256(text.encode()).hexdigest()
        numbers = {name: float(value) for name, value in (metrics or {}).items() if math.isfinite(value)}
        with self._asked() as client, self._alone():
            champion = ""
            for known in self._versions(client):
                if known.sha256 == digest:
                    return known
                champion = known.version if CHAMPION in known.aliases else champion
            run = client.create_run(self._experiment, run_name=header.version)
            self._log(client, run.info.run_id, text, numbers, params or {}, gate, figures or {})
            made = client.create_model_version(
                self._name,
                source=f"{run.info.artifact_uri}/{_TEXT.split('/')[0]}",
                run_id=run.info.run_id,
                tags={
                    "name": header.version,
                    "origin": origin,
                    "sha256": digest,
                    "fingerprint": header.fingerprint,
                    "metrics": _tag(numbers),
                    "params": _tag({name: str(value) for name, value in (params or {}).items()}),
                    "gate": _tag(dict(gate)) if gate is not None else "",
                    **({_PASSED: "yes"} if passed_over == champion else {}),
                },
            )
            client.set_terminated(run.info.run_id, "FINISHED")
            return self._read(made, {})

    def record(
        self,
        name: str,
        params: Mapping[str, Any],
        metrics: Mapping[str, float],
        curves: Mapping[str, Sequence[tuple[int, float]]],
    ) -> str:
        """Keep a run that registers nothing, such as the generator's tuning; its id. `curves` are values by step."""
        from mlflow.entities import Metric

        with self._asked() as client:
            run = str(client.create_run(self._experiment, run_name=name).info.run_id)
            self._log_figures(client, run, metrics, params)
            now = int(datetime.now(UTC).timestamp() * 1000)
            points = [Metric(curve, value, now, step) for curve, values in curves.items() for step, value in values]
            for start in range(0, len(points), _METRICS):
                client.log_batch(run, metrics=points[start : start + _METRICS])
            client.set_terminated(run, "FINISHED")
            return run

    def promote(self, version: str) -> Overview:
        """Make a version the champion; the one before it becomes `previous`. Promoting the champion changes nothing."""
        with self._asked() as client, self._alone():
            self._go_on(client)
            versions = self._versions(client)
            known, champion = _named(versions, version), [v.number for v in versions if CHAMPION in v.aliases]
            if CHAMPION not in known.aliases:
                self._move(client, "promotion", known.number, "".join(champion))
            self._drop_passed(client)
            return self.overview()

    def rollback(self) -> Overview:
        """Champion and previous change places; one that was broken off is done, and no second one.

        Raises:
            Conflict: there is no previous one.
        """
        with self._asked() as client, self._alone():
            if self._go_on(client) != "rollback":
                aliases = self._aliases(client)
                before, now = aliases.get(PREVIOUS, ""), aliases.get(CHAMPION, "")
                if before in ("", now):
                    raise Conflict("There is no previous model to roll back to.")
                self._move(client, "rollback", before, now)
            self._drop_passed(client)
            return self.overview()

    def finish(self) -> Version | None:
        """Promote what was registered as `passed`, unless the champion has moved since; None when there is none."""
        with self._asked() as client, self._alone():
            number = max(self._passed(client), key=int, default="")
            if not number:
                return None
            self.promote(number)
            return _named(self._versions(client), number)

    def challenge(self, version: str) -> Overview:
        """Make a version the challenger; "" takes the alias away. Raises Conflict when it is the champion."""
        with self._asked() as client, self._alone():
            if version:
                known = _named(self._versions(client), version)
                if CHAMPION in known.aliases:
                    raise Conflict(f"Version {version} is the champion: it cannot be compared with itself.")
                client.set_registered_model_alias(self._name, CHALLENGER, known.number)
            elif CHALLENGER in self._aliases(client):
                client.delete_registered_model_alias(self._name, CHALLENGER)
            return self.overview()

    def install(self, text: str) -> Overview:
        """Register the ranker that came with this installation, and promote it unless a trained one is champion.

        So the first start has a champion that can be gone back to, and a newer release's ranker takes the
        place of an older release's, never of one that was learnt here.
        """
        with self._asked() as client, self._alone():
            version = self.register(text, origin="installed")
            champion = next((known for known in self._versions(client) if CHAMPION in known.aliases), version)
            if CHAMPION not in version.aliases and champion.origin == "installed":
                return self.promote(version.number)
            return self.overview()

    def overview(self) -> Overview:
        """Every version and the aliases."""
        with self._asked() as client:
            versions = self._versions(client)
        named = {alias: known.version for known in versions for alias in known.aliases}
        return Overview(named.get(CHAMPION, ""), named.get(CHALLENGER, ""), named.get(PREVIOUS, ""), versions)

    def show(self, version: str) -> Version:
        """One version, by its number or by the name it serves under; raises UnknownModel."""
        with self._asked() as client:
            return _named(self._versions(client), version)

    def text(self, version: str) -> str:
        """The saved ranker of a version.

        Raises:
            RankerArtifactError: what lies there is not what was registered, or nothing is in an embedded registry.
        """
        with self._asked() as client, tempfile.TemporaryDirectory(prefix="opensesame-") as folder:
            known = _named(self._versions(client), version)
            try:
                data = Path(client.download_artifacts(known.run, _TEXT, folder)).read_bytes()
            except (_failures()[0], OSError) as error:
                if not self._embedded:  # a server's store may be away
                    raise
                raise RankerArtifactError(f"The artefact of version {known.version} is gone.", "missing") from error
        if hashlib.sha256(data).hexdigest() != known.sha256:
            raise RankerArtifactError(f"The artefact of version {known.version} is not what was registered.", "hash")
        return data.decode()

    def _log(
        self,
        client: Any,
        run: str,
        text: str,
        metrics: Mapping[str, float],
        params: Mapping[str, Any],
        gate: Mapping[str, Any] | None,
        figures: Mapping[str, bytes],
    ) -> None:
        self._log_figures(client, run, metrics, params)
        client.log_text(run, text, _TEXT)
        if gate is not None:
            client.log_text(run, orjson.dumps(gate, option=orjson.OPT_INDENT_2).decode(), _GATE)
        with tempfile.TemporaryDirectory(prefix="opensesame-") as folder:
            for name, data in figures.items():
                (Path(folder) / Path(name).name).write_bytes(data)
            if figures:
                client.log_artifacts(run, folder, "figures")

    def _log_figures(self, client: Any, run: str, metrics: Mapping[str, float], params: Mapping[str, Any]) -> None:
        from mlflow.entities import Metric, Param

        now = int(datetime.now(UTC).timestamp() * 1000)
        # MLflow takes no "@" in the name of a metric.
        logged = [Metric(name.replace("@", "_at_"), value, now, 0) for name, value in metrics.items()]
        told = [Param(name, str(value)[:_PARAM_MAX]) for name, value in params.items()]
        client.log_batch(run, metrics=logged)
        for start in range(0, len(told), _BATCH):
            client.log_batch(run, params=told[start : start + _BATCH])

    def _move(self, client: Any, why: str, champion: str, previous: str) -> None:
        """Move both aliases, "" leaves `previous` alone: all of it, now or by whoever comes next."""
        client.set_registered_model_tag(self._name, _MOVING, f"{why} {champion} {previous}")
        self._go_on(client)

    def _go_on(self, client: Any) -> str:
        """Do the move that is written down; why it was begun, "" when none was."""
        found = client.get_registered_model(self._name)
        told = found.tags.get(_MOVING, "")
        if not told:
            return ""
        why, champion, previous = told.split(" ")
        if str(found.aliases.get(CHALLENGER)) == champion:  # nothing is compared with itself
            client.delete_registered_model_alias(self._name, CHALLENGER)
        client.set_registered_model_alias(self._name, CHAMPION, champion)
        if previous:
            client.set_registered_model_alias(self._name, PREVIOUS, previous)
        client.delete_registered_model_tag(self._name, _MOVING)
        return str(why)

    def _drop_passed(self, client: Any) -> None:
        """The champion has moved: what had passed against another one waits no more."""
        for number in self._passed(client):
            client.delete_model_version_tag(self._name, number, _PASSED)

    def _passed(self, client: Any) -> list[str]:
        found = client.search_model_versions(f"name='{self._name}' AND tags.{_PASSED} = 'yes'")
        return [str(made.version) for made in found]

    def _aliases(self, client: Any) -> dict[str, str]:
        found = client.get_registered_model(self._name).aliases
        return {alias: str(number) for alias, number in found.items()}  # SQLite gives whole numbers

    def _versions(self, client: Any) -> tuple[Version, ...]:
        aliases: dict[str, list[str]] = {}
        for alias, number in self._aliases(client).items():
            aliases.setdefault(number, []).append(alias)
        found, token = [], None
        while True:
            page = client.search_model_versions(f"name='{self._name}'", max_results=1000, page_token=token)
            found += [self._read(made, aliases) for made in page if "sha256" in made.tags]
            token = page.token
            if not token:
                return tuple(sorted(found, key=lambda version: -int(version.number)))

    def _read(self, made: Any, aliases: Mapping[str, list[str]]) -> Version:
        tags, number = made.tags, str(made.version)
        origin: Origin = "installed" if tags.get("origin") == "installed" else "trained"
        return Version(
            version=tags["name"] if origin == "installed" else number,
            number=number,
            name=tags["name"],
            aliases=tuple(sorted(aliases.get(number, ()))),
            created=datetime.fromtimestamp(made.creation_timestamp / 1000, UTC).isoformat(timespec="seconds"),
            origin=origin,
            sha256=tags["sha256"],
            fingerprint=tags.get("fingerprint", ""),
            run=made.run_id,
            metrics=orjson.loads(tags.get("metrics") or "{}"),
            params=orjson.loads(tags.get("params") or "{}"),
            gate=orjson.loads(tags["gate"]) if tags.get("gate") else None,
        )

    @contextlib.contextmanager
    def _asked(self) -> Iterator[Any]:
        """The client, opened; failures of MLflow, its database or its server as RegistryUnavailable."""
        with self._lock:
            mlflow_error, sql_error = _failures()
            try:
                if self._client is None:
                    self._client = self._open()
                yield self._client
            except (mlflow_error, sql_error, sqlite3.Error, OSError) as error:
                said = " ".join(str(error).split())[:200]
                raise RegistryUnavailable(f"The model registry does not answer: {said}", _RETRY_S) from error

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """What takes several steps is done by one process at a time, where there is a folder to lock."""
        if self._folder is None or self._locked:
            yield
            return
        with held(self._folder / "lock"):
            self._locked = True
            try:
                yield
            finally:
                self._locked = False

    def _open(self) -> Any:
        from mlflow.tracking import MlflowClient

        uri, artifacts = self._url, None
        if self._embedded:
            if self._folder is None:
                raise RegistryUnavailable("An embedded registry needs a folder: set registry.folder.", _RETRY_S)
            self._folder.mkdir(parents=True, exist_ok=True)
            uri, artifacts = f"sqlite:///{self._folder / 'mlflow.db'}", (self._folder / "artifacts").as_uri()
        with self._alone():  # two processes must not both make the tables
            if self._folder is not None and artifacts is not None:
                settle(self._folder / "mlflow.db", self._name, artifacts)
            client = MlflowClient(tracking_uri=uri, registry_uri=uri)
            experiment = client.get_experiment_by_name(self._name)
            self._experiment = (
                experiment.experiment_id if experiment else client.create_experiment(self._name, artifacts)
            )
            if not client.search_registered_models(f"name='{self._name}'"):
                client.create_registered_model(self._name, description="Rankers of OpenSesame.")
        return client


def _named(versions: Sequence[Version], version: str) -> Version:
    for known in versions:
        if version in (known.number, known.version):
            return known
    raise UnknownModel(f"There is no model version '{version[:80]}': see the list of models.")


@functools.cache
def _failures() -> tuple[type[Exception], type[Exception]]:
    """MLflow's error and SQLAlchemy's; imports MLflow, quietly and sending nothing home."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    # Of a server that does not answer: MLflow's own patience is minutes.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
    return MlflowException, SQLAlchemyError


def _tag(value: Mapping[str, Any]) -> str:
    """The value as JSON within MLflow's limit: what is nested goes when it would not fit."""
    text = orjson.dumps(value, default=str).decode()
    if len(text) <= _TAG_MAX:
        return text
    flat = {name: entry for name, entry in value.items() if isinstance(entry, str | int | float | bool | None)}
    return orjson.dumps({name: str(entry)[:500] for name, entry in list(flat.items())[:100]}).decode()
