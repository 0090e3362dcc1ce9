"""The choice of strategy, with TensorFlow's own errors and without a GPU or TPU."""

from __future__ import annotations

import http.server
import importlib.metadata
import importlib.util
import json
import subprocess
import sys
import threading
import time

import pytest
import tensorflow as tf

from trainer.distributed import strategy
from trainer.distributed.cluster import free_ports, tf_config
from trainer.errors import NO_PEER, TrainerError

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
    monkeypatch.delenv("TPU_NAME", raising=False)
    monkeypatch.setenv("TPU_ACCELERATOR_TYPE", "v5e-1")  # as in Colab, here without the TPU
    with caplog.at_level("WARNING", logger="absl"):
        assert isinstance(strategy.auto(), tf.distribute.OneDeviceStrategy)
    assert "no TPU answers to tpu.name='local'" in caplog.text
    assert "looking for GPUs instead" in caplog.text


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
    # The number that the test process already has: TensorFlow refuses another one.
    assert strategy.mirrored(virtual_cpus=4).num_replicas_in_sync == 4


NO_CLUSTER = [
    *(None, "", "{}", "[]", '{"cluster": {"worker": ["a:1"]}}'),
    tf_config(["a:1"], 1),  # tasks that are not in their cluster
    '{"cluster": {"worker": ["a:1"]}, "task": {"type": "chief", "index": 0}}',
    '{"cluster": {"worker": ["a:1"], "ps": ["b:1"]}, "task": {"type": "worker", "index": 0}}',
]


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


@pytest.fixture
def metadata(monkeypatch):
    """Google's metadata server on loopback, which knows only a project and a zone."""
    answers = {"project/project-id": b"p", "instance/zone": b"projects/1/zones/us-central2-b"}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            content = answers.get(self.path.removeprefix("/computeMetadata/v1/"))
            self.send_response(404 if content is None else 200)
            self.end_headers()
            self.wfile.write(content or b"")

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("GCE_METADATA_HOST", f"127.0.0.1:{server.server_port}")
        yield
        server.shutdown()


def test_a_named_tpu_off_google_cloud_is_one_line(monkeypatch):
    monkeypatch.setenv("GCE_METADATA_HOST", f"127.0.0.1:{free_ports(1)[0]}")
    message = (
        r"tpu\.name='my-tpu' \(URLError: .*refused.*\): run on a Google Cloud VM .*grpc://HOST"
    )
    with pytest.raises(TrainerError, match=message):
        strategy.tpu(name="my-tpu")


@pytest.mark.skipif(
    importlib.util.find_spec("googleapiclient") is not None, reason="googleapiclient is installed"
)
def test_a_named_tpu_without_googles_libraries_is_one_line(metadata):
    message = r"\(RuntimeError: Missing runtime dependency .*pip install google-api-python-client"
    with pytest.raises(TrainerError, match=message):
        strategy.tpu(name="my-tpu")


def test_an_address_that_does_not_answer_ends_the_process_with_a_line():
    # TensorFlow alone was seen to wait for five minutes, deaf to Ctrl-C.
    name = f"grpc://127.0.0.1:{free_ports(1)[0]}"
    code = """
import sys
from trainer.distributed import strategy
print("begin", flush=True)
strategy.tpu(name=sys.argv[1], timeout=1)
"""
    process = subprocess.Popen(
        [sys.executable, "-c", code, name],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout.readline() == "begin\n"
        started = time.monotonic()
        _, log = process.communicate(timeout=15)  # and not 20 seconds more than it says
    finally:
        process.kill()
    assert time.monotonic() - started >= 1
    assert process.returncode == NO_PEER
    line = log.splitlines()[-1]
    assert line.startswith(f"error: tpu.name='{name}' did not answer within tpu.timeout=1 seconds")


@no_gpu
def test_auto_asks_for_the_tpu_that_the_environment_names(monkeypatch, metadata, caplog):
    monkeypatch.setenv("TPU_NAME", "my-tpu")
    with caplog.at_level("WARNING", logger="absl"):
        assert isinstance(strategy.auto(), tf.distribute.OneDeviceStrategy)
    assert "no TPU answers to tpu.name='my-tpu'" in caplog.text
    assert "looking for GPUs instead" in caplog.text


def test_a_tpu_elsewhere_wants_a_model_dir_that_it_sees():
    resolver = tf.distribute.cluster_resolver.TPUClusterResolver
    here, there = resolver(tpu="local"), resolver(tpu="grpc://10.0.0.2:8470")
    for allowed, model_dir in ((None, "runs/a"), (here, "runs/a"), (there, "gs://bucket/a")):
        strategy.check_model_dir(allowed, model_dir)
    message = r"--model_dir=runs/a .* TPU at grpc://10\.0\.0\.2:8470 .* --model_dir=gs://"
    with pytest.raises(TrainerError, match=message):
        strategy.check_model_dir(there, "runs/a")


def test_a_tpu_is_expected_where_its_tensorflow_or_its_name_is(monkeypatch):
    monkeypatch.delenv("TPU_NAME", raising=False)
    monkeypatch.delenv("TPU_ACCELERATOR_TYPE", raising=False)
    installed = {d.metadata["Name"] for d in importlib.metadata.distributions()}
    assert strategy._tpu_expected() == ("tensorflow-tpu" in installed)
    for name, value in (("TPU_NAME", "my-tpu"), ("TPU_ACCELERATOR_TYPE", "v5e-1")):
        with monkeypatch.context() as context:
            context.setenv(name, value)
            assert strategy._tpu_expected()
