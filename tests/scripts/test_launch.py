"""The launchers' command lines and manifests; neither a cloud account nor a cluster is at hand."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import jsonschema
import kubernetes_validate
import pytest
import tensorflow as tf

from trainer.distributed.cluster import tf_config

ROOT = Path(__file__).parents[2]
LAUNCH = ROOT / "scripts" / "launch"
GUARD = ROOT / "trainer" / "tools" / "launch" / "guard.sh"
SLURM = LAUNCH / "slurm.sbatch"
BUCKET = ["--gin_file=mnist.gin", "--model_dir=gs://b/my runs"]

CREATE_VMS = (
    "--zone=us-central1-a --machine-type=g2-standard-8 --image-family=common-cu124-ubuntu-2204 "
    "--image-project=deeplearning-platform-release --metadata=install-nvidia-driver=True "
    "--boot-disk-size=100GB --maintenance-policy=TERMINATE --scopes=cloud-platform "
)
INSTALL = (
    "curl -LsSf https://astral.sh/uv/install.sh | sh && "
    "~/.local/bin/uv venv --allow-existing --python=3.11 gan && "
    "~/.local/bin/uv pip install --python=gan/bin/python "
)


def launch(name, *arguments, code=0, **environment):
    """What a launcher prints: its commands or, if `code` is not 0, why it refuses."""
    done = subprocess.run(
        [sys.executable, LAUNCH / f"{name}.py", *arguments],
        capture_output=True,
        text=True,
        env=os.environ | environment,
    )
    assert done.returncode == code, done.stdout + done.stderr
    if code:
        return done.stderr
    assert not done.stderr
    return done.stdout


def guarded(*command):
    """What a remote shell is given, once it has read the guard."""
    lines = [x for x in GUARD.read_text().splitlines() if not x.startswith("#")]
    return shlex.join(["bash", "-c", "\n".join(lines), "guard", *command])


def printed(*commands):
    return "".join(f"+ {shlex.join(command)}\n" for command in commands)


@pytest.fixture
def wheel(tmp_path):
    path = tmp_path / "gan_trainer-0.1.0-py3-none-any.whl"
    path.touch()
    return path


@pytest.mark.parametrize("script", [GUARD, SLURM], ids=lambda path: path.name)
def test_shell_scripts_are_clean(script):
    subprocess.run(["bash", "-n", script], check=True)
    tool = Path(sys.executable).with_name("shellcheck")
    done = subprocess.run([tool, script], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_every_shell_script_is_checked():
    found = [p for d in ("scripts", "trainer") for p in (ROOT / d).rglob("*") if p.is_file()]
    assert {p for p in found if p.read_bytes().startswith(b"#!")} == {GUARD, SLURM}


def test_ssh_prints_its_commands():
    flags = ["--hosts=alice@a,b=10.0.0.2", "--port=2300", "--directory=my dir", "--ssh=ssh -p 22"]
    arguments = ["--gin_file=mnist.gin", "--model_dir=/shared/it's"]
    options = "-o BatchMode=yes -o ConnectTimeout=10 -o ServerAliveInterval=5 "
    options += "-o ServerAliveCountMax=4"
    expected = []
    for index, host in enumerate(["alice@a", "b"]):
        line = guarded(
            *("my dir", "env", f"TF_CONFIG={tf_config(['a:2300', '10.0.0.2:2300'], index)}"),
            *("python3", "-m", "trainer.main", *arguments, "--gin_file=hardware/multi_worker.gin"),
        )
        expected.append(["ssh", "-p", "22", *options.split(), host, line])
    assert launch("ssh", "--dry_run", *flags, "--", *arguments) == printed(*expected)


def test_ssh_to_one_host_forms_no_cluster():
    out = launch("ssh", "--dry_run", "--hosts=a", "--", "--model_dir=/x")
    assert guarded(".", "env", "python3", "-m", "trainer.main", "--model_dir=/x") in shlex.split(
        out
    )


def test_compute_engine_prints_its_commands(wheel):
    flags = ["--name=gan", "--zone=us-central1-a", f"--wheel={wheel}", "--num_vms=2", "--spot"]
    gcloud, zone = ["gcloud", "compute"], "--zone=us-central1-a"
    delete = [*gcloud, "instances", "delete", "gan-0", "gan-1", zone, "--quiet"]
    extra = ["--provisioning-model=SPOT", "--max-run-duration=24h"]
    extra += ["--instance-termination-action=DELETE"]
    expected = [
        [*gcloud, "instances", "create", "gan-0", "gan-1", *CREATE_VMS.split(), *extra],
    ]
    for vm in ("gan-0", "gan-1"):
        ssh = [*gcloud, "ssh", vm, zone]
        expected += [
            [*ssh, "--command=nvidia-smi"],
            [*gcloud, "scp", str(wheel), f"{vm}:", zone],
            [*ssh, f"--command={INSTALL}'./{wheel.name}[gpu]'"],
        ]
    for index in range(2):
        line = guarded(
            *(".", "env", f"TF_CONFIG={tf_config(['gan-0:2222', 'gan-1:2222'], index)}"),
            *("gan/bin/python", "-m", "trainer.main", *BUCKET),
            "--gin_file=hardware/multi_worker.gin",
        )
        expected.append([*gcloud, "ssh", f"gan-{index}", zone, f"--command={line}"])
    out = launch("gce", "--dry_run", *flags, "--", *BUCKET)
    promise = f"What is created now is paid for until: {shlex.join(delete)}\n"
    assert out == promise + printed(*expected, delete)


@pytest.mark.parametrize("pod", [False, True])
def test_a_tpu_vm_prints_its_commands(wheel, pod):
    version = "tpu-vm-tf-2.20.0-pod-pjrt" if pod else "tpu-ubuntu2204-base"
    flags = ["--name=gan", "--zone=z", "--accelerator_type=v3-32", f"--version={version}"]
    gcloud, on = ["gcloud", "compute", "tpus", "tpu-vm"], ["gan", "--zone=z"]
    ssh = [*gcloud, "ssh", *on, "--worker=0"]
    line = guarded(
        *(".", "env", *(["TPU_NAME=gan", "TPU_LOAD_LIBRARY=0"] if pod else [])),
        *("gan/bin/python", "-m", "trainer.main", *BUCKET, "--gin_file=hardware/tpu.gin"),
        *(["--gin_param=tpu.name='gan'"] if pod else []),
    )
    delete = [*gcloud, "delete", *on, "--quiet"]
    expected = [
        [*gcloud, "create", *on, "--accelerator-type=v3-32", f"--version={version}"],
        [*ssh, "--command=true"],
        [*gcloud, "scp", str(wheel), "gan:", "--zone=z", "--worker=0"],
        [*ssh, f"--command={INSTALL}'./{wheel.name}[tpu]'"],
        [*ssh, f"--command={line}"],
        delete,
    ]
    out = launch("tpu_vm", "--dry_run", *flags, f"--wheel={wheel}", "--", *BUCKET)
    promise = f"What is created now is paid for until: {shlex.join(delete)}\n"
    assert out == promise + printed(*expected)


def _message(required, **properties):
    return {
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }


_STRING, _COUNT = {"type": "string", "minLength": 1}, {"type": "integer", "minimum": 1}
# The part of aiplatform v1's CustomJobSpec that a job here may use, written down from the message
# in google-cloud-aiplatform 2.7.0, which is too large (300 MB) to be installed for this.
CUSTOM_JOB_SPEC = _message(
    ["workerPoolSpecs"],
    workerPoolSpecs={
        "type": "array",
        "items": _message(
            ["machineSpec", "replicaCount", "containerSpec"],
            replicaCount=_COUNT,
            machineSpec=_message(
                ["machineType"],
                machineType=_STRING,
                acceleratorType={"enum": ["NVIDIA_L4", "NVIDIA_TESLA_T4", "NVIDIA_H100_80GB"]},
                acceleratorCount=_COUNT,
            ),
            containerSpec=_message(
                ["imageUri"], imageUri=_STRING, args={"type": "array", "items": _STRING}
            ),
        ),
    },
    scheduling=_message(
        ["timeout"],
        timeout={"type": "string", "pattern": "^[0-9]+s$"},
        restartJobOnWorkerRestart={"type": "boolean"},
        strategy={"enum": ["STANDARD", "SPOT", "FLEX_START"]},
    ),
)


@pytest.mark.parametrize("machines", [1, 3])
def test_a_vertex_job(machines):
    flags = ["--name=my-gan", "--region=r", "--image=i:gpu", f"--num_machines={machines}", "--spot"]
    out = launch("vertex", "--dry_run", *flags, "--", *BUCKET)
    path, _, rest = out.partition(":\n")
    content, _, command = rest.partition("\n+ ")
    spec = json.loads(content)
    jsonschema.validate(spec, CUSTOM_JOB_SPEC)
    counts = [pool["replicaCount"] for pool in spec["workerPoolSpecs"]]
    assert counts == ([1] if machines == 1 else [1, 2])
    cluster = ["--gin_file=hardware/multi_worker.gin"] if machines > 1 else []
    for pool in spec["workerPoolSpecs"]:
        assert pool["containerSpec"]["args"] == [*BUCKET, *cluster]
    assert spec["scheduling"] == {
        "timeout": "86400s",
        "restartJobOnWorkerRestart": machines > 1,
        "strategy": "SPOT",
    }
    create = ["gcloud", "ai", "custom-jobs", "create", "--region=r", "--display-name=my-gan"]
    assert shlex.split(command) == [*create, f"--config={path}"]
    assert not Path(path).exists()


@pytest.mark.parametrize("version", ["1.33", "1.37"])
@pytest.mark.parametrize("workers", [1, 3])
def test_a_kubernetes_job(version, workers):
    """Against the API's own published schemas; unknown fields are errors."""
    flags = ["--name=gan", "--image=i:gpu", f"--workers={workers}", "--namespace=n", "--claim=disk"]
    arguments = ["--gin_file=mnist.gin", "--model_dir=/shared/runs"]
    out = launch("kubernetes_job", "--dry_run", *flags, "--", *arguments)
    delete, apply, *lines, end, _ = out.split("\n")
    assert delete == (
        "+ kubectl --namespace=n delete job gan --ignore-not-found --cascade=foreground"
    )
    assert (apply, end) == ("+ kubectl --namespace=n apply --filename=- <<'END'", "END")
    service, job = json.loads("\n".join(lines))["items"]
    for manifest in (service, job):
        kubernetes_validate.validate(manifest, version, strict=True)
    pod = job["spec"]["template"]
    assert service["spec"]["selector"] == pod["metadata"]["labels"]
    assert service["metadata"]["name"] == pod["spec"]["subdomain"]
    assert job["spec"]["completions"] == job["spec"]["parallelism"] == workers
    (container,) = pod["spec"]["containers"]
    mounted = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    assert mounted == {"shm": "/dev/shm", "shared": "/shared"}
    if workers == 1:
        assert container["args"] == arguments and not container["env"]
        return
    assert container["args"] == [*arguments, "--gin_file=hardware/multi_worker.gin"]
    assert [variable["name"] for variable in container["env"]] == ["INDEX", "TF_CONFIG"]


def test_kubernetes_puts_the_index_of_each_pod_into_tf_config(monkeypatch):
    """As kubelet does: $(NAME) of a variable that stands before."""
    out = launch(
        *("kubernetes_job", "--dry_run", "--name=gan", "--image=i", "--workers=2", "--", *BUCKET)
    )
    job = json.loads(out.partition("<<'END'\n")[2].removesuffix("END\n"))["items"][1]
    _, variable = job["spec"]["template"]["spec"]["containers"][0]["env"]
    for index in range(2):
        monkeypatch.setenv("TF_CONFIG", variable["value"].replace("$(INDEX)", str(index)))
        resolver = tf.distribute.cluster_resolver.TFConfigClusterResolver()
        assert (resolver.task_type, resolver.task_id) == ("worker", index)
        assert resolver.cluster_spec().as_dict() == {"worker": ["gan-0.gan:2222", "gan-1.gan:2222"]}


def test_slurm_prints_its_command():
    arguments = ["--gin_file=mnist.gin", "--model_dir=/shared/my runs"]
    done = subprocess.run(
        ["bash", SLURM, *arguments],
        env=os.environ | {"DRY_RUN": "1", "PYTHON": ".venv/bin/python"},
        capture_output=True,
        text=True,
    )
    command = "srun --kill-on-bad-exit=0 .venv/bin/python -m trainer.main".split()
    expected = [*command, *arguments, "--gin_file=hardware/slurm.gin"]
    assert done.stdout.startswith("+ ") and shlex.split(done.stdout[2:]) == expected


WHOLE = {
    "ssh": ["--hosts=a"],
    "gce": ["--name=n", "--zone=z", f"--wheel={__file__}"],
    "tpu_vm": [
        "--name=n",
        "--zone=z",
        "--version=v",
        "--accelerator_type=t",
        f"--wheel={__file__}",
    ],
    "vertex": ["--name=n", "--region=r", "--image=i"],
    "kubernetes_job": ["--name=n", "--image=i"],
}


@pytest.mark.parametrize("name", WHOLE)
def test_every_needed_flag_is_asked_for(name):
    for left_out in WHOLE[name]:
        flags = [flag for flag in WHOLE[name] if flag != left_out]
        out = launch(name, "--dry_run", *flags, "--", *BUCKET, code=1)
        (line,) = out.splitlines()
        assert line.startswith("error: ") and left_out.split("=")[0] in line


REFUSED = {
    "no model_dir": ("ssh", ["--hosts=a"], [], "no --model_dir=DIR after"),
    "twice": ("ssh", ["--hosts=a,b@a"], BUCKET, "must name hosts, each of them once"),
    "no bucket": ("gce", [], ["--model_dir=/x"], "--model_dir=/x must be in a bucket"),
    "no wheel": (
        "gce",
        [*WHOLE["gce"], "--wheel=/no"],
        BUCKET,
        "--wheel=/no does not exist; make it",
    ),
    "name": ("kubernetes_job", ["--name=A", "--image=i"], BUCKET, "--name=A must be lower-case"),
    "no disk": ("kubernetes_job", [], ["--model_dir=/x"], "--model_dir=/x must be in a bucket"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_work_is_refused_in_one_line(case):
    name, flags, arguments, expected = REFUSED[case]
    (line,) = launch(name, "--dry_run", *flags, "--", *arguments, code=1).splitlines()
    assert line.startswith("error: ") and expected in line


# gcloud is not here. This stands in for it, and notes what it was asked; it can fail, or take long.
GCLOUD = """#!/usr/bin/env bash
printf '%s\\n' "$*" | head -n 1 >> "$LOG"
case "$*" in *"$FAILS"*) exit 9 ;; *"$HANGS"*) exec sleep 60 ;; esac
"""


@pytest.fixture
def stand_in(tmp_path, wheel):
    """(start, asked): starts gce.py with a gcloud that fails or hangs at some step."""
    (tmp_path / "gcloud").write_text(GCLOUD)
    (tmp_path / "gcloud").chmod(0o755)

    def start(fails="?", hangs="?"):
        return subprocess.Popen(
            [
                *(sys.executable, LAUNCH / "gce.py", "--name=n", "--zone=z", f"--wheel={wheel}"),
                *("--max_restarts=0", "--grace=1", "--", *BUCKET),
            ],
            env=os.environ
            | {"PATH": f"{tmp_path}:{os.environ['PATH']}", "LOG": str(tmp_path / "log")}
            | {"FAILS": fails, "HANGS": hangs},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def asked():
        log = tmp_path / "log"
        return [line.split()[:3] for line in log.read_text().splitlines()] if log.exists() else []

    return start, asked


DELETE = ["compute", "instances", "delete"]


@pytest.mark.parametrize("fails", ["?", "scp", "uv pip", "trainer.main"])
def test_vms_are_given_back_whatever_fails(stand_in, fails):
    start, asked = stand_in
    launcher = start(fails=fails)
    out, _ = launcher.communicate(timeout=60)
    assert launcher.returncode == {"?": 0, "trainer.main": 9}.get(fails, 1), out
    assert asked()[0] == ["compute", "instances", "create"] and asked()[-1] == DELETE
    assert "Traceback" not in out and "STILL PAID FOR" not in out


@pytest.mark.parametrize(
    "hangs", ["create", "uv pip", pytest.param("trainer.main", marks=pytest.mark.slow)]
)
def test_vms_are_given_back_after_ctrl_c(stand_in, hangs):
    start, asked = stand_in
    launcher = start(hangs=hangs)
    steps = {"create": 1, "uv pip": 4, "trainer.main": 5}[hangs]
    deadline = time.monotonic() + 60
    while len(asked()) < steps:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    launcher.send_signal(signal.SIGINT)
    out, _ = launcher.communicate(timeout=60)
    assert launcher.returncode == 130, out
    assert asked()[-1] == DELETE and "Traceback" not in out


def test_vms_that_were_there_before_are_left_and_named(stand_in):
    start, asked = stand_in
    launcher = start(fails="create")
    out, _ = launcher.communicate(timeout=60)
    assert launcher.returncode == 1 and len(asked()) == 1
    assert "To give back what is there: gcloud compute instances delete n-0" in out


def test_vms_that_cannot_be_given_back_are_named(stand_in):
    start, _ = stand_in
    launcher = start(fails="delete")
    out, _ = launcher.communicate(timeout=60)
    assert "error: STILL PAID FOR, since that failed. Run: gcloud compute instances delete" in out


def test_a_missing_tool_is_one_line(wheel, tmp_path):
    flags = ["--name=n", "--zone=z", f"--wheel={wheel}"]
    out = launch("gce", *flags, "--", *BUCKET, code=1, PATH=str(tmp_path))
    assert out == "error: gcloud is not installed here, or not in PATH\n"


GOOGLE = {
    "gce": [*WHOLE["gce"], "--spot", "--accelerator=type=nvidia-tesla-t4,count=4"],
    "tpu_vm": [*WHOLE["tpu_vm"], "--spot"],
    "vertex": ["--name=n", "--region=us-central1", "--image=i"],
}


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("gcloud"), reason="gcloud (Google Cloud CLI) is not installed")
@pytest.mark.parametrize("name", GOOGLE)
def test_gcloud_itself_understands_the_commands(tmp_path, name):
    """Its parser accepts them; without an account, it ends there."""
    nobody = {"HOME": str(tmp_path), "CLOUDSDK_CONFIG": str(tmp_path)}
    nobody |= {"CLOUDSDK_CORE_PROJECT": "nobody", "CLOUDSDK_CORE_CHECK_GCE_METADATA": "false"}
    out = launch(name, "--dry_run", *GOOGLE[name], "--", *BUCKET)
    if name == "vertex":
        path, _, rest = out.partition(":\n")
        (tmp_path / "job.json").write_text(rest.partition("\n+ ")[0])
        out = out.replace(path, str(tmp_path / "job.json"))
    commands = [x for x in shlex.split(out.replace("\n+ gcloud", " ;; gcloud")) if x]
    tried = 0
    while ";;" in commands:
        commands = commands[commands.index(";;") + 1 :]
        end = commands.index(";;") if ";;" in commands else len(commands)
        done = subprocess.run(
            commands[:end],
            env=os.environ | nobody,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        assert "You do not currently have an active account" in done.stderr, done.stderr
        tried += 1
    assert tried == {"gce": 6, "tpu_vm": 6, "vertex": 1}[name]
