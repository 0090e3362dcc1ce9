"""Trains as an Indexed Job of Kubernetes, in the image that scripts/docker makes.

  python scripts/launch/kubernetes_job.py --name=gan \\
      --image=REGISTRY/gan-trainer:gpu --workers=2 -- \\
      --gin_file=mnist.gin --model_dir=gs://BUCKET/runs/mnist

A headless Service gives each pod a name that the others know, and the pod's
index completes its TF_CONFIG. Pods that were evicted, preempted or lost a peer
are replaced and resume; a pod that refuses its command ends the Job. The same
command, later, stops what still runs and resumes.
"""

from __future__ import annotations

import json
import re
import shlex
import subprocess

from absl import flags

from trainer.distributed.cluster import tf_config
from trainer.errors import LOST_PEER, TrainerError
from trainer.tools import command_line
from trainer.tools.launch import command

NAME = flags.DEFINE_string("name", "", "Name of the Job and its Service.")
IMAGE = flags.DEFINE_string("image", "", "Image, in a registry that the cluster can read.")
WORKERS = flags.DEFINE_integer("workers", 1, "Number of pods.", lower_bound=1)
GPUS = flags.DEFINE_integer("gpus", 1, "Number of NVIDIA GPUs of each pod.", lower_bound=0)
CLAIM = flags.DEFINE_string(
    "claim", None, "PersistentVolumeClaim that all pods can write to, mounted at /shared."
)
NAMESPACE = flags.DEFINE_string("namespace", "default", "Kubernetes namespace.")

_PORT = 2222
_LABEL = r"[a-z]([-a-z0-9]{0,50}[a-z0-9])?"  # a DNS label, with room for a pod's index
flags.adopt_module_key_flags(command)


def _launch(arguments: list[str]) -> int:
    """Returns kubectl's exit code."""
    arguments = command.trainer_arguments(arguments, bucket=not CLAIM.value)
    command.require(name=NAME.value, image=IMAGE.value)
    if not re.fullmatch(_LABEL, NAME.value):
        raise TrainerError(
            f"--name={NAME.value} must be lower-case letters, digits and -, 52 at most"
        )
    kubectl = ["kubectl", f"--namespace={NAMESPACE.value}"]
    delete = [*kubectl, "delete", "job", NAME.value, "--ignore-not-found", "--cascade=foreground"]
    manifest = json.dumps(
        {"apiVersion": "v1", "kind": "List", "items": [service(), job(arguments)]}, indent=2
    )
    apply = [*kubectl, "apply", "--filename=-"]
    command.run_or_fail(delete)
    command.say(f"+ {shlex.join(apply)} <<'END'\n{manifest}\nEND")
    if command.DRY_RUN.value:
        return 0
    code = subprocess.run(apply, input=manifest, text=True).returncode
    if code == 0:
        logs = shlex.join([*kubectl, "logs", f"--selector=app={NAME.value}", "--prefix", "-f"])
        command.say(f"It runs until it ends or until: {shlex.join(delete)}. Its lines: {logs}")
    return code


def service() -> dict[str, object]:
    """The headless Service; it names pods that are not ready, since they must meet before."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": NAME.value},
        "spec": {
            "clusterIP": "None",
            "selector": {"app": NAME.value},
            "ports": [{"port": _PORT}],
            "publishNotReadyAddresses": True,
        },
    }


def job(arguments: list[str]) -> dict[str, object]:
    """The Job, with the rules for which ends of a pod count towards --max_restarts or end it."""
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": NAME.value},
        "spec": {
            "completionMode": "Indexed",
            "completions": WORKERS.value,
            "parallelism": WORKERS.value,
            "backoffLimit": command.MAX_RESTARTS.value,
            "podFailurePolicy": {
                "rules": [
                    {"action": "FailJob", "onExitCodes": {"operator": "In", "values": [1, 2]}},
                    {
                        "action": "Ignore",
                        "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}],
                    },
                    # Stopped, or left behind by a pod that is counted.
                    {
                        "action": "Ignore",
                        "onExitCodes": {"operator": "In", "values": [LOST_PEER, 143]},
                    },
                ]
            },
            "successPolicy": {"rules": [{"succeededIndexes": "0"}]},  # the chief writes last
            "template": {"metadata": {"labels": {"app": NAME.value}}, "spec": _pod(arguments)},
        },
    }


def _pod(arguments: list[str]) -> dict[str, object]:
    several = WORKERS.value > 1
    container: dict[str, object] = {
        "name": "trainer",
        "image": IMAGE.value,
        "args": [*arguments, *([command.MULTI_WORKER] if several else [])],
        "env": _environment() if several else [],
        "ports": [{"containerPort": _PORT}],
    }
    volumes = {}
    if GPUS.value:
        container["resources"] = {"limits": {"nvidia.com/gpu": GPUS.value}}
        volumes["/dev/shm"] = {"name": "shm", "emptyDir": {"medium": "Memory"}}  # for NCCL
    if CLAIM.value:
        claim = {"claimName": CLAIM.value}
        volumes["/shared"] = {"name": "shared", "persistentVolumeClaim": claim}
    container["volumeMounts"] = [
        {"name": volume["name"], "mountPath": path} for path, volume in volumes.items()
    ]
    return {
        "restartPolicy": "Never",
        "subdomain": NAME.value,
        "terminationGracePeriodSeconds": int(command.GRACE.value),
        "securityContext": {"fsGroup": 1000},  # the image's user, who writes to the claim
        "containers": [container],
        "volumes": list(volumes.values()),
    }


def _environment() -> list[dict[str, object]]:
    """TF_CONFIG, which Kubernetes completes with the pod's index."""
    addresses = [f"{NAME.value}-{i}.{NAME.value}:{_PORT}" for i in range(WORKERS.value)]
    config = tf_config(addresses, "$(INDEX)")
    annotation = "metadata.annotations['batch.kubernetes.io/job-completion-index']"
    return [
        {"name": "INDEX", "valueFrom": {"fieldRef": {"fieldPath": annotation}}},
        {"name": "TF_CONFIG", "value": config.replace('"$(INDEX)"', "$(INDEX)")},
    ]


if __name__ == "__main__":
    command_line.run(_launch, doc=__doc__, interrupted="Stopped.", passes_on=True)
