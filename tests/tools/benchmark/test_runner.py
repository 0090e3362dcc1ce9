from __future__ import annotations

import importlib.util
import json

import numpy as np
import pytest
from PIL import Image

from trainer.errors import TrainerError
from trainer.tools.benchmark import cases, problem, report, runner

pytestmark = pytest.mark.slow

# One of each kind. The runner itself refuses any loop that computes another step.
NAMES = ["notebook", "one_step", "float32", "bfloat16_xla", "2_replicas", "2_processes"]


@pytest.fixture(scope="module")
def work(make_strategy):
    def make(images, batch_size):
        return problem.trainer(images, batch_size, strategy=make_strategy(1))

    return problem.problem(8, make, num_images=64)


@pytest.fixture(scope="module")
def results(work):
    return runner.run(work, NAMES, rounds=2, seconds=0.01, report=lambda line: None)


def test_all_loops_compute_the_same_step(results):
    """The notebook's, TensorFlow's, and the trainer's on one device, replicas and processes."""
    assert [*results] == NAMES
    expected = results["float32"].losses
    for name, result in results.items():
        rounding = cases.CASES[name].rounding
        np.testing.assert_allclose(result.losses, expected, rtol=rounding, err_msg=name)
        assert len(result.seconds_per_step) == 2 and min(result.seconds_per_step) > 0
        assert result.peak_bytes > 1e8


@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="needs PyTorch")
def test_pytorch_computes_the_same_step(work):
    found = runner.run(
        work, ["float32", "pytorch"], rounds=1, seconds=0.01, report=lambda line: None
    )
    np.testing.assert_allclose(found["pytorch"].losses, found["float32"].losses, rtol=1e-4)


def test_another_step_is_refused(work):
    """A loop that begins elsewhere than the others is not compared with them."""
    results = {"float32": runner.Result([0.7, 0.7]), "notebook": runner.Result([0.7, 0.701])}
    with pytest.raises(TrainerError, match="the notebook's loop does not compute the same step"):
        runner.check_losses(results)


def test_a_loop_that_fails_is_named(work):
    broken = work._replace(weights=work.weights[:3])
    with pytest.raises(TrainerError, match=r"the notebook's loop failed: .*weights"):
        runner.run(broken, ["notebook"], rounds=1, seconds=0.01)


def test_report(results, tmp_path):
    kernel_times = {"float32": [0.5 * seconds for seconds in results["float32"].seconds_per_step]}
    figures = report.summary(results, kernel_times, 8, "python scripts/benchmark.py")
    loops = json.loads(json.dumps(figures))["loops"]
    assert loops["notebook"]["ratio_to_notebook"]["median"] == 1
    assert loops["float32"]["kernel_share"]["median"] == pytest.approx(0.5)
    rate = loops["one_step"]["images_per_second"]
    assert rate["quartile_1"] <= rate["median"] <= rate["quartile_3"]
    table = report.as_markdown(figures)
    assert "| this trainer, float32 |" in table
    assert table.count("\n") == 2 + len(NAMES) + 1
    report.chart(figures, str(tmp_path / "chart.png"))
    assert Image.open(tmp_path / "chart.png").size[0] > 500
