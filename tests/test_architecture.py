"""Imports point one way, and files and functions stay small."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "trainer"
MODULES = {
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__"): path
    for path in PACKAGE.rglob("*.py")
}
# From the top down: a package imports only from the floors below its own.
FLOORS = [
    ["main"],
    ["tools"],
    ["experiment"],
    ["training", "inference"],
    ["runs"],
    ["doctor", "reporting"],
    ["gan", "evaluation"],
    ["models", "data"],
    ["kernels", "distributed"],
    ["config", "rng"],
    ["files"],
    ["errors"],
]
MOST_ENTRIES = 20
MOST_MODULES = 10


def _package(module: str) -> str:
    """ "trainer.gan.replica_step" -> "gan"; "" for the package itself."""
    return module.split(".")[1] if "." in module else ""


def _imports(name: str) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(MODULES[name].read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}: relative import"
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                found.add(full if full in MODULES else node.module)
    return {module for module in found if module in MODULES}


def test_every_package_has_a_floor():
    assert sorted(package for floor in FLOORS for package in floor) == sorted(
        {_package(module) for module in MODULES} - {""}
    )


@pytest.mark.parametrize("name", sorted(set(MODULES) - {"trainer"}))
def test_imports_point_down(name):
    """The package itself, which every module may import, imports only when a name is asked for."""
    floor = {package: i for i, packages in enumerate(FLOORS) for package in packages}
    for imported in _imports(name) - {"trainer"}:
        if _package(imported) == _package(name):
            assert name not in _imports(imported), f"cycle: {name} <-> {imported}"
        else:
            assert floor[_package(imported)] > floor[_package(name)], f"{name} imports {imported}"


def test_the_listing_is_short():
    entries = {path.name for path in PACKAGE.iterdir() if path.name != "__pycache__"}
    assert len(entries) <= MOST_ENTRIES
    for directory in {path.parent for path in MODULES.values()}:
        modules = [path for path in directory.glob("*.py") if path.name != "__init__.py"]
        assert len(modules) <= MOST_MODULES, f"{directory} has {len(modules)} modules"
        assert modules or [*directory.glob("*/__init__.py")], f"{directory} is empty"


def test_the_loop_imports_nothing_of_ours():
    assert not _imports("trainer.training.loop")


def test_only_config_imports_gin():
    imports = re.compile(r"^\s*(import|from) gin\b", re.MULTILINE)
    with_gin = {name for name, path in MODULES.items() if imports.search(path.read_text())}
    assert with_gin == {"trainer.config.gin_reader", "trainer.config.registry"}


@pytest.mark.parametrize("name", sorted(MODULES))
def test_files_and_functions_are_small(name):
    source = MODULES[name].read_text()
    assert source.count("\n") <= 300
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef):
            docstring = ast.get_docstring(node, clean=False) or ""
            length = node.end_lineno - node.lineno - docstring.count("\n")
            assert length <= 60, f"{name}.{node.name} has {length} lines"


@pytest.mark.parametrize("name", sorted(MODULES))
def test_nothing_that_is_read_can_run_code(name):
    """No format that executes what it holds: TensorFlow's checkpoints, JSON, PNG and text only."""
    forbidden = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"}
    calls = {"eval", "exec", "load_model", "load_weights", "Lambda", "model_from_json"}
    if name == "trainer.inference.formats":  # it reads what it has just written, and nothing else
        calls.remove("load_model")
    for node in ast.walk(ast.parse(MODULES[name].read_text())):
        if isinstance(node, ast.Import):
            assert not forbidden & {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.module.split(".")[0] not in forbidden
        elif isinstance(node, ast.Call):
            called = getattr(node.func, "attr", getattr(node.func, "id", None))
            assert called not in calls, f"{name}:{node.lineno} calls {called}"
            assert all(keyword.arg != "allow_pickle" for keyword in node.keywords)
