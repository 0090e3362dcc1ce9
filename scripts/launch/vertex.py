"""Trains as a Vertex AI custom job, in the image of scripts/docker/Dockerfile.

    python scripts/launch/vertex.py --name=gan --region=us-central1 \\
        --image=REGISTRY/gan-trainer:gpu -- --gin_file=mnist.gin --model_dir=gs://BUCKET/runs/mnist

Vertex AI makes the machines, sets TF_CONFIG on them where they are several, starts all again when
one was lost, and takes the machines away at the end or after --max_hours. This program only hands
the job in. The same command resumes, as a new job.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import cluster
from absl import app, flags

NAME = flags.DEFINE_string("name", "", "What the job is called.")
REGION = flags.DEFINE_string("region", "", "Region, such as us-central1.")
IMAGE = flags.DEFINE_string("image", "", "The image, in a registry that Vertex AI may read.")
NUM_MACHINES = flags.DEFINE_integer("num_machines", 1, "How many machines.", lower_bound=1)
MACHINE_TYPE = flags.DEFINE_string("machine_type", "g2-standard-8", "Type of each machine.")
ACCELERATOR = flags.DEFINE_string("accelerator_type", "NVIDIA_L4", "Its GPUs.")
COUNT = flags.DEFINE_integer("accelerator_count", 1, "GPUs of each machine.", lower_bound=0)
SPOT = flags.DEFINE_bool("spot", False, "Cheaper machines that Google may take back at any time.")
MAX_HOURS = flags.DEFINE_integer("max_hours", 24, "Life of the job at most.", lower_bound=1)


def main(argv: list[str]) -> int:
    """Returns gcloud's exit code."""
    arguments = cluster.trainer_arguments(argv, bucket=True)
    cluster.require(name=NAME.value, region=REGION.value, image=IMAGE.value)
    path = Path(tempfile.gettempdir()) / f"{NAME.value}.vertex.json"
    content = json.dumps(job_spec(arguments), indent=2)
    cluster.say(f"{path}:\n{content}")
    if not cluster.DRY_RUN.value:
        path.write_text(content, encoding="utf-8")
    create = ["gcloud", "ai", "custom-jobs", "create", f"--region={REGION.value}"]
    code = cluster.run([*create, f"--display-name={NAME.value}", f"--config={path}"])
    if code == 0 and not cluster.DRY_RUN.value:
        cluster.say(
            "It is paid for until it ends, or until: gcloud ai custom-jobs cancel JOB "
            f"--region={REGION.value}. Its lines: gcloud ai custom-jobs stream-logs JOB "
            f"--region={REGION.value}"
        )
    return code


def job_spec(arguments: list[str]) -> dict[str, object]:
    """A CustomJobSpec: the chief's pool of one machine and, for several, the workers'."""
    several = NUM_MACHINES.value > 1
    machine: dict[str, object] = {"machineType": MACHINE_TYPE.value}
    if COUNT.value:
        machine |= {"acceleratorType": ACCELERATOR.value, "acceleratorCount": COUNT.value}
    args = [*arguments, *([cluster.MULTI_WORKER] if several else [])]
    counts = [1, NUM_MACHINES.value - 1] if several else [1]
    return {
        "workerPoolSpecs": [
            {
                "machineSpec": machine,
                "replicaCount": count,
                "containerSpec": {"imageUri": IMAGE.value, "args": args},
            }
            for count in counts
        ],
        "scheduling": {
            "timeout": f"{MAX_HOURS.value * 3600}s",
            # A process that comes back alone finds no one to join: the others end, with code 75.
            "restartJobOnWorkerRestart": several,
            **({"strategy": "SPOT"} if SPOT.value else {}),
        },
    }


if __name__ == "__main__":
    app.run(main)
