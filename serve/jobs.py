"""Training as a Ray job: submitted, found again, and read. What a training does is `train/retrain.py`'s.

The job is a command of its own, which gives way and has a sliver of a CPU; its workers ask Ray for theirs. Blocking:
called by deployment Models in a thread.
"""

from __future__ import annotations

import secrets
import shlex
import sys
import threading
import time
from pathlib import Path
from typing import Annotated, Any, Literal, NotRequired, cast

import orjson
import pydantic
from typing_extensions import TypedDict

from pipeline.errors import Conflict, NotFound, Unavailable
from pipeline.priority import giving_way
from pipeline.settings import Settings
from serve.documents import field

_KIND = {  # marks our jobs among others of the cluster, and says in Ray's dashboard what they do
    "opensesame": "train",
    "job_name": "OpenSesame training",
    "description": "Takes feedback to the journal; trains a ranker when one is due, and promotes it when it is better.",
}
_READ = (
    "state",
    "registry",
    "ranker",
    "models",
    "journal",
    "train",
    "shortlist",
    "guardrails",
    "log",
)  # sections a training reads
_LOG_LINES = 15  # of a failed job's output
_ENDED = ("succeeded", "failed", "stopped")

JobStatus = Literal["pending", "running", "succeeded", "failed", "stopped"]


@pydantic.with_config(
    json_schema_extra={
        "example": {"job_id": "opensesame-train-20261121-181637-1f0c", "status": "pending", "started": True}
    }
)
class TrainResponse(TypedDict):
    """The training that runs now."""

    job_id: str
    status: JobStatus
    started: Annotated[bool, field("False: it was running already.")]


@pydantic.with_config(
    json_schema_extra={
        "example": {
            "job_id": "opensesame-train-20261121-181637-1f0c",
            "status": "running",
            "started": 1795285000.0,
            "ended": None,
            "progress": {"step": "fit", "done": 3, "total": 10},
        }
    }
)
class Training(TypedDict):
    """How far a training has come."""

    job_id: str
    status: JobStatus
    started: Annotated[float | None, field("Seconds since 1970.")]
    ended: Annotated[float | None, field("Seconds since 1970.")]
    progress: Annotated[dict[str, Any] | None, field("The last that it told.")]
    detail: NotRequired[Annotated[str, field("Of a failed one: the last lines it wrote.")]]


class TrainingJobs:
    """The training jobs of this cluster. Connects when first asked."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._connected: Any = None
        self._address = ""
        self._alone = threading.Lock()  # between looking for a job and starting one

    def submit(self, force: bool) -> TrainResponse:
        """The job that trains now: a new one, or the one that already runs.

        Raises:
            Conflict: there is no place for the journal that outlives the job.
            Unavailable: Ray's job API does not answer.
        """
        if folder(self._settings) is None:
            raise Conflict(
                "This service starts no trainings: models.var names no absolute folder, and a job would leave the "
                "journal on the disk of the pod that it happens to run on. Set it to a volume that Ray's pods share, "
                "or run train.retrain on a schedule (k8s/components/retrain-cronjob)."
            )
        client = self._client()
        with self._alone:
            for job in _asked(client.list_jobs):
                if job.metadata == _KIND and _status(job) not in _ENDED and job.submission_id:
                    return {"job_id": job.submission_id, "status": _status(job), "started": False}
            job_id = _asked(
                lambda: client.submit_job(
                    entrypoint=entrypoint(self._settings, force, self._address),
                    runtime_env={"env_vars": variables(self._settings)},
                    submission_id=_name(),
                    metadata=_KIND,
                    entrypoint_num_cpus=self._settings.models.train_num_cpus,
                )
            )
        return {"job_id": job_id, "status": "pending", "started": True}

    def read(self, job_id: str) -> Training:
        """State of a job and the last progress it told.

        Raises:
            NotFound: there is no such training job in this cluster's life.
        """
        client = self._client()
        known = {job.submission_id: job for job in _asked(client.list_jobs) if job.metadata == _KIND}
        job = known.get(job_id)
        if job is None:
            raise NotFound(f"There is no training job '{job_id[:80]}'.")
        lines = _asked(lambda: client.get_job_logs(job_id)).splitlines()
        told: Training = {
            "job_id": job_id,
            "status": _status(job),
            "started": _seconds(job.start_time),
            "ended": _seconds(job.end_time),
            "progress": last_progress(lines),
        }
        if told["status"] == "failed":
            told["detail"] = " / ".join(lines[-_LOG_LINES:]) or str(job.message)
        return told

    def _client(self) -> Any:
        if self._connected is None:
            import ray
            from ray.job_submission import JobSubmissionClient

            self._address = ray.get_runtime_context().gcs_address
            self._connected = _asked(lambda: JobSubmissionClient(self._address))
        return self._connected


def folder(settings: Settings) -> Path | None:
    """Where trainings keep the journal; None where nobody said: a relative path would be a pod's own disk."""
    var = Path(settings.models.var)
    return var if var.is_absolute() else None


def entrypoint(settings: Settings, force: bool, address: str) -> str:
    """The command line of a training on the Ray at `address`.

    Ray tells a job in RAY_ADDRESS where it runs, but guesses: beside another Ray on this machine it may name that one
    (2.60, `services.get_ray_address_from_environment`).
    """
    idle = settings.models.train_idle
    python = [sys.executable, "-P", "-m"]  # -P: the folder it starts in must not shadow our packages
    beside = shlex.join([*python, "pipeline.priority", *(["idle"] if idle else [])])
    command = [*giving_way(idle), *python, "train.retrain"]
    command += ["--ray", address]
    if "@" not in settings.state.url:  # one with a password travels in the environment, which others cannot read
        command += ["--state", settings.state.url]
    command += ["--var", settings.models.var]
    return f"{beside} >/dev/null 2>&1 & exec " + shlex.join([*command, *(["--force"] if force else []), "--json"])


def last_progress(lines: list[str]) -> dict[str, Any] | None:
    """The last line that is a JSON object."""
    for line in reversed(lines):
        if line.startswith("{"):
            try:
                told = orjson.loads(line)
            except orjson.JSONDecodeError:  # cut off while it was written
                continue
            return told if isinstance(told, dict) else None
    return None


def variables(settings: Settings) -> dict[str, str]:
    """The environment that gives a training the settings of this service, whatever configuration it began with."""
    told = {}
    for section in _READ:
        for name, value in getattr(settings, section).model_dump(mode="json").items():
            text = value if isinstance(value, str) else orjson.dumps(value).decode()
            told[f"OPENSESAME__{section.upper()}__{name.upper()}"] = text
    return told


def _status(job: Any) -> JobStatus:
    return cast(JobStatus, str(job.status.value).lower())


def _name() -> str:
    """What Ray's dashboard calls a training."""
    return f"opensesame-train-{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{secrets.token_hex(2)}"


def _seconds(milliseconds: int | None) -> float | None:
    return None if milliseconds is None else milliseconds / 1000


def _asked(call: Any) -> Any:
    """What Ray's job API answers; Unavailable when it is not there."""
    try:
        return call()
    except (RuntimeError, ConnectionError, OSError) as error:
        said = " ".join(str(error).split())[:200]
        raise Unavailable(
            f"Training needs Ray's job API, which comes with its dashboard (ray.dashboard_port): {said}", 30.0
        ) from error
