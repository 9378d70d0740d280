"""The ranker: three heads, their calibration and their golden rows, in one JSON text.

A head turns a matrix [n_candidates, n_features] into raw scores: LightGBM LambdaRank trees where
there is a history, a signed conditional logit for the first call of a session. The text carries
no code and no pickle. A text whose feature fingerprint, schema or golden scores do not hold is
refused with RankerArtifactError: a wrong order is worse than the declared linear one
(`cold_start`). Fitting is `train/fit.py`'s; serving and evaluation load and score here.
"""

from __future__ import annotations

import logging
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import msgspec
import numpy as np

from pipeline.errors import RankerArtifactError
from pipeline.ranking.calibrate import Calibration
from pipeline.ranking.contributions import TreePaths, linear_parts, strongest
from pipeline.ranking.prior import hand_parts, hand_score
from pipeline.ranking.table import FINGERPRINT, HEADS, NAMES, Head
from pipeline.types import Scores

_log = logging.getLogger(__name__)

Array = np.ndarray[Any, np.dtype[Any]]

COLD_START = "cold-start"
SIZE_LIMIT_BYTES = 2 * 1024 * 1024
_FORMAT = 1
_TOLERANCE = 1e-4  # of golden scores: LightGBM's sums differ in the last bits between builds
_GOLDEN_ROWS = 8
_IMPORTED_FOR_OTHERS = ("sklearn", "pandas", "matplotlib", "dask")  # by LightGBM, for those who pass it their objects
_PARTS_TOLD = 12  # of a row: several columns often say one thing

_log = logging.getLogger("opensesame.ranker")


def import_lightgbm_alone() -> None:
    """Import LightGBM without what it imports only to know other people's objects; not where other threads import.

    Beside Ray it takes 0.12 s of CPU and 17 MB instead of 0.85 s and 85 MB, in a bare process 0.3 s instead of 1.5 s.
    """
    absent = [name for name in _IMPORTED_FOR_OTHERS if name not in sys.modules]
    sys.modules.update(dict.fromkeys(absent))  # type: ignore[arg-type]  # None: as if not installed
    try:
        import lightgbm  # noqa: F401
    finally:
        for name in absent:
            del sys.modules[name]


class Logit(msgspec.Struct, frozen=True, tag="logit", forbid_unknown_fields=True):
    """A linear head: sum of weight * (value - center) / scale; a missing value adds nothing."""

    features: tuple[str, ...]
    center: tuple[float, ...]
    scale: tuple[float, ...]
    weights: tuple[float, ...]


class Trees(msgspec.Struct, frozen=True, tag="trees", forbid_unknown_fields=True):
    """A LightGBM booster as LightGBM writes it, over all features in the artefact's order."""

    model: str


class Blend(msgspec.Struct, frozen=True, tag="blend", forbid_unknown_fields=True):
    """Trees and a logit together: `share` of the trees' raw score, the rest of the logit's.

    The trees know what goes with what, the logit bends less to the specs that both were fitted on.
    """

    trees: Trees
    logit: Logit
    share: float


Spec = Logit | Trees | Blend


class Golden(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Rows of one group and what they must score; null is a missing value."""

    matrix: tuple[tuple[float | None, ...], ...]
    raw: tuple[float, ...]
    confidence: tuple[float, ...]


class Artifact(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a saved ranker holds."""

    format: int
    version: str
    created: str  # ISO 8601 UTC
    data: str  # hash of the query groups it was fitted on
    fingerprint: str  # of the feature table
    features: tuple[str, ...]
    heads: dict[str, Spec]
    calibration: dict[str, Calibration]
    golden: dict[str, Golden]


class _Head(Protocol):
    def read(self, matrix: Array) -> Any:
        """A group's matrix, read once for both scores and parts."""
        ...

    def raw(self, read: Any) -> Array:
        """Raw scores; float32 [n_candidates]."""
        ...

    def parts(self, read: Any, rows: Array) -> Array:
        """What each feature adds to the raw score of `rows`, less the group's mean; float32 [n_rows, n_features]."""
        ...


class _LogitHead:
    def __init__(self, spec: Logit, names: Sequence[str]) -> None:
        position = {name: i for i, name in enumerate(names)}
        unknown = [name for name in spec.features if name not in position]
        sizes = {len(spec.features), len(spec.center), len(spec.scale), len(spec.weights)}
        if unknown or len(sizes) != 1 or not spec.features:
            raise RankerArtifactError(
                f"A logit head is inconsistent: unknown features {unknown}, sizes {sorted(sizes)}."
            )
        self._columns, self._width = np.array([position[name] for name in spec.features]), len(names)
        self._center = np.array(spec.center, dtype=np.float32)
        with np.errstate(divide="ignore", invalid="ignore"):
            self._slope = (np.array(spec.weights) / np.array(spec.scale)).astype(np.float32)
        if not np.isfinite(self._slope).all() or not np.isfinite(self._center).all():
            raise RankerArtifactError("A logit head has weights that are no finite numbers.")

    def read(self, matrix: Array) -> Array:
        values = matrix[:, self._columns] - self._center
        return np.where(np.isnan(values), np.float32(0), values)

    def raw(self, read: Array) -> Array:
        return np.asarray(read @ self._slope)

    def parts(self, read: Array, rows: Array) -> Array:
        parts = np.zeros((len(rows), self._width), dtype=np.float32)
        parts[:, self._columns] = linear_parts(read, self._slope, rows)
        return parts


class _TreesHead:
    def __init__(self, spec: Trees, names: Sequence[str]) -> None:
        import lightgbm

        try:
            booster = lightgbm.Booster(model_str=spec.model)
            width = booster.num_feature()
            self._paths = TreePaths(booster, spec.model)
        except (lightgbm.basic.LightGBMError, ValueError, LookupError) as error:
            raise RankerArtifactError(f"LightGBM cannot read a head: {str(error)[:200]}") from error
        if width != len(names):
            raise RankerArtifactError(f"A head was fitted on {width} features, the artefact names {len(names)}.")
        self.read, self.raw, self.parts = self._paths.leaves, self._paths.raw, self._paths.parts


class _BlendHead:
    def __init__(self, spec: Blend, names: Sequence[str]) -> None:
        if not 0.0 <= spec.share <= 1.0:
            raise RankerArtifactError(f"A blended head has a share of {spec.share}; 0 to 1 is possible.")
        self._trees, self._logit, self._share = _TreesHead(spec.trees, names), _LogitHead(spec.logit, names), spec.share

    def read(self, matrix: Array) -> tuple[Array, Array]:
        return self._trees.read(matrix), self._logit.read(matrix)

    def raw(self, read: tuple[Array, Array]) -> Array:
        trees, logit = self._trees.raw(read[0]), self._logit.raw(read[1])
        return np.asarray(self._share * trees + (1.0 - self._share) * logit)

    def parts(self, read: tuple[Array, Array], rows: Array) -> Array:
        trees, logit = self._trees.parts(read[0], rows), self._logit.parts(read[1], rows)
        return np.asarray(self._share * trees + (1.0 - self._share) * logit)


class _LinearHead:
    """The declared linear order of the feature table: nothing is learnt."""

    def __init__(self, head: Head) -> None:
        self._head = head

    def read(self, matrix: Array) -> Array:
        return matrix

    def raw(self, read: Array) -> Array:
        return np.asarray(hand_score(read, self._head), dtype=np.float32)

    def parts(self, read: Array, rows: Array) -> Array:
        return hand_parts(read, self._head, rows)


class Ranker:
    """Scores query groups; immutable, safe to share between threads."""

    def __init__(self, version: str, heads: Mapping[str, _Head], calibration: Mapping[str, Calibration]) -> None:
        self.version = version
        self._heads = dict(heads)
        self._calibration = dict(calibration)

    @classmethod
    def load_text(cls, text: str) -> Ranker:
        """The ranker a saved text describes.

        Raises:
            RankerArtifactError: too large, of another schema or feature table, or golden rows score differently.
        """
        if len(text) > SIZE_LIMIT_BYTES:
            raise RankerArtifactError(f"The artefact has {len(text)} bytes, over the limit of {SIZE_LIMIT_BYTES}.")
        try:
            artifact = msgspec.json.decode(text, type=Artifact)
        except msgspec.DecodeError as error:
            raise RankerArtifactError(f"Not a saved ranker: {error}") from error
        if artifact.format != _FORMAT:
            raise RankerArtifactError(f"Format {artifact.format} is not {_FORMAT}, the one this release reads.")
        if artifact.fingerprint != FINGERPRINT or artifact.features != NAMES:
            raise RankerArtifactError(
                f"It was fitted on feature table {artifact.fingerprint}, this release computes {FINGERPRINT}."
            )
        missing = [h for h in HEADS if not (h in artifact.heads and h in artifact.calibration and h in artifact.golden)]
        if missing:
            raise RankerArtifactError(f"Heads, calibration or golden rows lack {', '.join(missing)}.")
        ranker = cls(artifact.version, _build(artifact.heads, artifact.features), artifact.calibration)
        for head in HEADS:
            ranker._prove(head, artifact.golden[head])
        return ranker

    def score(self, matrix: Array, head: str, shown: Sequence[int] = (), explain: int = 0) -> Scores:
        """Raw scores and calibrated confidences of one group's matrix [n_candidates, n_features] float32.

        The `explain` best of the rows `shown` (those that may be shown) get their strongest features along.
        """
        if head not in self._heads:
            raise RankerArtifactError(f"There is no head '{head}': one of {', '.join(self._heads)}.")
        if matrix.ndim != 2 or matrix.shape[1] != len(NAMES):
            raise RankerArtifactError(f"A matrix {matrix.shape} does not fit {len(NAMES)} features.")
        if not len(matrix):
            none = np.zeros(0, dtype=np.float32)
            return Scores(none, none, self.version, head)
        ours = self._heads[head]
        read = ours.read(matrix)
        raw = np.asarray(ours.raw(read), dtype=np.float32)
        because: dict[int, tuple[tuple[int, float], ...]] = {}
        if explain and len(shown):
            rows = np.asarray(shown, dtype=np.int64)
            rows = rows[np.argsort(-raw[rows], kind="stable")[:explain]]
            parts = ours.parts(read, rows)
            because = dict(zip(rows.tolist(), strongest(parts, _PARTS_TOLD), strict=True))
        return Scores(raw, self._calibration[head].confidence(raw), self.version, head, because)

    def _prove(self, head: str, golden: Golden) -> None:
        matrix = np.array([[math.nan if v is None else v for v in row] for row in golden.matrix], dtype=np.float32)
        scores = self.score(matrix, head)
        if scores.raw.shape != (len(golden.raw),) or not (
            np.allclose(scores.raw, golden.raw, rtol=_TOLERANCE, atol=_TOLERANCE)
            and np.allclose(scores.confidence, golden.confidence, rtol=0, atol=10 * _TOLERANCE)
        ):
            raise RankerArtifactError(f"The golden rows of head '{head}' score differently from when it was saved.")


def dump(
    *,
    version: str,
    created: str,
    data: str,
    heads: Mapping[str, Spec],
    calibration: Mapping[str, Calibration],
    samples: Mapping[str, Array],
) -> str:
    """The text of a ranker; `samples` has a group's matrix for each head, of which golden rows are taken."""
    ranker = Ranker(version, _build(heads, NAMES), calibration)
    golden = {}
    for head, matrix in samples.items():
        rows = np.vectorize(lambda v: float(f"{v:.6g}"), otypes=[np.float32])(matrix[:_GOLDEN_ROWS])
        scores = ranker.score(rows, head)
        golden[head] = Golden(
            matrix=tuple(tuple(None if math.isnan(v) else float(f"{v:.6g}") for v in row) for row in rows.tolist()),
            raw=tuple(scores.raw.tolist()),
            confidence=tuple(scores.confidence.tolist()),
        )
    artifact = Artifact(
        format=_FORMAT,
        version=version,
        created=created,
        data=data,
        fingerprint=FINGERPRINT,
        features=NAMES,
        heads=dict(heads),
        calibration=dict(calibration),
        golden=golden,
    )
    return msgspec.json.encode(artifact).decode()


def uncalibrated(version: str, heads: Mapping[str, Spec]) -> Ranker:
    """A ranker fresh from the fit: its raw scores count, its confidences are a plain softmax."""
    return Ranker(version, _build(heads, NAMES), {head: Calibration() for head in heads})


def packaged_path() -> Path:
    """Where the packaged ranker lies; its card is beside it."""
    return Path(__file__).resolve().parents[1] / "models" / "ranker.json"


def packaged() -> Ranker:
    """The ranker that comes with the package.

    Raises:
        RankerArtifactError: there is none, or it must not be served.
    """
    try:
        text = packaged_path().read_text(encoding="utf-8")
    except OSError as error:
        raise RankerArtifactError(f"There is no packaged ranker: {error}") from error
    return Ranker.load_text(text)


def cold_start() -> Ranker:
    """The declared linear order of the feature table: what answers where there is no ranker that may serve."""
    return Ranker(COLD_START, {head: _LinearHead(head) for head in HEADS}, dict.fromkeys(HEADS, Calibration()))


def serving(artifact: str = "") -> Ranker:
    """The ranker of file `artifact` ("" is the packaged one), or the cold-start order when that must not be served.

    Never raises for a bad artefact: a service without a trained ranker still answers, logs why and says
    `model_version: "cold-start"`.
    """
    try:
        return Ranker.load_text(Path(artifact).read_text(encoding="utf-8")) if artifact else packaged()
    except (RankerArtifactError, OSError, UnicodeDecodeError) as error:
        _log.error("%s is not served, the cold-start order is: %s", artifact or "the packaged ranker", error)
        return cold_start()


def _build(heads: Mapping[str, Spec], names: Sequence[str]) -> dict[str, _Head]:
    return {head: _head(spec, names) for head, spec in heads.items()}


def _head(spec: Spec, names: Sequence[str]) -> _Head:
    if isinstance(spec, Blend):
        return _BlendHead(spec, names)
    return _TreesHead(spec, names) if isinstance(spec, Trees) else _LogitHead(spec, names)
