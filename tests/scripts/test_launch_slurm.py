"""slurm.sbatch in a real Slurm of one node, made for the test."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.process import environment

from trainer.distributed.cluster import free_ports

pytestmark = pytest.mark.slow

SCRIPT = Path(__file__).parents[2] / "scripts" / "launch" / "slurm.sbatch"
STEPS = 100
RUN = ["--gin_file=digits.gin", "--gin_param=train.batch_size=8", "--gin_param=train.num_samples=4"]
RUN += ["--gin_param=train.sample_every=0", "--gin_param=train.checkpoint_every=4"]
RUN += ["--gin_param=train.steps_per_loop=2", f"--gin_param=train.num_steps={STEPS}"]
DAEMONS = ("munged", "slurmctld", "slurmd")

CONFIG = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
AuthType=auth/munge
AuthInfo=socket={directory}/munge.sock
StateSaveLocation={directory}/state
SlurmdSpoolDir={directory}/spool
SlurmctldPidFile={directory}/slurmctld.pid
SlurmdPidFile={directory}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
ReturnToService=2
MpiDefault=none
SwitchType=switch/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
NodeName={host} NodeAddr=127.0.0.1 CPUs={cores}
PartitionName=all Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


@pytest.fixture(scope="module")
def slurm(tmp_path_factory):
    """(command) -> what a Slurm command prints, in a cluster of its own."""
    if os.geteuid() != 0:
        pytest.skip("Slurm's daemons need root")
    # As Debian installs them, outside of an ordinary PATH.
    path = f"{os.environ['PATH']}:/usr/sbin"
    for name in DAEMONS:
        if not shutil.which(name, path=path):
            pytest.skip(f"{name} is not installed (Debian's munge and slurm-wlm)")
    directory = tmp_path_factory.mktemp("slurm")
    # munge insists that nobody else can write above its files.
    munge = {name: directory / f"munge.{name}" for name in ("key", "sock", "pid", "log", "seed")}
    for name in ("state", "spool"):
        (directory / name).mkdir()
    munge["key"].write_bytes(secrets.token_bytes(1024))
    munge["key"].chmod(0o600)
    config = directory / "slurm.conf"
    config.write_text(
        CONFIG.format(
            host=socket.gethostname().split(".")[0],
            ports=free_ports(2),
            directory=directory,
            cores=len(os.sched_getaffinity(0)),
        )
    )
    env = environment(SLURM_CONF=str(config), PATH=path, PYTHON=sys.executable)
    commands = [
        [
            *("munged", "--foreground", "--force", f"--key-file={munge['key']}"),
            *(f"--socket={munge['sock']}", f"--pid-file={munge['pid']}"),
            *(f"--log-file={munge['log']}", f"--seed-file={munge['seed']}"),
        ],
        ["slurmctld", "-D", "-c"],
        ["slurmd", "-D"],
    ]
    with open(directory / "daemons.log", "w") as log:
        daemons = [subprocess.Popen(c, env=env, stdout=log, stderr=log) for c in commands[:1]]
        wait_for(munge["sock"].exists, 20)
        daemons += [subprocess.Popen(c, env=env, stdout=log, stderr=log) for c in commands[1:]]

    def run(*command):
        done = subprocess.run(command, env=env, capture_output=True, text=True, cwd=directory)
        assert done.returncode == 0, done.stderr + (directory / "daemons.log").read_text()
        return done.stdout.strip()

    try:
        sinfo = ["sinfo", "--noheader", "--format=%T"]
        wait_for(lambda: b"idle" in subprocess.run(sinfo, env=env, capture_output=True).stdout, 60)
        yield run
        run("scancel", "--user=root")
        wait_for(lambda: not run("squeue", "--noheader"), 60)
    finally:
        for daemon in reversed(daemons):
            daemon.terminate()
            daemon.wait(30)


def wait_for(condition, seconds):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.1)


def submit(slurm, model_dir, *arguments):
    """Two tasks on the one node; the options win over the script's own."""
    return slurm(
        *("sbatch", "--parsable", "--nodes=1", "--ntasks-per-node=2", "--overcommit"),
        *(f"--output={model_dir}.log", SCRIPT, *arguments, f"--model_dir={model_dir}"),
    )


def state(slurm, job):
    return re.search(r"JobState=(\w+)", slurm("scontrol", "show", "job", job))[1]


def saved(model_dir):
    return list(model_dir.glob("checkpoints/step-*.index"))


def test_a_stopped_job_goes_on_from_its_checkpoint(slurm, tmp_path):
    """--signal asks the tasks, as scancel --signal does: minutes before a limit, here at once."""
    model_dir, log = tmp_path / "run", tmp_path / "run.log"
    job = submit(slurm, model_dir, *RUN)
    wait_for(lambda: saved(model_dir), 120)
    slurm("scancel", "--signal=TERM", job)
    wait_for(lambda: state(slurm, job) in ("PENDING", "COMPLETED"), 60)
    stops = re.findall(r"Stopped by SIGTERM at step (\d+)", log.read_text())
    assert len(stops) == 2 and len(set(stops)) == 1, log.read_text()
    assert "srun ended with 143: back into the queue" in log.read_text()
    # Slurm would wait two minutes, so that what it granted to the first life is forgotten.
    slurm("scontrol", "update", f"JobId={job}", "StartTime=now+20")
    wait_for(lambda: state(slurm, job) == "COMPLETED", 240)
    assert f"resuming {model_dir} at step {stops[0]}" in log.read_text()
    assert f"Trained to step {STEPS}" in log.read_text()
    assert "Restarts=1" in slurm("scontrol", "show", "job", job)


def test_a_cancelled_job_stays_cancelled(slurm, tmp_path):
    model_dir = tmp_path / "run"
    job = submit(slurm, model_dir, *RUN)
    wait_for(lambda: saved(model_dir), 120)
    slurm("scancel", job)
    wait_for(lambda: state(slurm, job) == "CANCELLED", 60)
    wait_for(lambda: "COMPLETING" not in slurm("squeue", "--noheader", "--format=%T"), 60)
    assert "Restarts=0" in slurm("scontrol", "show", "job", job)


def test_a_refused_job_fails(slurm, tmp_path):
    job = submit(slurm, tmp_path / "run", "--gin_file=no_such.gin")
    wait_for(lambda: state(slurm, job) == "FAILED", 120)
    assert "no_such.gin" in (tmp_path / "run.log").read_text()
