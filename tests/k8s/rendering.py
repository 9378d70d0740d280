"""What kustomize makes of our overlays: by `kubectl kustomize` where there is one, and by the part of it that we use.

`render` needs no program: resources, components, generated ConfigMaps with the hash of their content in their name,
patches (JSON 6902, JSON merge), the namespace. test_rendering.py compares the two where kubectl is installed.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from tests.conftest import ROOT

K8S = ROOT / "k8s"
OVERLAYS = sorted(path.name for path in (K8S / "overlays").iterdir() if path.is_dir())
KUBECTL = shutil.which("kubectl")
CLUSTER_WIDE = ("Namespace",)
_KNOWN = (
    {"apiVersion", "kind", "namespace", "resources", "components"}
    | {"configurations", "configMapGenerator", "patches"}
)  # fmt: skip
_HASH_LETTERS = str.maketrans("013ae", "ghkmt")  # sigs.k8s.io/kustomize/api/hasher: no vowels, no look-alikes

Doc = dict[str, Any]


def load_all(text: str) -> list[Doc]:
    """The documents of a text; what an anchor shares is copied, so that a patch changes one place."""
    loaded = yaml.load_all(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    return [json.loads(json.dumps(doc)) for doc in loaded if doc]


def by_kubectl(overlay: Path) -> list[Doc]:
    assert KUBECTL is not None
    done = subprocess.run([KUBECTL, "kustomize", str(overlay)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return load_all(done.stdout)


def render(overlay: Path) -> list[Doc]:
    """The documents of an overlay, in no particular order."""
    docs: list[Doc] = []
    hashed: list[str] = []
    references: list[tuple[str, list[str]]] = []
    _apply(overlay, docs, hashed, references)
    for name in hashed:
        new = f"{name}-{_hash(_one(docs, 'ConfigMap', name))}"
        _one(docs, "ConfigMap", name)["metadata"]["name"] = new
        for doc in docs:
            for holder in _references(doc, references):
                if holder.get("name") == name:
                    holder["name"] = new
    return docs


def named(docs: list[Doc], kind: str, name: str) -> Doc:
    return _one(docs, kind, name)


def _apply(folder: Path, docs: list[Doc], hashed: list[str], references: list[tuple[str, list[str]]]) -> None:
    rules = yaml.safe_load((folder / "kustomization.yaml").read_text())
    assert set(rules) <= _KNOWN, f"{folder} uses {set(rules) - _KNOWN}, which this renderer does not know"
    for entry in rules.get("resources", ()):
        path = folder / entry
        if path.is_dir():
            _apply(path, docs, hashed, references)
        else:
            docs += load_all(path.read_text())
    for entry in rules.get("components", ()):
        _apply(folder / entry, docs, hashed, references)
    for entry in rules.get("configurations", ()):
        for reference in yaml.safe_load((folder / entry).read_text())["nameReference"]:
            references += [(spec["kind"], spec["path"].split("/")) for spec in reference["fieldSpecs"]]
    for generator in rules.get("configMapGenerator", ()):
        options = generator.get("options", {})
        metadata = {"name": generator["name"]} | ({"labels": options["labels"]} if "labels" in options else {})
        data = {Path(file).name: (folder / file).read_text() for file in generator["files"]}
        docs.append({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data})
        if not options.get("disableNameSuffixHash"):
            hashed.append(generator["name"])
    for patch in rules.get("patches", ()):
        text = patch["patch"] if "patch" in patch else (folder / patch["path"]).read_text()
        _patch(docs, yaml.safe_load(text), patch.get("target"))
    if "namespace" in rules:
        for doc in docs:
            if doc["kind"] not in CLUSTER_WIDE:
                doc["metadata"]["namespace"] = rules["namespace"]


def _patch(docs: list[Doc], patch: Any, target: dict[str, str] | None) -> None:
    if isinstance(patch, list):
        assert target is not None
        doc = _one(docs, target["kind"], target["name"])
        for operation in patch:
            _operate(doc, operation)
    else:
        _merge(_one(docs, patch["kind"], patch["metadata"]["name"]), patch)


def _operate(doc: Doc, operation: dict[str, Any]) -> None:
    """One operation of RFC 6902."""
    *parents, last = [part.replace("~1", "/").replace("~0", "~") for part in operation["path"].split("/")[1:]]
    holder: Any = doc
    for part in parents:
        holder = holder[int(part)] if isinstance(holder, list) else holder[part]
    if isinstance(holder, list):
        if operation["op"] == "add":
            holder.insert(len(holder) if last == "-" else int(last), operation["value"])
        else:
            assert operation["op"] == "replace"
            holder[int(last)] = operation["value"]
        return
    assert operation["op"] in ("add", "replace")
    assert operation["op"] == "add" or last in holder, f"{operation['path']} replaces what is not there"
    holder[last] = operation["value"]


def _merge(doc: Doc, patch: Doc) -> None:
    """RFC 7396."""
    for key, value in patch.items():
        if value is None:
            doc.pop(key, None)
        elif isinstance(value, dict) and isinstance(doc.get(key), dict):
            _merge(doc[key], value)
        else:
            doc[key] = value


def _references(doc: Doc, configured: list[tuple[str, list[str]]]) -> Iterator[Doc]:
    """What may name a ConfigMap: volumes of the kinds that kustomize knows, and the configured fields of others."""
    if "." in doc["apiVersion"].split("/")[0] and not doc["apiVersion"].startswith(("networking.k8s.io", "policy")):
        for kind, path in configured:
            if doc["kind"] == kind:
                yield from _at(doc, path[:-1])
    else:
        yield from _volumes(doc)


def _at(value: Any, path: list[str]) -> Iterator[Doc]:
    if isinstance(value, list):
        for item in value:
            yield from _at(item, path)
    elif not path:
        yield value
    elif isinstance(value, dict) and path[0] in value:
        yield from _at(value[path[0]], path[1:])


def _volumes(value: Any) -> Iterator[Doc]:
    if isinstance(value, list):
        for item in value:
            yield from _volumes(item)
    elif isinstance(value, dict):
        for key, inner in value.items():
            if key in ("configMap", "configMapKeyRef", "configMapRef") and isinstance(inner, dict):
                yield inner
            yield from _volumes(inner)


def _hash(doc: Doc) -> str:
    text = json.dumps(
        {"data": doc["data"], "kind": "ConfigMap", "name": ""},  # kustomize looks the name up where it is not
        sort_keys=True,
        separators=(",", ":"),
        ensure_ascii=False,
    )
    for plain, escaped in (("<", "\\u003c"), (">", "\\u003e"), ("&", "\\u0026")):  # as Go's encoder writes them
        text = text.replace(plain, escaped)
    return hashlib.sha256(text.encode()).hexdigest()[:10].translate(_HASH_LETTERS)


def _one(docs: list[Doc], kind: str, name: str) -> Doc:
    found = [doc for doc in docs if doc["kind"] == kind and doc["metadata"]["name"] == name]
    assert len(found) == 1, f"{len(found)} documents are {kind} {name}"
    return found[0]
