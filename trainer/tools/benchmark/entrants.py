"""The loops that take part. Imports TensorFlow and PyTorch only within the loop that is chosen."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trainer.tools.benchmark.loops import Loop
    from trainer.tools.benchmark.problem import Problem


@dataclass(frozen=True)
class Entrant:
    """A loop that takes part."""

    title: str
    make: Callable[[Problem], Loop]
    num_processes: int = 1
    as_tensorflow_comes: bool = False
    """Whether without the environment variables that this package sets."""
    rounding: float = 1e-4
    """By how much its first losses may differ from the trainer's in float32, relatively."""


def _notebook(problem: Problem) -> Loop:
    from trainer.tools.benchmark import loops

    return loops.notebook(problem)


def _one_step(problem: Problem) -> Loop:
    from trainer.tools.benchmark import loops

    return loops.one_step(problem)


def _ours(problem: Problem, **settings: Any) -> Loop:
    from trainer.tools.benchmark import loops

    return loops.ours(problem, **settings)


def _pytorch(problem: Problem) -> Loop:
    from trainer.tools.benchmark import pytorch

    return pytorch.loop(problem)


def _replicas(problem: Problem, count: int) -> Loop:
    from trainer.distributed import strategy

    return _ours(problem, strategy=functools.partial(strategy.mirrored, virtual_cpus=count))


def _processes(problem: Problem) -> Loop:
    from trainer.distributed import strategy

    return _ours(problem, strategy=strategy.multi_worker)


ENTRANTS = {
    "notebook": Entrant("the notebook's loop", _notebook, as_tensorflow_comes=True),
    "one_step": Entrant("one tf.function a step", _one_step, as_tensorflow_comes=True),
    "pytorch": Entrant("PyTorch, eager", _pytorch),
    "float32": Entrant("this trainer, float32", _ours),
    "plain": Entrant("... without `train.kernels`", functools.partial(_ours, kernels=[])),
    "eigen": Entrant(
        "... nor oneDNN, where TensorFlow leaves it off",
        functools.partial(_ours, kernels=[]),
        as_tensorflow_comes=True,
    ),
    "xla": Entrant("... the step under XLA", functools.partial(_ours, kernels=["xla_step"])),
    "bfloat16": Entrant(
        "... mixed_bfloat16", functools.partial(_ours, precision="mixed_bfloat16"), rounding=0.03
    ),
    "bfloat16_xla": Entrant(
        "... mixed_bfloat16 under XLA",
        functools.partial(_ours, precision="mixed_bfloat16", kernels=["xla_step"]),
        rounding=0.03,
    ),
    "2_replicas": Entrant("... 2 virtual replicas", functools.partial(_replicas, count=2)),
    "4_replicas": Entrant("... 4 virtual replicas", functools.partial(_replicas, count=4)),
    "2_processes": Entrant("... 2 processes, half the cores each", _processes, num_processes=2),
}
BASELINE = "notebook"
REFERENCE = "float32"
