"""Where to train: a function for each tf.distribute strategy; `hardware/*.gin` chooses one.

A process calls one of them once, before anything else uses TensorFlow's devices.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib.metadata
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator

import tensorflow as tf
from absl import logging

from trainer.config.registry import configurable
from trainer.errors import NO_PEER, LostPeerError, TrainerError, first_line


@configurable
def auto() -> tf.distribute.Strategy:
    """The default: the TPU if this machine has one, else all its GPUs, else the CPU."""
    if _tpu_expected():
        try:
            return tpu(name=os.environ.get("TPU_NAME") or "local")
        except TrainerError as error:
            logging.warning("%s; looking for GPUs instead", error)
    gpus = tf.config.list_physical_devices("GPU")
    if len(gpus) > 1:
        return mirrored()
    return one_device()


@configurable
def one_device(*, device: str | None = None) -> tf.distribute.Strategy:
    """One device.

    Args:
      device: Its name, such as "GPU:1". Default: the first GPU, or the CPU if there is no GPU.

    Raises:
      TrainerError: if this machine has no such device.
    """
    if device is None:
        device = "GPU:0" if tf.config.list_physical_devices("GPU") else "CPU:0"
    known = [d.name.removeprefix("/physical_device:") for d in tf.config.list_physical_devices()]
    if device not in known:
        raise TrainerError(
            f"one_device.device='{device}' is not on this machine; choose from {', '.join(known)}"
        )
    return tf.distribute.OneDeviceStrategy(device)


@configurable
def mirrored(*, virtual_cpus: int | None = None) -> tf.distribute.Strategy:
    """All GPUs of this machine or, for development, several virtual devices on its CPU.

    Args:
      virtual_cpus: Number of virtual CPU devices, at least 1. Default: use the GPUs.

    Raises:
      TrainerError: if there is no GPU, or virtual_cpus is too small.
    """
    if virtual_cpus is None:
        if not tf.config.list_physical_devices("GPU"):
            raise TrainerError(
                "strategy.mirrored found no GPU; use hardware/one_device.gin, or try replicas on "
                'the CPU with --gin_param="mirrored.virtual_cpus=4"'
            )
        return tf.distribute.MirroredStrategy()
    if virtual_cpus < 1:
        raise TrainerError(f"mirrored.virtual_cpus={virtual_cpus} must be at least 1")
    tf.config.set_logical_device_configuration(
        tf.config.list_physical_devices("CPU")[0],
        [tf.config.LogicalDeviceConfiguration()] * virtual_cpus,
    )
    return tf.distribute.MirroredStrategy([f"CPU:{i}" for i in range(virtual_cpus)])


@configurable
def multi_worker(
    *,
    cluster_resolver: Callable[[], tf.distribute.cluster_resolver.ClusterResolver] | None = None,
    peer_timeout: float = 300.0,
) -> tf.distribute.Strategy:
    """All devices of all processes of a cluster.

    Args:
      cluster_resolver: Makes the resolver that describes the cluster, such as `slurm`. Default:
        read it from the environment variable TF_CONFIG, which Kubernetes' operators and Vertex AI
        set.
      peer_timeout: Seconds to wait for the other processes, for which TensorFlow itself would wait
        for ever. Then the process prints an error and ends with exit code 14, `errors.NO_PEER`.

    Raises:
      TrainerError: if no cluster is described.
      LostPeerError: if the process cannot join the cluster.
    """
    try:
        resolver = (cluster_resolver or _tf_config)()
        cluster = resolver.cluster_spec().as_dict()
    except (LookupError, TypeError, ValueError, RuntimeError) as error:
        raise TrainerError(
            "strategy.multi_worker needs a cluster: TF_CONFIG in the environment of every process, "
            'such as \'{"cluster": {"worker": ["host0:2222", "host1:2222"]}, '
            '"task": {"type": "worker", "index": 0}}\', or hardware/slurm.gin within a Slurm job '
            f"({type(error).__name__}: {error})"
        ) from error
    message = (
        f"error: not all of {json.dumps(cluster)} appeared within "
        f"multi_worker.peer_timeout={peer_timeout:g} seconds: start the same command on every one "
        "of them, and check that they reach each other"
    )
    try:
        with _ended_after(peer_timeout, message):
            return tf.distribute.MultiWorkerMirroredStrategy(resolver)
    except tf.errors.OpError as error:
        raise LostPeerError(
            f"{resolver.task_type} {resolver.task_id} cannot join {json.dumps(cluster)} "
            f"({first_line(error)}): if its port is taken, end what listens "
            "there, such as an earlier run; then start the same command again"
        ) from error


def _tf_config() -> tf.distribute.cluster_resolver.ClusterResolver:
    config = json.loads(os.environ["TF_CONFIG"])
    cluster, task = config["cluster"], config["task"]
    if others := {*cluster, task["type"]} - {"chief", "worker"}:
        raise ValueError(f"{', '.join(sorted(others))}: only chief and worker take part")
    cluster[task["type"]][task["index"]]  # raises if it is not there; Vertex AI's may lack workers
    return tf.distribute.cluster_resolver.TFConfigClusterResolver()


@configurable
def slurm(*, port_base: int = 8888) -> tf.distribute.cluster_resolver.ClusterResolver:
    """The cluster of this process's Slurm job step, in which each task is a worker.

    Args:
      port_base: Port of the first task on each node; the node's other tasks use the ports after it.
    """
    make = tf.distribute.cluster_resolver.SlurmClusterResolver
    if shutil.which("nvidia-smi"):
        return make(port_base=port_base)  # each task sees only its own GPUs
    # The resolver assigns tasks by GPU, and counts GPUs with nvidia-smi: claim enough for any task.
    return make(port_base=port_base, gpus_per_node=1024, gpus_per_task=1, auto_set_gpu=False)


# A process of its own: while TensorFlow waits for peers, it runs no other Python thread and no
# Python signal handler. Standard input ends when the wait, or the waiting process, is over.
_WATCHDOG = """
import os, select, signal, sys
if not select.select([sys.stdin], [], [], float(sys.argv[1]))[0]:
    print(sys.argv[2], file=sys.stderr, flush=True)
    os.kill(os.getppid(), signal.SIGALRM)
"""


@contextlib.contextmanager
def _ended_after(seconds: float, message: str) -> Iterator[None]:
    """Ends this process with `message` and NO_PEER if the block takes longer than `seconds`."""
    # A C function handles the signal: a container's first process ignores signals that have no
    # handler. _exit is called with the signal's number, 14, which becomes the exit code.
    libc = ctypes.CDLL(None)
    libc.signal(NO_PEER, libc._exit)
    on_interrupt = signal.signal(signal.SIGINT, signal.SIG_DFL)
    watchdog = subprocess.Popen(
        [sys.executable, "-I", "-c", _WATCHDOG, str(seconds), message], stdin=subprocess.PIPE
    )
    try:
        yield
    finally:
        watchdog.communicate()  # closes its standard input
        signal.signal(signal.SIGINT, on_interrupt)
        signal.signal(NO_PEER, signal.SIG_DFL)


_NO_TPU = {
    True: "run on a TPU VM or a Colab TPU runtime with `pip install 'gan-trainer[tpu]'`, where no "
    "other process holds the TPU, or choose hardware/auto.gin",
    False: "run on a Google Cloud VM in the TPU's zone with `pip install google-api-python-client "
    "oauth2client` and an account that may see it, give its address as "
    "tpu.name='grpc://HOST:8470', or run on the TPU's own VM with tpu.name='local'",
}
"""What to do if no TPU answers; the key says whether tpu.name is "local"."""


@configurable
def tpu(*, name: str = "local", timeout: float = 300.0) -> tf.distribute.Strategy:
    """All cores of a TPU.

    Args:
      name: "local" on a TPU VM or in Colab; otherwise the name of a Cloud TPU, or its grpc://
        address.
      timeout: Seconds to wait for an address that does not answer, for which TensorFlow itself
        would wait for ever. Then the process prints an error and ends with exit code 14,
        `errors.NO_PEER`.

    Raises:
      TrainerError: if no TPU answers, with TensorFlow's reason and the remedy.
    """
    remedy = _NO_TPU[name == "local"]
    message = f"error: tpu.name='{name}' did not answer within tpu.timeout={timeout:g} seconds"
    try:
        with _ended_after(timeout, f"{message}: {remedy}"):
            resolver = tf.distribute.cluster_resolver.TPUClusterResolver(tpu=name)
            tf.config.experimental_connect_to_cluster(resolver)
            tf.tpu.experimental.initialize_tpu_system(resolver)
    except Exception as error:  # TensorFlow's, urllib's, oauth2client's or googleapiclient's
        reason = f"{type(error).__name__}: {first_line(error)}"
        raise TrainerError(f"no TPU answers to tpu.name='{name}' ({reason}): {remedy}") from error
    return tf.distribute.TPUStrategy(resolver)


def check_model_dir(
    resolver: tf.distribute.cluster_resolver.ClusterResolver | None, model_dir: str
) -> None:
    """Refuses a local model_dir if the TPU, which writes the checkpoints, is on another machine.

    Args:
      resolver: The strategy's cluster resolver, if it has one.
      model_dir: Directory of the run, local or gs://.

    Raises:
      TrainerError: naming the TPU's address.
    """
    if isinstance(resolver, tf.distribute.cluster_resolver.TPUClusterResolver):
        address = resolver.master()  # "" if the TPU is on this machine
        if address and "://" not in model_dir:
            raise TrainerError(
                f"--model_dir={model_dir} is on this machine, but the TPU at {address} writes "
                "checkpoints to its own disk: choose --model_dir=gs://BUCKET/PATH"
            )


def _tpu_expected() -> bool:
    # Asking TensorFlow takes seconds and, on a CPU build, raises an error. Colab's TPU runtimes and
    # Google Kubernetes Engine's TPU nodes set TPU_ACCELERATOR_TYPE.
    if os.environ.get("TPU_NAME") or os.environ.get("TPU_ACCELERATOR_TYPE"):
        return True
    try:
        importlib.metadata.distribution("tensorflow-tpu")
    except importlib.metadata.PackageNotFoundError:
        return False
    return True
