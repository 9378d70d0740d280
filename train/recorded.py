"""Recorded sessions become a corpus: requests matched to the operations of a spec, and counted where they are none.

Takes what the readers of `train/imports/` give and yields what `corpus.synthesize` yields, so that
`corpus.write` and `bootstrap` make no difference between what was walked and what was done.
`read_sessions` reads our own JSON lines for training; `opensesame import` (`train/imports/command.py`)
brings every other format here.
"""

from __future__ import annotations

import dataclasses
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from pipeline.catalog import document
from pipeline.catalog.match import Matcher
from pipeline.catalog.parse import parse_spec
from pipeline.errors import BadRequest
from pipeline.settings import Parse, packaged_spec
from pipeline.types import Call, Catalog
from train import corpus
from train.imports import jsonl
from train.imports.hosts import hosts_of, is_among
from train.imports.recording import Recording, Request

_PIECE = 40  # calls of one session of a corpus, as many as a synthetic one has at most
OVERLAP = 20  # calls that a longer session's next piece begins with, as its history
NO_PATH = "no such path"  # why a request is no operation, unless its path has other methods
_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE")
_NAMED = re.compile(r"[A-Za-z][A-Za-z-]*\d{0,2}")  # a path segment that is no identifier: "users", "v1"


@dataclasses.dataclass(frozen=True, slots=True)
class Target:
    """A spec that requests are matched to."""

    spec: corpus.Spec
    catalog: Catalog
    matcher: Matcher
    hosts: tuple[str, ...]  # patterns of the hosts its servers name; none: any host will do


@dataclasses.dataclass(slots=True)
class Tally:
    """What became of the requests and sessions of an import."""

    requests: int = 0
    matched: int = 0
    recordings: int = 0
    sessions: int = 0
    skipped: Counter[str] = dataclasses.field(default_factory=Counter)  # entries that are no request, by reason
    other_hosts: Counter[str] = dataclasses.field(default_factory=Counter)
    unmatched: Counter[tuple[str, str]] = dataclasses.field(default_factory=Counter)  # "GET /path/{}" and why not
    lost: Counter[str] = dataclasses.field(default_factory=Counter)  # recordings that gave no session, by reason
    operations: Counter[str] = dataclasses.field(default_factory=Counter)  # calls matched, by operation


def always_train(provider: str) -> str:
    """The split of recorded sessions unless another is asked for."""
    return "train"


def open_target(
    data: bytes,
    name: str,
    limits: Parse,
    *,
    hosts: Sequence[str] = (),
    split_of: Callable[[str], str] = always_train,
) -> Target:
    """The spec `data`, called `name`, ready to be matched; `hosts` replaces what its servers say.

    Raises:
        SpecInvalid, TooLarge: it is no usable spec.
    """
    catalog = parse_spec(data, limits)
    provider = provider_of(name)
    shapes = frozenset(corpus.shape_of(o.method, o.path) for o in catalog.operations)
    spec = corpus.Spec(name, provider, split_of(provider), shapes)
    return Target(spec, catalog, Matcher(catalog), tuple(hosts) or hosts_of(document.load(data, limits, [])))


def provider_of(name: str) -> str:
    """Whose a spec is, by its name as `corpus.choose` has it: `a.com/v1.json` and `specs/a.com.json` are a.com's."""
    parts = [part for part in Path(name).parts if part not in ("/", ".", "..", "specs")]
    return parts[0] if len(parts) > 1 and not Path(name).is_absolute() else Path(name).stem


def read_sessions(
    files: Path | Iterable[Path],
    specs: Path | None = None,
    *,
    limits: Parse,
    split_of: Callable[[str], str] = always_train,
    tally: Tally | None = None,
) -> Iterator[tuple[corpus.Spec, Catalog, list[corpus.Session]]]:
    """The sessions of JSON-lines files, or of all `*.jsonl` of a folder, by spec: one of each row and prompt.

    A row's `spec` names a file beside the JSON lines, in `specs`, or a packaged example. `split_of` gives the split
    of a provider, as `corpus.split_of` does; catalogs are as their specs say, nothing is corrupted.

    Raises:
        BadRequest: a line is no session or names no spec; the detail names it.
        SpecInvalid, TooLarge: a spec cannot be read.
    """
    listed = [files] if isinstance(files, Path) else list(files)
    found = [f for path in listed for f in (sorted(path.rglob("*.jsonl")) if path.is_dir() else [path])]
    if not found:
        raise BadRequest(f"There are no *.jsonl in {' and '.join(map(str, listed))}.")
    tally = tally if tally is not None else Tally()
    targets = Targets(limits, specs=specs, split_of=split_of)
    yield from gather(found, lambda file: jsonl.read(file, tally.skipped), targets, tally)


class Targets:
    """The spec of each recording: the one it names, else the one given for all; each is opened once."""

    def __init__(
        self,
        limits: Parse,
        *,
        given: Target | None = None,
        specs: Path | None = None,
        hosts: Sequence[str] = (),
        split_of: Callable[[str], str] = always_train,
    ) -> None:
        self._limits, self._given, self._specs = limits, given, specs
        self._hosts, self._split_of = hosts, split_of
        self._open: dict[Path, Target] = {}

    def of(self, file: Path, recording: Recording) -> Target:
        """The spec of a recording in `file`.

        Raises:
            BadRequest: it names none and none was given, or one that is not there.
            SpecInvalid, TooLarge: it cannot be read.
        """
        if not recording.spec:
            if self._given is None:
                raise BadRequest(f"{file.name}, {recording.where} names no spec: give one for all with --spec.")
            return self._given
        path = self._find(file, recording)
        if path not in self._open:
            name = recording.spec if recording.spec.endswith(path.suffix) else path.name
            self._open[path] = open_target(
                path.read_bytes(), name, self._limits, hosts=self._hosts, split_of=self._split_of
            )
        return self._open[path]

    def _find(self, file: Path, recording: Recording) -> Path:
        places = [folder / recording.spec for folder in (file.parent, self._specs) if folder is not None]
        try:
            path = next((p for p in places if p.is_file()), None) or packaged_spec(recording.spec)
        except (OSError, ValueError):  # no name a file could have
            path = None
        if path is None:
            tried = " or ".join(map(str, places))
            raise BadRequest(f"{file.name}, {recording.where}: there is no spec '{recording.spec}' at {tried}.")
        return path


def gather(
    files: Iterable[Path],
    read: Callable[[Path], Iterator[Recording]],
    specs: Targets,
    tally: Tally,
) -> Iterator[tuple[corpus.Spec, Catalog, list[corpus.Session]]]:
    """The sessions of the recordings that `read` finds in each file, by spec; what is none is counted in `tally`.

    Raises:
        BadRequest: a file cannot be read.
    """
    targets: dict[str, Target] = {}
    sessions: dict[str, list[corpus.Session]] = defaultdict(list)
    names: Counter[str] = Counter()
    for file in files:
        names[file.name] += 1
        name = file.name if names[file.name] == 1 else f"{file.name}~{names[file.name]}"
        try:
            for recording in read(file):
                target = specs.of(file, recording)
                targets.setdefault(target.catalog.digest, target)
                sessions[target.catalog.digest] += sessions_of(recording, name, target, tally)
        except OSError as error:
            raise BadRequest(f"{file} cannot be read: {error.strerror or error}.") from None
    for digest, target in targets.items():
        if sessions[digest]:
            yield target.spec, target.catalog, sessions[digest]


def sessions_of(recording: Recording, file: str, target: Target, tally: Tally) -> list[corpus.Session]:
    """The sessions of one recording: one of each prompt, a long one in pieces; none without a call to ask for."""
    tally.recordings += 1
    calls, operations, answers = match(recording.requests, target, tally)
    if not recording.prompts:
        answers = [a for a in answers if a]  # neither prompt nor history: nothing is asked
    if not calls:
        tally.lost["no request of the spec"] += 1
        return []
    if not answers:
        tally.lost["a single call and no prompt"] += 1
        return []
    made = []
    for number, prompt in enumerate(recording.prompts or ("",)):
        for start in range(0, len(calls), _PIECE):
            first = max(0, start - OVERLAP)
            asked = tuple(a - first for a in answers if start <= a < start + _PIECE)
            if not asked:
                continue
            made.append(
                corpus.Session(
                    id=f"{file} {recording.where} #{number}" + (f"+{start}" if start else ""),
                    catalog=target.catalog.digest,
                    spec=target.spec.name,
                    provider=target.spec.provider,
                    split=target.spec.split,
                    prompt=prompt,
                    calls=tuple(calls[first : start + _PIECE]),
                    operations=tuple(operations[first : start + _PIECE]),
                    answers=asked,
                )
            )
    tally.sessions += len(made)
    return made


def match(requests: Iterable[Request], target: Target, tally: Tally) -> tuple[list[Call], list[str], list[int]]:
    """The calls that are operations of the spec, the operations' keys, and the positions that may be asked for.

    A call that says the same as the one before it (a retry, a poll) is history and no answer.
    """
    calls: list[Call] = []
    operations: list[str] = []
    answers: list[int] = []
    before: Any = None
    for request in requests:
        tally.requests += 1
        call = request.call
        if not is_among(request.host, target.hosts):
            tally.other_hosts[request.host] += 1
            continue
        found = target.matcher.match(call.method, call.path, call.params)
        if found is None and call.method == "OPTIONS":
            tally.skipped["a browser's preflight (OPTIONS)"] += 1
            continue
        if found is None:
            tally.unmatched[f"{call.method} {outline(call.path)}", _why(call, target)] += 1
            continue
        key = target.catalog.operations[found.index].key
        tally.matched += 1
        tally.operations[key] += 1
        said = (found.index, call.path.rstrip("/"), call.params)
        if said != before:
            answers.append(len(calls))
        before = said
        calls.append(call)
        operations.append(key)
    return calls, operations, answers


def _why(call: Call, target: Target) -> str:
    """Why a call is no operation: the spec lacks its path, or has it with other methods."""
    found = (target.matcher.match(method, call.path, call.params) for method in _METHODS)
    methods = dict.fromkeys(target.catalog.operations[match.index].method for match in found if match is not None)
    return f"the path has {', '.join(methods)}" if methods else NO_PATH


def outline(path: str) -> str:
    """The path with `{}` for what looks like an identifier, so that like paths are counted together."""
    parts = [
        p if not p or p == "{}" or (len(p) <= 32 and _NAMED.fullmatch(_stem(p))) else "{}" for p in path.split("/")
    ]
    return "/".join(parts[:12])[:120] or "/"


def _stem(segment: str) -> str:
    return segment.replace("_", "-").partition(".")[0]
