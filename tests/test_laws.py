"""The laws of the house: who may import whom, and what stays out of the plain pipeline."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
WINGS = ("catalog", "candidates", "ranking", "stores", "guardrails")
GROUND = ("types", "errors", "settings", "access", "prices", "breaker", "keynames")
HEAVY = ("ray", "fastapi", "vllm", "mlflow", "torch", "sentence_transformers")


def _modules(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def _imports(path: Path) -> set[str]:
    """Dotted names a file imports, wherever in the file."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: relative import"
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def _top_level_imports(path: Path) -> set[str]:
    names = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.split(".")[0])
    return names


def test_importing_all_of_pipeline_loads_nothing_heavy():
    names = [
        ".".join(p.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for p in _modules("pipeline")
    ]
    code = f"import sys, importlib\nfor n in {names!r}: importlib.import_module(n)\n"
    code += f"print([h for h in {HEAVY!r} if h in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("path", _modules("pipeline"), ids=lambda p: str(p.relative_to(ROOT)))
def test_pipeline_imports_neither_the_roof_nor_another_wing(path: Path):
    imports = _imports(path)
    assert not [
        name for name in imports if name.split(".")[0] in ("serve", "train", "loadtest", "ray", "fastapi", "vllm")
    ]
    mlflow = [name for name in imports if name.split(".")[0] == "mlflow"]
    assert not mlflow or path == ROOT / "pipeline" / "stores" / "registry.py"
    room = path.relative_to(ROOT / "pipeline").with_suffix("").parts[0]
    ours = {name.split(".")[1] for name in imports if name.startswith("pipeline.")}
    if room in WINGS:
        assert not ours - {room} - set(GROUND), f"{path} reaches into another wing"
    if room in GROUND:
        assert not ours - set(GROUND)


@pytest.mark.parametrize("roof", ["serve", "train"])
def test_serve_and_train_never_import_each_other(roof: str):
    other = {"serve": "train", "train": "serve"}[roof]
    for path in _modules(roof):
        named = {name.split(".")[0] for name in _imports(path) if name.startswith(f"{other}.")}
        if roof == "serve" and path.name == "cli.py":
            continue  # the command line offers what both do
        assert not named, f"{path} imports {other}"


def test_mlflow_is_imported_in_one_place_and_only_when_it_is_needed():
    for package in ("pipeline", "serve", "train"):
        for path in _modules(package):
            named = "mlflow" in {name.split(".")[0] for name in _imports(path)}
            assert not named or path == ROOT / "pipeline" / "stores" / "registry.py"
            assert "mlflow" not in _top_level_imports(path)
    code = "import sys, serve.graph, serve.cli, train.retrain\nprint('mlflow' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "False"


def test_only_settings_reads_the_environment():
    for package in ("pipeline", "serve", "train"):
        for path in _modules(package):
            if path == ROOT / "pipeline" / "settings.py":
                continue
            for node in ast.walk(ast.parse(path.read_text())):
                reads = (
                    isinstance(node, ast.Call)
                    and ast.unparse(node.func) in ("os.getenv", "os.environ.get", "environ.get")
                ) or (
                    isinstance(node, ast.Subscript)
                    and ast.unparse(node.value) == "os.environ"
                    and isinstance(node.ctx, ast.Load)
                )
                assert not reads, f"{path}:{node.lineno} reads the environment"


def test_exceptions_are_declared_in_one_place():
    for package in ("pipeline", "serve", "train"):
        for path in _modules(package):
            if path.name == "errors.py":
                continue
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.ClassDef):
                    bases = {ast.unparse(base) for base in node.bases}
                    assert not any(b.endswith(("Error", "Exception")) for b in bases), (
                        f"{path}:{node.lineno} {node.name}"
                    )


def test_every_error_survives_the_trip_between_processes():
    import pickle

    from pipeline import errors

    kinds = [k for k in vars(errors).values() if isinstance(k, type) and issubclass(k, errors.OpenSesameError)]
    assert len(kinds) > 15
    for kind in kinds:
        error = kind("what to mend")
        copy = pickle.loads(pickle.dumps(error))
        assert type(copy) is kind
        assert vars(copy) == vars(error)
    assert len({kind.slug for kind in kinds}) == len(kinds)


def test_the_client_knows_nothing_of_the_service():
    for path in _modules("opensesame_client"):
        named = {name.split(".")[0] for name in _imports(path)} - sys.stdlib_module_names
        assert named <= {"opensesame_client", "httpx2", "anyio"}, f"{path} imports {named}"


def test_no_file_outgrows_its_subject():
    long = {
        str(p.relative_to(ROOT)): n
        for package in ("pipeline", "serve", "train", "opensesame_client")
        for p in _modules(package)
        if (n := len(p.read_text().splitlines())) > 450
    }
    assert not long
