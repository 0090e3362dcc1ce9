"""Imports point one way, and files and functions stay small."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "trainer"
MODULES = {
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__"): path
    for path in PACKAGE.rglob("*.py")
}
ROOMS = ("trainer.data.", "trainer.models.", "trainer.evaluation.metrics.")
# From the top down: a module imports only from rows below its own.
LAYERS = [
    {"trainer.main"},
    {"trainer.experiment"},
    {"trainer.training.train"},
    {name for name in MODULES if name.startswith("trainer.tools.explorer.")},
    {"trainer.runs.evaluate", "trainer.inference.generate", "trainer.inference.export"},
    {"trainer.training.rollback"},
    {"trainer.runs.run"},
    {
        name
        for name in MODULES
        if name.startswith(("trainer.tools.tpu_check.", "trainer.tools.benchmark."))
    },
    {"trainer.doctor.doctor"},
    {"trainer.gan.trainer", "trainer.training.callbacks", "trainer.evaluation.evaluator"},
    {"trainer.gan.step"},
    {"trainer.gan.replay"},
    {"trainer.gan.networks"},
    {
        name
        for name in MODULES
        if name.startswith(("trainer.evaluation.features.", "trainer.reporting.templates."))
    },
    {"trainer.tools.compare.compare"},
    {
        "trainer.config",
        "trainer.distributed.strategy",
        "trainer.runs.checkpoints",
        "trainer.reporting.tensorboard",
    }
    | {"trainer.inference.formats", "trainer.reporting.hparams", "trainer.distributed.multihost"},
    {
        "trainer.runs.compatibility",
        "trainer.runs.lock",
        "trainer.gan.losses",
        "trainer.gan.optimizers",
        "trainer.training.loop",
    }
    | {
        "trainer.evaluation.card",
        "trainer.gan.penalties",
        "trainer.gan.ema",
        "trainer.gan.precision",
    }
    | {"trainer.gan.augment", "trainer.doctor.rules", "trainer.doctor.state"},
    {"trainer.gan.schedules", "trainer.inference.latents", "trainer.command_line"},
    {name for name in MODULES if name.startswith(ROOMS)},
    {name for name in MODULES if name.startswith("trainer.kernels.selection.")},
    {"trainer.kernels.selection"},
    {"trainer.rng", "trainer.files", *(room.removesuffix(".") for room in ROOMS)}
    | {
        "trainer.evaluation.features",
        "trainer.reporting.templates",
        "trainer.tools.tpu_check",
        "trainer.tools.benchmark",
    }
    | {"trainer.tools.explorer"},
    {"trainer.errors", "trainer.distributed.cluster", "trainer.kernels.cpu"},
    {"trainer"},
]


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


def test_every_module_has_a_layer():
    assert set().union(*LAYERS) == set(MODULES)


@pytest.mark.parametrize("name", sorted(MODULES))
def test_imports_point_down(name):
    rank = {module: i for i, layer in enumerate(LAYERS) for module in layer}
    same_room = name.rsplit(".", 1)[0] if name.count(".") == 2 else None
    for imported in _imports(name):
        if same_room and imported.startswith(f"{same_room}."):
            assert name not in _imports(imported), f"cycle: {name} <-> {imported}"
        else:
            assert rank[imported] > rank[name], f"{name} imports {imported}"


def test_the_loop_imports_nothing_of_ours():
    assert not _imports("trainer.training.loop")


def test_only_config_imports_gin():
    with_gin = {
        name for name, path in MODULES.items() if "import gin" in path.read_text().splitlines()
    }
    assert with_gin == {"trainer.config"}


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
