"""Trains on a Cloud TPU VM, which it creates and deletes.

  pip wheel --no-deps --wheel-dir=dist .
  python scripts/launch/tpu_vm.py --name=gan --zone=us-central1-b \\
      --accelerator_type=v2-8 --version=tpu-ubuntu2204-base \\
      --wheel=dist/NAME.whl -- \\
      --gin_file=mnist.gin --model_dir=gs://BUCKET/runs/mnist

A version with "-pod" in its name makes a slice of several hosts: the trainer
runs on the first, and uses the others' chips through the TPU runtime there. The
same command resumes, since the run is in the bucket. Ctrl-C saves, stops and
deletes the TPU.
"""

from __future__ import annotations

from absl import flags

from trainer.tools import command_line
from trainer.tools.launch import command, machines, remote

NAME = flags.DEFINE_string("name", "", "Name of the TPU.")
ZONE = flags.DEFINE_string("zone", "", "Zone, such as us-central1-b.")
TYPE = flags.DEFINE_string(
    "accelerator_type", "", "Type of the TPU, such as v2-8, v5litepod-8 or v3-32."
)
VERSION = flags.DEFINE_string(
    "version",
    "",
    "Software version: tpu-ubuntu2204-base, or tpu-vm-tf-X.Y.Z-pod-pjrt for several hosts.",
)
WHEEL = flags.DEFINE_string("wheel", "", "Path of the wheel of this package to install.")
SPOT = flags.DEFINE_bool("spot", False, "A cheaper TPU that Google may take back at any time.")
flags.adopt_module_key_flags(command)


def _launch(arguments: list[str]) -> int:
    """Returns the trainer's exit code."""
    arguments = command.trainer_arguments(arguments, bucket=True)
    command.require(
        name=NAME.value,
        zone=ZONE.value,
        accelerator_type=TYPE.value,
        version=VERSION.value,
        wheel=WHEEL.value,
    )
    command.require_file("wheel", WHEEL.value)
    arguments.append("--gin_file=hardware/tpu.gin")
    environment = {}
    if "-pod" in VERSION.value:  # the TPU runtime owns the chips, not this process
        environment = {"TPU_NAME": NAME.value, "TPU_LOAD_LIBRARY": "0"}
        arguments.append(f"--gin_param=tpu.name='{NAME.value}'")
    tpu_vm = ["gcloud", "compute", "tpus", "tpu-vm"]
    zone = f"--zone={ZONE.value}"
    create = [*tpu_vm, "create", NAME.value, zone, f"--accelerator-type={TYPE.value}"]
    create += [f"--version={VERSION.value}", *(["--spot"] if SPOT.value else [])]

    def on_first(line: str) -> list[str]:
        return [*tpu_vm, "ssh", NAME.value, zone, "--worker=0", f"--command={line}"]

    with machines.rented(create, [*tpu_vm, "delete", NAME.value, zone, "--quiet"]):
        machines.until_ready(on_first("true"))
        scp = [*tpu_vm, "scp", WHEEL.value, f"{NAME.value}:", zone, "--worker=0"]
        command.run_or_fail(scp)
        command.run_or_fail(on_first(machines.install_line(WHEEL.value, "tpu")))
        line = remote.guarded(machines.INSTALLED_PYTHON, arguments, environment)
        return remote.supervise([on_first(line)])


if __name__ == "__main__":
    command_line.run(_launch, doc=__doc__, interrupted="Stopped.", passes_on=True)
