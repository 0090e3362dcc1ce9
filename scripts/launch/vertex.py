"""Trains as a Vertex AI custom job, in the image that scripts/docker makes.

  python scripts/launch/vertex.py --name=gan --region=us-central1 \\
      --image=REGISTRY/gan-trainer:gpu -- \\
      --gin_file=mnist.gin --model_dir=gs://BUCKET/runs/mnist

Vertex AI creates the machines, sets TF_CONFIG if there are several, restarts
all when one is lost, and deletes them at the end or after --max_hours. This
program only submits the job. The same command resumes the run in a new job.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from absl import flags

from trainer.tools import command_line
from trainer.tools.launch import command

NAME = flags.DEFINE_string("name", "", "Name of the job.")
REGION = flags.DEFINE_string("region", "", "Region, such as us-central1.")
IMAGE = flags.DEFINE_string("image", "", "Image, in a registry that Vertex AI can read.")
NUM_MACHINES = flags.DEFINE_integer("num_machines", 1, "Number of machines.", lower_bound=1)
MACHINE_TYPE = flags.DEFINE_string("machine_type", "g2-standard-8", "Type of each machine.")
ACCELERATOR = flags.DEFINE_string("accelerator_type", "NVIDIA_L4", "Type of each machine's GPUs.")
COUNT = flags.DEFINE_integer(
    "accelerator_count", 1, "Number of GPUs of each machine.", lower_bound=0
)
SPOT = flags.DEFINE_bool("spot", False, "Cheaper machines that Google may take back at any time.")
MAX_HOURS = flags.DEFINE_integer("max_hours", 24, "Hours after which the job ends.", lower_bound=1)
flags.declare_key_flag("dry_run")


def _launch(arguments: list[str]) -> int:
    """Returns gcloud's exit code."""
    arguments = command.trainer_arguments(arguments, bucket=True)
    command.require(name=NAME.value, region=REGION.value, image=IMAGE.value)
    create = ["gcloud", "ai", "custom-jobs", "create", f"--region={REGION.value}"]
    with tempfile.TemporaryDirectory() as directory:  # nobody else can foresee or enter it
        path = Path(directory) / "job.json"
        content = json.dumps(job_spec(arguments), indent=2)
        command.say(f"{path}:\n{content}")
        path.write_text(content, encoding="utf-8")
        code = command.run([*create, f"--display-name={NAME.value}", f"--config={path}"])
    if code == 0 and not command.DRY_RUN.value:
        command.say(
            "It is paid for until it ends, or until: gcloud ai custom-jobs cancel JOB "
            f"--region={REGION.value}. Its lines: gcloud ai custom-jobs stream-logs JOB "
            f"--region={REGION.value}"
        )
    return code


def job_spec(arguments: list[str]) -> dict[str, object]:
    """A CustomJobSpec: a pool of one machine for the chief, and one for any others."""
    several = NUM_MACHINES.value > 1
    machine: dict[str, object] = {"machineType": MACHINE_TYPE.value}
    if COUNT.value:
        machine |= {"acceleratorType": ACCELERATOR.value, "acceleratorCount": COUNT.value}
    args = [*arguments, *([command.MULTI_WORKER] if several else [])]
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
            # A process that restarts alone finds no peers: the others have ended, with code 75.
            "restartJobOnWorkerRestart": several,
            **({"strategy": "SPOT"} if SPOT.value else {}),
        },
    }


if __name__ == "__main__":
    command_line.run(_launch, doc=__doc__, interrupted="Stopped.", passes_on=True)
