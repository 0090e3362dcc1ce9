"""The choice of strategy, with TensorFlow's own errors; no GPU or TPU is at hand here."""

from __future__ import annotations

import importlib.metadata
import json

import pytest
import tensorflow as tf
from tests_support import tf_config

from trainer import strategy
from trainer.errors import TrainerError

no_gpu = pytest.mark.skipif(
    bool(tf.config.list_physical_devices("GPU")), reason="this machine has a GPU"
)


@no_gpu
def test_auto_takes_the_cpu_where_there_is_nothing_else():
    chosen = strategy.auto()
    assert isinstance(chosen, tf.distribute.OneDeviceStrategy)
    assert chosen.extended.worker_devices[0].endswith("CPU:0")


@no_gpu
def test_auto_says_so_when_an_expected_tpu_is_missing(monkeypatch, caplog):
    monkeypatch.setenv("TPU_NAME", "local")
    monkeypatch.setattr(strategy, "tpu", _no_tpu)
    with caplog.at_level("WARNING", logger="absl"):
        assert isinstance(strategy.auto(), tf.distribute.OneDeviceStrategy)
    assert "no TPU answers; looking for GPUs instead" in caplog.text


def _no_tpu():
    raise TrainerError("no TPU answers")


def test_one_device_names_the_devices_there_are():
    assert strategy.one_device(device="CPU:0").num_replicas_in_sync == 1
    with pytest.raises(TrainerError, match=r"device='GPU:7' is not on this machine; .*CPU:0"):
        strategy.one_device(device="GPU:7")


@no_gpu
def test_mirrored_without_gpus_names_both_remedies():
    with pytest.raises(TrainerError, match=r"hardware/one_device\.gin.*virtual_cpus=4"):
        strategy.mirrored()


def test_mirrored_needs_a_device():
    with pytest.raises(TrainerError, match="virtual_cpus=0 must be at least 1"):
        strategy.mirrored(virtual_cpus=0)


def test_mirrored_over_virtual_cpus():
    # As many as the test process has already: TensorFlow refuses another number afterwards.
    assert strategy.mirrored(virtual_cpus=4).num_replicas_in_sync == 4


NO_CLUSTER = [None, "", "{}", "[]", '{"cluster": {"worker": ["a:1"]}}']
NO_CLUSTER += [tf_config(["a:1"], 1), tf_config(["a:1"], 0, "chief")]  # of a task that is not in it
NO_CLUSTER += [tf_config({"worker": ["a:1"], "ps": ["b:1"]}, 0)]


@pytest.mark.parametrize("value", NO_CLUSTER)
def test_multi_worker_without_a_cluster_shows_one(monkeypatch, value):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    if value is not None:
        monkeypatch.setenv("TF_CONFIG", value)
    with pytest.raises(TrainerError, match=r'needs a cluster: TF_CONFIG .*"worker"') as caught:
        strategy.multi_worker()
    example = str(caught.value).split("such as '")[1].split("', or")[0]
    assert json.loads(example)["task"]["index"] == 0


def test_a_missing_tpu_is_one_line():
    # Off a TPU, TensorFlow raises ValueError ("Please provide a TPU Name") or, on a CPU build
    # with tpu="local", NotFoundError ("ConfigureDistributedTPU"): this is the latter.
    with pytest.raises(TrainerError, match=r"tpu\.name='local' .*hardware/auto\.gin") as caught:
        strategy.tpu(name="local")
    assert isinstance(caught.value.__cause__, tf.errors.NotFoundError)
    assert "\n" not in str(caught.value)


def test_a_nameless_tpu_is_one_line(monkeypatch):
    monkeypatch.delenv("TPU_NAME", raising=False)
    with pytest.raises(TrainerError, match=r"tpu\.name='' .*Please provide a TPU Name"):
        strategy.tpu(name="")


def test_a_tpu_is_expected_where_its_tensorflow_or_its_name_is(monkeypatch):
    monkeypatch.delenv("TPU_NAME", raising=False)
    installed = {d.metadata["Name"] for d in importlib.metadata.distributions()}
    assert strategy._tpu_expected() == ("tensorflow-tpu" in installed)
    monkeypatch.setenv("TPU_NAME", "my-tpu")
    assert strategy._tpu_expected()


def test_a_single_process_is_its_own_chief(make_strategy):
    assert strategy.is_chief(make_strategy(1))
    assert strategy.is_chief(make_strategy(4))
