"""Kubernetes' schemas, read as strictly as they can be: what the API server would prune in silence is an error here.

Core kinds come from the package kubernetes-validate, by version of Kubernetes. Custom kinds come from the files of
their CustomResourceDefinitions in `CRDS`, in the server's order: nulls pruned, defaults filled in, validated; with
the uniqueness of list keys, and the CEL rules that look at one state only.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import yaml

from tests.conftest import ROOT

CRDS = ROOT.parent / "shared" / "k8s-crds"
VERSIONS = ("1.30", "1.32", "1.34", "1.37")
_CUSTOM = (".x-k8s.io", ".coreos.com", "ray.io", "gateway.networking.k8s.io")


def is_custom(doc: dict[str, Any]) -> bool:
    return doc["apiVersion"].split("/")[0].endswith(_CUSTOM)


def core_problems(doc: dict[str, Any], version: str) -> list[str]:
    """What Kubernetes `version` would not take of a document of its own kinds; an unknown field counts."""
    import kubernetes_validate

    try:
        kubernetes_validate.validate(doc, version, strict=True)
    except kubernetes_validate.ValidationError as error:
        return [f"{doc['kind']}: {'/'.join(map(str, error.path))}: {error.message[:200]}"]
    return []


def custom_problems(doc: dict[str, Any]) -> list[str]:
    """What the API server with the CRDs would not take of a document of a custom kind, and what it would drop."""
    validator = _validators().get((doc["apiVersion"], doc["kind"]))
    if validator is None:
        return [f"{doc['apiVersion']} {doc['kind']}: there is no such kind"]
    filled = _fill(copy.deepcopy(doc), validator.schema)
    return [
        f"{doc['kind']}: {'/'.join(map(str, e.absolute_path))}: {e.message[:200]}"
        for e in validator.iter_errors(filled)
    ]


@functools.cache
def _validators() -> dict[tuple[str, str], Any]:
    kind = jsonschema.validators.extend(
        jsonschema.Draft202012Validator, {"x-unique-by": _unique_by, "x-cel": _cel}
    )  # fmt: skip
    found = {}
    for path in sorted(CRDS.glob("*.yaml")):
        crd = yaml.load(path.read_bytes(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        for version in crd["spec"]["versions"]:
            if version["served"]:
                schema = _strict(version["schema"]["openAPIV3Schema"], top=True)
                schema["required"] = sorted({*schema.get("required", ()), "apiVersion", "kind", "metadata"})
                schema["additionalProperties"] = False
                group, names = crd["spec"]["group"], crd["spec"]["names"]
                found[f"{group}/{version['name']}", names["kind"]] = kind(schema)
    return found


def _strict(schema: Any, top: bool = False) -> Any:
    """The JSON Schema of a structural schema; an object takes no field that it does not list."""
    if not isinstance(schema, dict):
        return schema
    made = dict(schema)
    if made.pop("x-kubernetes-int-or-string", False):
        made.pop("anyOf", None)
        made["type"] = ["integer", "string"]
    preserve = made.pop("x-kubernetes-preserve-unknown-fields", False)
    made.pop("x-kubernetes-embedded-resource", None)
    made.pop("x-kubernetes-map-type", None)
    if rules := made.pop("x-kubernetes-validations", None):
        made["x-cel"] = rules
    keys = made.pop("x-kubernetes-list-map-keys", None)
    match made.pop("x-kubernetes-list-type", None):
        case "map":
            made["x-unique-by"] = keys
        case "set":
            made["uniqueItems"] = True
    if made.pop("nullable", False) and "type" in made:
        made["type"] = [made["type"], "null"]
    if made.get("format") in ("int32", "int64", "double", "float"):
        del made["format"]
    if "properties" in made:
        made["properties"] = {name: _strict(inner) for name, inner in made["properties"].items()}
        if not preserve and not top:
            made.setdefault("additionalProperties", False)
    elif isinstance(made.get("additionalProperties"), dict):
        made["additionalProperties"] = _strict(made["additionalProperties"])
    if "items" in made:
        made["items"] = _strict(made["items"])
    for word in ("allOf", "anyOf", "oneOf"):
        if word in made:
            made[word] = [_strict(inner, top=True) for inner in made[word]]
    return made


def _fill(value: Any, schema: dict[str, Any]) -> Any:
    """Nulls that may not be go, defaults come: what the server does before it validates."""
    if isinstance(value, dict):
        known = schema.get("properties", {})
        for name in [
            n for n, v in value.items() if v is None and n in known and "null" not in known[n].get("type", ())
        ]:
            del value[name]
        for name, inner in known.items():
            if name not in value and "default" in inner:
                value[name] = copy.deepcopy(inner["default"])
            if name in value:
                _fill(value[name], inner)
        if isinstance(schema.get("additionalProperties"), dict):
            for inner in value.values():
                _fill(inner, schema["additionalProperties"])
    elif isinstance(value, list) and isinstance(schema.get("items"), dict):
        for item in value:
            _fill(item, schema["items"])
    return value


def _unique_by(validator: Any, keys: list[str], items: Any, schema: dict[str, Any]) -> Iterator[Any]:
    seen = set()
    properties = schema.get("items", {}).get("properties", {})
    for item in items if isinstance(items, list) else ():
        key = tuple(item.get(k, properties.get(k, {}).get("default")) for k in keys)
        if key in seen:
            yield jsonschema.ValidationError(f"two items have {dict(zip(keys, key, strict=True))}")
        seen.add(key)


@functools.cache
def _program(rule: str) -> Any:
    import celpy

    environment = celpy.Environment()
    return environment.program(environment.compile(rule))


def _cel(validator: Any, rules: list[dict[str, str]], value: Any, schema: dict[str, Any]) -> Iterator[Any]:
    import celpy

    for rule in rules:
        if "oldSelf" in rule["rule"]:  # holds between two states: a document is one
            continue
        try:
            holds = _program(rule["rule"]).evaluate({"self": celpy.json_to_cel(value)})
        except celpy.CELEvalError as error:
            yield jsonschema.ValidationError(f"CEL: {rule['rule']}: {error}")
            continue
        if not holds:
            yield jsonschema.ValidationError(rule.get("message") or rule["rule"])


def crds_are_there(folder: Path = CRDS) -> bool:
    return any(folder.glob("ray.io_*.yaml"))
