"""Two hosts with addresses of their own: the launcher over a real ssh, and a cut between them."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from support import network
from support.process import command, environment, run
from support.weights import assert_same, checkpoint

from trainer.distributed.cluster import tf_config
from trainer.errors import LOST_PEER

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
LAUNCHER = ROOT / "scripts" / "launch" / "ssh.py"
STEPS = 100
RUN = ["--gin_file=digits.gin", "--gin_param=train.batch_size=8", "--gin_param=train.num_samples=4"]
RUN += ["--gin_param=train.sample_every=0", "--gin_param=train.checkpoint_every=4"]
RUN += ["--gin_param=train.steps_per_loop=2", "--gin_param=train.kernels=[]"]
LONG = [*RUN, f"--gin_param=train.num_steps={STEPS}"]
# Heartbeats stop after ten seconds, as docs/running.md says; the rest is a busy machine's.
SECONDS_TO_NOTICE = 45


@pytest.fixture(scope="module")
def hosts(tmp_path_factory):
    if reason := network.missing():
        pytest.skip(reason)
    with network.Hosts(tmp_path_factory.mktemp("hosts")) as both:
        yield both


@pytest.fixture(autouse=True)
def mended(hosts):
    """After each test, whatever came of it, the link is up and no trainer runs."""
    yield
    hosts.link("up")
    for pid in trainers(hosts):
        os.kill(pid, signal.SIGKILL)


def start(arguments):
    return subprocess.Popen(
        arguments,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment(),
        cwd=ROOT,
    )


def start_workers(hosts, arguments):
    """The same command on both hosts, without a launcher."""
    addresses = [f"{address}:2222" for address in hosts.addresses]
    workers = []
    for index in range(2):
        config = f"TF_CONFIG={tf_config(addresses, index)}"
        worker = command(*arguments, "--gin_file=hardware/multi_worker.gin")
        workers.append(start(hosts.on(index, "env", config, *worker)))
    return workers


def start_launcher(hosts, arguments, *flags):
    """ssh.py on the first host, for both."""
    flags = [f"--hosts={','.join(hosts.addresses)}", f"--ssh={hosts.ssh}", *flags]
    flags += [f"--python={sys.executable}", f"--directory={ROOT}"]
    return start(hosts.on(0, sys.executable, LAUNCHER, *flags, "--", *arguments))


def finish(processes, seconds=400):
    try:
        return [process.communicate(timeout=seconds)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()


def wait_for(condition, seconds=240.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def saved(model_dir):
    return list((model_dir / "checkpoints").glob("step-*.index"))


def trainers(hosts):
    """Processes of trainers on both hosts."""
    found = []
    for name in hosts.names:
        for pid in hosts.pids(name):
            try:
                words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            except FileNotFoundError:
                continue
            if words[1:3] == [b"-m", b"trainer.main"]:
                found.append(pid)
    return found


@pytest.fixture(scope="module")
def uncut(hosts, tmp_path_factory):
    """The long run on both hosts that nothing disturbs."""
    model_dir = tmp_path_factory.mktemp("uncut")
    workers = start_workers(hosts, [*LONG, f"--model_dir={model_dir}"])
    outs = finish(workers)
    assert [worker.returncode for worker in workers] == [0, 0], outs
    return checkpoint(model_dir, STEPS)


def test_two_hosts_over_ssh_give_one_process_s_answer(hosts, tmp_path):
    """Up to the order of summation in float32; the bound is test_invariance.py's."""
    steps = 6
    arguments = [*RUN, f"--gin_param=train.num_steps={steps}"]
    launcher = start_launcher(hosts, [*arguments, f"--model_dir={tmp_path / 'two'}"])
    (out,) = finish([launcher])
    assert launcher.returncode == 0, out
    assert f"[worker 0] Trained to step {steps}" in out
    run(*arguments, f"--model_dir={tmp_path / 'one'}", "--gin_file=hardware/one_device.gin")
    two, one = (_vector(checkpoint(tmp_path / name, steps)) for name in ("two", "one"))
    assert np.linalg.norm(two - one) / np.linalg.norm(one) < 1e-3


def _vector(tensors):
    weights = [
        tensors[n] for n in sorted(tensors) if n.startswith(("generator/", "discriminator/"))
    ]
    assert weights
    return np.concatenate([w.ravel() for w in weights])


def test_ctrl_c_saves_on_both_hosts_and_the_same_command_resumes(hosts, uncut, tmp_path):
    arguments = [*LONG, f"--model_dir={tmp_path}"]
    launcher = start_launcher(hosts, arguments)
    wait_for(lambda: saved(tmp_path))
    launcher.send_signal(signal.SIGINT)
    (out,) = finish([launcher])
    assert launcher.returncode == 130, out
    stops = re.findall(r"\[worker [01]\] Stopped by SIGTERM at step (\d+)", out)
    assert len(stops) == 2 and len(set(stops)) == 1 and int(stops[0]) < STEPS, out
    assert not trainers(hosts)
    launcher = start_launcher(hosts, arguments)
    (out,) = finish([launcher])
    assert launcher.returncode == 0 and f"resuming {tmp_path} at step {stops[0]}" in out, out
    assert_same(checkpoint(tmp_path, STEPS), uncut)


def test_a_cut_link_ends_both(hosts, tmp_path):
    """TCP does not say goodbye: TensorFlow's heartbeats notice."""
    workers = start_workers(hosts, [*LONG, f"--model_dir={tmp_path}"])
    wait_for(lambda: saved(tmp_path))
    hosts.link("down")
    outs = finish(workers, SECONDS_TO_NOTICE)
    for worker, out in zip(workers, outs, strict=True):
        assert worker.returncode == LOST_PEER, out
        (line,) = [x for x in out.splitlines() if x.startswith("error: ")]
        assert re.match(
            r"error: another process of this run is gone \(.*Last good checkpoint", line
        )
        assert "Traceback" not in out
    assert not (tmp_path / "checkpoints" / f"step-{STEPS}.index").exists()


def test_the_launcher_starts_again_after_a_cut(hosts, uncut, tmp_path):
    launcher = start_launcher(hosts, [*LONG, f"--model_dir={tmp_path}"])
    wait_for(lambda: saved(tmp_path))
    hosts.link("down")
    wait_for(lambda: not trainers(hosts), SECONDS_TO_NOTICE)
    hosts.link("up")
    (out,) = finish([launcher])
    assert launcher.returncode == 0, out
    assert out.count("starting all again from the last checkpoint") == 1
    assert_same(checkpoint(tmp_path, STEPS), uncut)


def test_a_killed_launcher_leaves_no_trainer(hosts, tmp_path):
    """Its hosts notice its end, and save."""
    launcher = start_launcher(hosts, [*LONG, f"--model_dir={tmp_path}"])
    wait_for(lambda: saved(tmp_path))
    launcher.kill()
    wait_for(lambda: not trainers(hosts), 30)
    finish([launcher])
