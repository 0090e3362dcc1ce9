"""Interruptions and faults, on real processes: what was saved is never lost, and nothing hangs."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.process import command, environment, error_line, run
from support.weights import assert_same, checkpoint
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from trainer.distributed.cluster import free_ports, tf_config
from trainer.errors import LOST_PEER, NO_PEER

pytestmark = pytest.mark.slow

LAUNCHER = Path(__file__).parents[2] / "scripts" / "launch_workers.py"
STEPS = 240
RUN = ["--gin_file=digits.gin", "--gin_param=train.batch_size=8", "--gin_param=train.num_samples=4"]
RUN += [f"--gin_param=train.num_steps={STEPS}", "--gin_param=train.sample_every=0"]
RUN += ["--gin_param=train.kernels=[]"]  # XLA would compile for longer than most of these runs take
OFTEN = ["--gin_param=train.checkpoint_every=4", "--gin_param=train.steps_per_loop=2"]


def saved_steps(model_dir):
    """Steps of the complete checkpoints, oldest first."""
    return sorted(int(p.stem[5:]) for p in (model_dir / "checkpoints").glob("step-*.index"))


def wait_for(condition, seconds=240.0, pause=0.002):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds:g} seconds"
        time.sleep(pause)


def start(*arguments, prefix=(), **changes):
    return subprocess.Popen(
        [*prefix, *command(*arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment(**changes),
    )


def start_workers(*arguments, count=2, each=lambda index: [], **changes):
    """Worker processes over loopback; `each(index)` adds arguments to one of them."""
    addresses = [f"localhost:{port}" for port in free_ports(count)]
    workers = []
    for index in range(count):
        workers.append(
            start(
                *arguments,
                "--gin_file=hardware/multi_worker.gin",
                *each(index),
                TF_CONFIG=tf_config(addresses, index),
                **changes,
            )
        )
    return workers


def finish(processes, seconds=240):
    try:
        return [process.communicate(timeout=seconds)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()


@pytest.fixture(scope="module")
def never_stopped(tmp_path_factory):
    """The same run without interruptions, with other calls and checkpoints."""
    model_dir = tmp_path_factory.mktemp("never_stopped")
    run(*RUN, f"--model_dir={model_dir}")
    return model_dir


def assert_ended_the_same(model_dir, expected_dir):
    assert_same(checkpoint(model_dir, STEPS), checkpoint(expected_dir, STEPS))
    name = f"samples/step_{STEPS:07d}.png"
    assert (model_dir / name).read_bytes() == (expected_dir / name).read_bytes()


def test_killed_at_random_it_ends_as_if_never_stopped(never_stopped, tmp_path):
    """Four SIGKILLs: two at random times, two in the middle of saving a checkpoint."""
    delays = random.Random(0)
    directory = tmp_path / "checkpoints"
    stopped_at = []
    for kill in range(4):
        before = saved_steps(tmp_path)
        process = start(*RUN, *OFTEN, f"--model_dir={tmp_path}")
        wait_for(lambda before=before: saved_steps(tmp_path) != before)
        if kill % 2:
            time.sleep(delays.uniform(0, 0.5))
        else:  # TensorFlow writes under a temporary name first
            wait_for(lambda: any(directory.glob("*temp*")), pause=0)
        process.kill()
        finish([process])
        assert process.returncode == -signal.SIGKILL, "it ended before it was killed"
        stopped_at.append(saved_steps(tmp_path)[-1])
    assert stopped_at == sorted(stopped_at) and 0 < stopped_at[0] < stopped_at[-1] < STEPS
    run(*RUN, *OFTEN, f"--model_dir={tmp_path}")
    assert_ended_the_same(tmp_path, never_stopped)


def test_workers_killed_and_started_again_end_as_if_never_stopped(tmp_path):
    """The launcher restarts all workers when one dies; the two runs agree to the last bit."""
    expected, _ = launch(*RUN, f"--model_dir={tmp_path / 'a'}")
    assert expected == 0
    launcher = start_launcher(*RUN, *OFTEN, f"--model_dir={tmp_path / 'b'}")
    for kill in range(2):
        before = saved_steps(tmp_path / "b")
        wait_for(lambda before=before: saved_steps(tmp_path / "b") not in (before, []))
        victims = trainers_of(tmp_path / "b")
        assert len(victims) == 2
        os.kill(victims[kill], signal.SIGKILL)
        wait_for(lambda v=victims: not set(v) & set(trainers_of(tmp_path / "b")))
    (out,) = finish([launcher], 240)
    assert launcher.returncode == 0, out
    assert out.count("starting all again from the last checkpoint") == 2
    assert re.search(rf"\[worker 1\] .*resuming {tmp_path / 'b'} at step \d+", out)
    assert_ended_the_same(tmp_path / "b", tmp_path / "a")
    assert not trainers_of(tmp_path)


@pytest.fixture(scope="module")
def rolled_back(tmp_path_factory):
    """The same run with a rule that is always violated: it goes back twice, from step 40 to 0."""
    model_dir = tmp_path_factory.mktemp("rolled_back")
    _, log = run(*RUN, *STRICT, f"--model_dir={model_dir}")
    assert "back from step 40 to step 0, on random stream 2: rollback 2 of 2" in log
    return model_dir


STRICT = ["--gin_param=Doctor.every=40", "--gin_param=Doctor.patience=1"]
STRICT += ["--gin_param=collapse.least=9.0", "--gin_param=train.rollbacks=2"]


def events(model_dir):
    path = model_dir / "doctor_events.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def test_killed_after_a_rollback_it_ends_as_if_never_stopped(rolled_back, tmp_path):
    for rollbacks in (1, 2):
        process = start(*RUN, *STRICT, *OFTEN, f"--model_dir={tmp_path}")
        wait_for(lambda n=rollbacks: sum("rollback" in e for e in events(tmp_path)) >= n)
        process.kill()
        finish([process])
        assert process.returncode == -signal.SIGKILL, "it ended before it was killed"
    run(*RUN, *STRICT, *OFTEN, f"--model_dir={tmp_path}")
    assert_ended_the_same(tmp_path, rolled_back)
    assert events(tmp_path) == events(rolled_back)


def test_two_workers_roll_back_together(rolled_back, tmp_path):
    workers = start_workers(
        *RUN, *STRICT, "--gin_param=train.num_steps=44", f"--model_dir={tmp_path}"
    )
    outs = finish(workers)
    assert [worker.returncode for worker in workers] == [0, 0], outs
    assert "Doctor: collapse at step 40, " in outs[0] and "octor: " not in outs[1]
    kinds = [
        [(entry["step"], entry.get("alert"), entry.get("rollback")) for entry in entries]
        for entries in (events(tmp_path), events(rolled_back)[:5])
    ]
    assert kinds[0] == kinds[1] and saved_steps(tmp_path)[-1] == 44


def start_launcher(*arguments, flags=()):
    return subprocess.Popen(
        [sys.executable, LAUNCHER, "--num_workers=2", *flags, "--", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment(),
    )


def launch(*arguments, flags=()):
    launcher = start_launcher(*arguments, flags=flags)
    (out,) = finish([launcher], 240)
    return launcher.returncode, out


def trainers_of(model_dir):
    """Process ids of the trainers on a model_dir below this one."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().decode().split("\0")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if "trainer.main" in words and any(f"--model_dir={model_dir}" in word for word in words):
            found.append(int(path.parent.name))
    return sorted(found)


def test_a_killed_launcher_leaves_no_process(tmp_path):
    launcher = start_launcher(*RUN, *OFTEN, f"--model_dir={tmp_path}")
    wait_for(lambda: saved_steps(tmp_path))
    launcher.kill()
    wait_for(lambda: not trainers_of(tmp_path), seconds=10)
    finish([launcher])


def test_the_launcher_passes_a_stop_on(tmp_path):
    """SIGTERM, on one machine; test_launch_network.py sends Ctrl-C to a launcher of two hosts."""
    launcher = start_launcher(*RUN, *OFTEN, f"--model_dir={tmp_path}")
    wait_for(lambda: saved_steps(tmp_path))
    launcher.terminate()
    (out,) = finish([launcher])
    assert launcher.returncode == 143, out
    assert len(re.findall(r"\[worker [01]\] Stopped by SIGTERM at step \d+", out)) == 2
    assert not trainers_of(tmp_path)


def test_workers_that_die_at_once_are_given_up(tmp_path):
    arguments = ["--gin_file=digits.gin", f"--model_dir={tmp_path}", "--gin_param=train.num_step=1"]
    code, out = launch(*arguments)
    assert code == 1 and "did you mean num_steps" in out and "starting all again" not in out


def test_restarts_are_bounded_and_cores_are_shared_out(tmp_path):
    launcher = start_launcher(*RUN, f"--model_dir={tmp_path}", flags=["--max_restarts=1"])
    for _ in range(2):
        wait_for(lambda: len(trainers_of(tmp_path)) == 2)
        workers = trainers_of(tmp_path)
        shares = [os.sched_getaffinity(worker) for worker in workers]
        if len(os.sched_getaffinity(0)) > 1:
            assert not shares[0] & shares[1]
        assert shares[0] | shares[1] == os.sched_getaffinity(0)
        os.kill(workers[0], signal.SIGKILL)
        os.kill(workers[1], signal.SIGKILL)
        wait_for(lambda gone=workers: not set(gone) & set(trainers_of(tmp_path)))
    (out,) = finish([launcher])
    assert launcher.returncode not in (0, None)
    assert out.count("starting all again from the last checkpoint") == 1
    assert "error: gave up after 1 restarts" in out


@pytest.mark.parametrize("victim", [0, 1])
def test_sigterm_to_one_worker_stops_all_at_one_step(tmp_path, victim):
    """As when a cloud preempts a machine, which Compute Engine announces 30 s before.

    All save the same step and exit with 143. Both processes share their cores with other tests.
    """
    workers = start_workers(*RUN, *OFTEN, f"--model_dir={tmp_path}")
    wait_for(lambda: saved_steps(tmp_path))
    workers[victim].terminate()
    sent = time.monotonic()
    outs = finish(workers)
    assert time.monotonic() - sent < 30
    assert [worker.returncode for worker in workers] == [143, 143], outs
    steps = [int(re.search(r"Stopped by SIGTERM at step (\d+)", out)[1]) for out in outs]
    assert steps[0] == steps[1] == saved_steps(tmp_path)[-1] < STEPS


def test_the_tasks_of_a_slurm_step_are_workers(tmp_path):
    """Without Slurm itself: with the variables that it sets for two tasks on one node."""
    step = {"SLURM_STEP_NODELIST": "localhost", "SLURM_STEP_NUM_TASKS": "2"}
    step |= {"SLURM_STEP_TASKS_PER_NODE": "2"}
    port = f"--gin_param=slurm.port_base={free_ports(1)[0]}"
    tasks = [
        start(
            *(*RUN, f"--model_dir={tmp_path}", "--gin_file=hardware/slurm.gin", port),
            "--gin_param=train.num_steps=4",
            **step,
            SLURM_PROCID=str(index),
        )
        for index in range(2)
    ]
    outs = finish(tasks)
    assert [task.returncode for task in tasks] == [0, 0], outs
    assert saved_steps(tmp_path) == [4]


@pytest.mark.parametrize("tasks", [[("chief", 0), ("worker", 0)], [("chief", 0)]])
def test_a_cluster_with_a_chief(tmp_path, tasks):
    """As Vertex AI describes it: a chief and workers, or a chief alone."""
    jobs = {
        job: [f"localhost:{port}"] for (job, _), port in zip(tasks, free_ports(2), strict=False)
    }
    processes = [
        start(
            *(*RUN, f"--model_dir={tmp_path}", "--gin_file=hardware/multi_worker.gin"),
            "--gin_param=train.num_steps=4",
            TF_CONFIG=json.dumps({"cluster": jobs, "task": {"type": job, "index": index}}),
        )
        for job, index in tasks
    ]
    outs = finish(processes)
    assert [process.returncode for process in processes] == [0] * len(tasks), outs
    assert saved_steps(tmp_path) == [4]
    assert "Trained to step 4" in outs[0]


# As the first process of a container, where signals are lost that nobody handles.
CONTAINER = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]


def start_in_container(*arguments, **changes):
    if reason := _no_container():
        pytest.skip(reason)
    return start(*arguments, prefix=CONTAINER, **changes)


def _no_container():
    try:
        done = subprocess.run([*CONTAINER, "true"], capture_output=True, text=True)
    except FileNotFoundError:
        return "unshare is not installed (Debian's util-linux)"
    return done.stderr.strip() and f"no namespaces here: {done.stderr.strip()}"


def test_a_container_is_not_kept_waiting_for_a_missing_peer(tmp_path):
    addresses = [f"localhost:{port}" for port in free_ports(2)]
    worker = start_in_container(
        *(*RUN, f"--model_dir={tmp_path}", "--gin_file=hardware/multi_worker.gin"),
        "--gin_param=multi_worker.peer_timeout=3.0",
        TF_CONFIG=tf_config(addresses, 0),
    )
    (out,) = finish([worker], 60)
    assert worker.returncode == NO_PEER and "peer_timeout=3 seconds" in out, out


def test_sigterm_to_a_container(tmp_path):
    container = start_in_container(*RUN, *OFTEN, f"--model_dir={tmp_path}")
    wait_for(lambda: saved_steps(tmp_path))
    os.kill(trainers_of(tmp_path)[-1], signal.SIGTERM)  # the one before is unshare
    (out,) = finish([container])
    assert container.returncode == 143, out
    assert f"Stopped by SIGTERM at step {saved_steps(tmp_path)[-1]} of {STEPS}" in out


def test_a_lost_worker_is_reported_by_the_others(tmp_path):
    workers = start_workers(*RUN, *OFTEN, f"--model_dir={tmp_path}")
    wait_for(lambda: saved_steps(tmp_path))
    workers[1].kill()
    outs = finish(workers)
    assert workers[0].returncode == LOST_PEER, outs[0]
    assert re.search(r"^error: another process of this run is gone \(.*checkpoints/step-\d+$",
                     outs[0], re.MULTILINE)  # fmt: skip
    assert "Traceback" not in outs[0]


def test_a_worker_lost_before_training_is_reported_too(tmp_path):
    """By exit code LOST_PEER the launcher knows that a restart may help."""
    module = tmp_path / "fragile.py"
    module.write_text(
        "import json, os\n"
        "from trainer.models import dcgan\n"
        "def generator(**arguments):\n"
        "    if json.loads(os.environ['TF_CONFIG'])['task']['index']:\n"
        "        os._exit(9)\n"
        "    return dcgan.generator(**arguments)\n"
    )
    config = tmp_path / "fragile.gin"
    config.write_text(
        "from __gin__ import dynamic_registration\n"
        "from trainer import experiment\n"
        "import fragile\n"
        "experiment.train.generator = @fragile.generator\n"
    )
    fragile = [*RUN, f"--gin_file={config}", f"--model_dir={tmp_path / 'run'}"]
    paths = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    workers = start_workers(*fragile, PYTHONPATH=paths)
    outs = finish(workers)
    assert [worker.returncode for worker in workers] == [LOST_PEER, 9], outs[0]
    assert "error: another process of this run is gone (" in outs[0].splitlines()[-1]
    assert "Traceback" not in outs[0]


def test_a_missing_peer_is_not_awaited_for_ever(tmp_path):
    ports = free_ports(2)
    addresses = [f"localhost:{port}" for port in ports]
    worker = start(
        *(*RUN, f"--model_dir={tmp_path}", "--gin_file=hardware/multi_worker.gin"),
        "--gin_param=multi_worker.peer_timeout=3.0",
        TF_CONFIG=tf_config(addresses, 0),
    )
    (out,) = finish([worker], 60)
    assert worker.returncode == NO_PEER, out
    (line,) = [line for line in out.splitlines() if line.startswith("error: ")]
    assert f"localhost:{ports[1]}" in line and "peer_timeout=3 seconds" in line


def test_a_taken_port_is_one_line(tmp_path):
    (port,) = free_ports(1)
    with socket.create_server(("localhost", port)):
        line = error_line(
            *(*RUN, f"--model_dir={tmp_path}", "--gin_file=hardware/multi_worker.gin"),
            code=LOST_PEER,
            TF_CONFIG=tf_config([f"localhost:{port}"], 0),
        )
    assert re.search(r"worker 0 cannot join .* if its port is taken, end what listens there", line)


def test_workers_with_different_configs_are_refused(tmp_path):
    workers = start_workers(
        *(*RUN, f"--model_dir={tmp_path}"), each=lambda i: [f"--gin_param=train.seed={i}"]
    )
    outs = finish(workers)
    assert [worker.returncode for worker in workers] == [1, 1], outs
    for out in outs:
        assert "were started with different configs; give every process the same" in out
    assert not saved_steps(tmp_path)


def test_sigterm_on_virtual_replicas(tmp_path):
    process = start(
        *(*RUN, *OFTEN, f"--model_dir={tmp_path}", "--gin_file=hardware/mirrored.gin"),
        "--gin_param=mirrored.virtual_cpus=2",
    )
    wait_for(lambda: saved_steps(tmp_path))
    process.terminate()
    sent = time.monotonic()
    (out,) = finish([process])
    assert time.monotonic() - sent < 30  # as Compute Engine gives
    assert process.returncode == 143, out
    assert f"Stopped by SIGTERM at step {saved_steps(tmp_path)[-1]} of {STEPS}" in out


def test_two_trainers_on_one_model_dir(tmp_path):
    endless = "--gin_param=train.num_steps=1000000"  # however long the second takes to start
    first = start(*RUN, *OFTEN, endless, f"--model_dir={tmp_path}")
    wait_for(lambda: saved_steps(tmp_path))
    line = error_line(*RUN, f"--model_dir={tmp_path}")
    assert f"{tmp_path} is in use by process {first.pid} on " in line
    first.terminate()
    (out,) = finish([first])
    assert first.returncode == 143, out


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 12 MB, which two checkpoints of 6 MB fill."""
    if os.geteuid():
        pytest.skip("mounting a small file system takes root")
    path = tmp_path / "small"
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=12m", "none", path], check=True)
    yield path
    subprocess.run(["umount", "-l", path], check=True)


def test_a_full_disk_keeps_what_was_saved(small_disk):
    line = error_line(*RUN, *OFTEN, f"--model_dir={small_disk}")
    assert re.search(rf"{small_disk} cannot be written .*[Nn]o space left.*free space", line)
    (step,) = re.findall(r"Last good checkpoint: .*/step-(\d+)$", line)
    assert checkpoint(small_disk, int(step))["step/.ATTRIBUTES/VARIABLE_VALUE"] == int(step)


def test_a_read_only_directory_is_one_line(small_disk):
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    line = error_line(*RUN, f"--model_dir={small_disk / 'run'}")
    assert re.search(rf"{small_disk}/run cannot be written .*Read-only file system", line)


def test_a_half_written_event_file_does_no_harm(tmp_path):
    short = [*RUN, f"--model_dir={tmp_path}"]
    run(*short, "--gin_param=train.num_steps=4")
    (events,) = tmp_path.glob("events.*.v2")
    events.write_bytes(events.read_bytes()[:-7])
    run(*short, "--gin_param=train.num_steps=8", "--gin_param=train.steps_per_loop=2")
    accumulator = EventAccumulator(str(tmp_path), size_guidance={"tensors": 0}).Reload()
    assert {6, 8} <= {event.step for event in accumulator.Tensors("loss/generator")}
