"""Trains on Google Compute Engine: VMs with GPUs, created and deleted by it.

  pip wheel --no-deps --wheel-dir=dist .
  python scripts/launch/gce.py --name=gan --zone=us-central1-a \\
      --wheel=dist/NAME.whl -- \\
      --gin_file=mnist.gin --model_dir=gs://BUCKET/runs/mnist

One VM trains with all its GPUs; several (--num_vms) form a cluster over their
internal network. The same command resumes, since the run is in the bucket.
Ctrl-C saves, stops and deletes the VMs. If this process is killed, the VMs save
and idle, and Google deletes them after --max_hours.
"""

from __future__ import annotations

from absl import flags

from trainer.tools import command_line
from trainer.tools.launch import command, machines, remote

NAME = flags.DEFINE_string("name", "", "Name of the VMs, which become NAME-0, NAME-1, ...")
ZONE = flags.DEFINE_string("zone", "", "Zone, such as us-central1-a.")
WHEEL = flags.DEFINE_string("wheel", "", "Path of the wheel of this package to install.")
NUM_VMS = flags.DEFINE_integer("num_vms", 1, "Number of VMs.", lower_bound=1)
MACHINE_TYPE = flags.DEFINE_string(
    "machine_type", "g2-standard-8", "Machine type; g2-standard-8 has one NVIDIA L4."
)
ACCELERATOR = flags.DEFINE_string(
    "accelerator", None, 'GPUs of an N1 machine, such as "type=nvidia-tesla-t4,count=4".'
)
IMAGE = flags.DEFINE_string(
    "image_family",
    "common-cu124-ubuntu-2204",
    "Family of the VMs' image, in the project deeplearning-platform-release.",
)
SPOT = flags.DEFINE_bool("spot", False, "Cheaper VMs that Google may take back at any time.")
MAX_HOURS = flags.DEFINE_integer(
    "max_hours", 24, "Hours after which Google deletes the VMs.", lower_bound=1
)
flags.adopt_module_key_flags(command)


def _launch(arguments: list[str]) -> int:
    """Returns the trainer's exit code."""
    arguments = command.trainer_arguments(arguments, bucket=True)
    command.require(name=NAME.value, zone=ZONE.value, wheel=WHEEL.value)
    command.require_file("wheel", WHEEL.value)
    names = [f"{NAME.value}-{index}" for index in range(NUM_VMS.value)]
    zone = f"--zone={ZONE.value}"
    delete = ["gcloud", "compute", "instances", "delete", *names, zone, "--quiet"]

    def connect(index: int, line: str) -> list[str]:
        return ["gcloud", "compute", "ssh", names[index], zone, f"--command={line}"]

    with machines.rented(_create(names), delete):
        for index, name in enumerate(names):
            # The image installs the driver when it first starts.
            machines.until_ready(connect(index, "nvidia-smi"))
            command.run_or_fail(["gcloud", "compute", "scp", WHEEL.value, f"{name}:", zone])
            command.run_or_fail(connect(index, machines.install_line(WHEEL.value, "gpu")))
        addresses = [f"{name}:2222" for name in names]
        return remote.train(connect, addresses, machines.INSTALLED_PYTHON, arguments)


def _create(names: list[str]) -> list[str]:
    return [
        *("gcloud", "compute", "instances", "create", *names),
        f"--zone={ZONE.value}",
        f"--machine-type={MACHINE_TYPE.value}",
        *([f"--accelerator={ACCELERATOR.value}"] if ACCELERATOR.value else []),
        f"--image-family={IMAGE.value}",
        "--image-project=deeplearning-platform-release",
        "--metadata=install-nvidia-driver=True",
        "--boot-disk-size=100GB",
        "--maintenance-policy=TERMINATE",
        "--scopes=cloud-platform",
        *(["--provisioning-model=SPOT"] if SPOT.value else []),
        f"--max-run-duration={MAX_HOURS.value}h",
        "--instance-termination-action=DELETE",
    ]


if __name__ == "__main__":
    command_line.run(_launch, doc=__doc__, interrupted="Stopped.", passes_on=True)
