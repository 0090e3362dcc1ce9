"""Trains as an Indexed Job of Kubernetes, in the image of scripts/docker/Dockerfile.

    python scripts/launch/kubernetes_job.py --name=gan --image=REGISTRY/gan-trainer:gpu \\
        --workers=2 -- --gin_file=mnist.gin --model_dir=gs://BUCKET/runs/mnist

A headless Service gives every pod a name that the others know, and the pod's index makes its
TF_CONFIG. Evicted, preempted and left-over pods are replaced and resume; a pod that refuses its
command ends the Job. The same command, later, stops what still runs and resumes.
"""

from __future__ import annotations

import json
import re
import shlex
import subprocess

import cluster
from absl import app, flags

from trainer.distributed.cluster import tf_config
from trainer.errors import LOST_PEER

NAME = flags.DEFINE_string("name", "", "What the Job and its Service are called.")
IMAGE = flags.DEFINE_string("image", "", "The image, in a registry that the cluster may read.")
WORKERS = flags.DEFINE_integer("workers", 1, "How many pods.", lower_bound=1)
GPUS = flags.DEFINE_integer("gpus", 1, "NVIDIA GPUs of each pod.", lower_bound=0)
CLAIM = flags.DEFINE_string(
    "claim", None, "A PersistentVolumeClaim that all pods may write, mounted at /shared."
)
NAMESPACE = flags.DEFINE_string("namespace", "default", "Namespace of Kubernetes.")

_PORT = 2222
_LABEL = r"[a-z]([-a-z0-9]{0,50}[a-z0-9])?"  # of DNS, with room for a pod's index


def main(argv: list[str]) -> int:
    """Returns kubectl's exit code."""
    arguments = cluster.trainer_arguments(argv, bucket=not CLAIM.value)
    cluster.require(name=NAME.value, image=IMAGE.value)
    if not re.fullmatch(_LABEL, NAME.value):
        cluster.fail(f"--name={NAME.value} must be lower-case letters, digits and -, 52 at most")
    kubectl = ["kubectl", f"--namespace={NAMESPACE.value}"]
    delete = [*kubectl, "delete", "job", NAME.value, "--ignore-not-found", "--cascade=foreground"]
    manifest = json.dumps(
        {"apiVersion": "v1", "kind": "List", "items": [service(), job(arguments)]}, indent=2
    )
    apply = [*kubectl, "apply", "--filename=-"]
    cluster.run_or_fail(delete)
    cluster.say(f"+ {shlex.join(apply)} <<'END'\n{manifest}\nEND")
    if cluster.DRY_RUN.value:
        return 0
    code = subprocess.run(apply, input=manifest, text=True).returncode
    if code == 0:
        logs = shlex.join([*kubectl, "logs", f"--selector=app={NAME.value}", "--prefix", "-f"])
        cluster.say(f"It runs until it ends or until: {shlex.join(delete)}. Its lines: {logs}")
    return code


def service() -> dict[str, object]:
    """Names for the pods, before they are ready: they are once all have found each other."""
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
    """The Job: which ends of a pod count, and which end all."""
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": NAME.value},
        "spec": {
            "completionMode": "Indexed",
            "completions": WORKERS.value,
            "parallelism": WORKERS.value,
            "backoffLimit": cluster.MAX_RESTARTS.value,
            "podFailurePolicy": {
                "rules": [
                    {"action": "FailJob", "onExitCodes": {"operator": "In", "values": [1, 2]}},
                    {
                        "action": "Ignore",
                        "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}],
                    },
                    # Stopped, or left over by another that is counted.
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
        "args": [*arguments, *([cluster.MULTI_WORKER] if several else [])],
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
        "terminationGracePeriodSeconds": int(cluster.GRACE.value),
        "securityContext": {"fsGroup": 1000},  # the image's user, who writes to the claim
        "containers": [container],
        "volumes": list(volumes.values()),
    }


def _environment() -> list[dict[str, object]]:
    """TF_CONFIG, into which Kubernetes itself puts the index of the pod."""
    addresses = [f"{NAME.value}-{i}.{NAME.value}:{_PORT}" for i in range(WORKERS.value)]
    config = tf_config(addresses, "$(INDEX)")
    annotation = "metadata.annotations['batch.kubernetes.io/job-completion-index']"
    return [
        {"name": "INDEX", "valueFrom": {"fieldRef": {"fieldPath": annotation}}},
        {"name": "TF_CONFIG", "value": config.replace('"$(INDEX)"', "$(INDEX)")},
    ]


if __name__ == "__main__":
    app.run(main)
