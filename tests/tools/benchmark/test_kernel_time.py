from __future__ import annotations

import collections

import numpy as np

from trainer.tools.benchmark import kernel_time, problem

IMAGES = np.zeros([64, 28, 28, 1], np.uint8)


def test_the_kernels_of_the_tutorials_step(make_strategy, monkeypatch):
    """Counted by hand: what the optimised graph computes, and nothing that it leaves out."""
    seen = collections.Counter()
    alone = kernel_time._alone

    def count(operation):
        seen[operation.type] += 1
        return alone(operation)

    monkeypatch.setattr(kernel_time, "_alone", count)
    trainer = problem.trainer(IMAGES, 8, strategy=make_strategy(1), kernels=[])
    kernel_time.KernelTime(trainer)
    assert seen == {
        # Forward: the generator's dense layer twice, the discriminator's twice. Backward: kernel
        # and input of the discriminator's in phase 1, its input in phase 2, the generator's kernel.
        "MatMul": 4 + 2 + 1 + 1,
        # The discriminator's two layers in both phases; the generator's input gradients, twice.
        "Conv2D": 4 + 2,
        # The generator's two layers in both phases, and the input gradients of the discriminator:
        # of the second layer in phase 1, of both in phase 2.
        "Conv2DBackpropInput": 4 + 1 + 2,
        # The discriminator's two layers in phase 1, the generator's in phase 2.
        "Conv2DBackpropFilter": 2 + 2,
    }


def test_each_kernel_takes_time(make_strategy):
    # A batch that takes far longer than the empty call which is subtracted, on a busy machine too.
    trainer = problem.trainer(IMAGES, 64, strategy=make_strategy(1))
    measured = kernel_time.KernelTime(trainer)
    for _ in range(2):
        measured.measure(repeats=5)
    assert len(measured.seconds_per_step) == 2
    assert all(0 < seconds < 10 for seconds in measured.seconds_per_step)
