"""The loops to compare. TensorFlow and PyTorch are imported only by the loop that needs them."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trainer.tools.benchmark.loops import Loop
    from trainer.tools.benchmark.problem import Problem


@dataclass(frozen=True)
class Case:
    """A loop to measure."""

    title: str
    make: Callable[[Problem], Loop]
    num_processes: int = 1
    as_tensorflow_comes: bool = False
    """Whether to undo the environment variables that this package sets for speed."""
    rounding: float = 1e-4
    """Largest relative difference of its first losses from those of the trainer in float32."""


def _notebook(problem: Problem) -> Loop:
    from trainer.tools.benchmark import loops

    return loops.notebook(problem)


def _one_step(problem: Problem) -> Loop:
    from trainer.tools.benchmark import loops

    return loops.one_step(problem)


def _this_trainer(problem: Problem, **settings: Any) -> Loop:
    from trainer.tools.benchmark import loops

    return loops.this_trainer(problem, **settings)


def _pytorch(problem: Problem) -> Loop:
    from trainer.tools.benchmark import pytorch

    return pytorch.loop(problem)


def _replicas(problem: Problem, count: int) -> Loop:
    from trainer.distributed import strategy

    return _this_trainer(problem, strategy=functools.partial(strategy.mirrored, virtual_cpus=count))


def _processes(problem: Problem) -> Loop:
    from trainer.distributed import strategy

    return _this_trainer(problem, strategy=strategy.multi_worker)


CASES = {
    "notebook": Case("the notebook's loop", _notebook, as_tensorflow_comes=True),
    "one_step": Case("one tf.function a step", _one_step, as_tensorflow_comes=True),
    "pytorch": Case("PyTorch, eager", _pytorch),
    "float32": Case("this trainer, float32", _this_trainer),
    "plain": Case("... without `train.kernels`", functools.partial(_this_trainer, kernels=[])),
    "eigen": Case(
        "... nor oneDNN, where TensorFlow leaves it off",
        functools.partial(_this_trainer, kernels=[]),
        as_tensorflow_comes=True,
    ),
    "xla": Case("... the step under XLA", functools.partial(_this_trainer, kernels=["xla_step"])),
    "bfloat16": Case(
        "... mixed_bfloat16",
        functools.partial(_this_trainer, precision="mixed_bfloat16"),
        rounding=0.03,
    ),
    "bfloat16_xla": Case(
        "... mixed_bfloat16 under XLA",
        functools.partial(_this_trainer, precision="mixed_bfloat16", kernels=["xla_step"]),
        rounding=0.03,
    ),
    "2_replicas": Case("... 2 virtual replicas", functools.partial(_replicas, count=2)),
    "4_replicas": Case("... 4 virtual replicas", functools.partial(_replicas, count=4)),
    "2_processes": Case("... 2 processes, half the cores each", _processes, num_processes=2),
}
BASELINE = "notebook"
REFERENCE = "float32"
