"""Trains on a Cloud TPU VM, made for the run and deleted after it.

    pip wheel --no-deps --wheel-dir=dist .
    python scripts/launch/tpu_vm.py --name=gan --zone=us-central1-b --accelerator_type=v2-8 \\
        --version=tpu-ubuntu2204-base --wheel=dist/NAME.whl -- \\
        --gin_file=mnist.gin --model_dir=gs://BUCKET/runs/mnist

A version with "-pod" in its name makes a slice of several hosts; the trainer runs on the first and
drives the others' chips by way of the TPU runtime there. The same command resumes: the run is in
the bucket. Ctrl-C saves, stops and deletes.
"""

from __future__ import annotations

from pathlib import Path

import cluster
import remote
from absl import app, flags

NAME = flags.DEFINE_string("name", "", "What the TPU is called.")
ZONE = flags.DEFINE_string("zone", "", "Zone, such as us-central1-b.")
TYPE = flags.DEFINE_string("accelerator_type", "", "Such as v2-8, v5litepod-8 or v3-32.")
VERSION = flags.DEFINE_string(
    "version", "", "Software: tpu-ubuntu2204-base, or tpu-vm-tf-X.Y.Z-pod-pjrt for several hosts."
)
WHEEL = flags.DEFINE_string("wheel", "", "The wheel of this package to install.")
SPOT = flags.DEFINE_bool("spot", False, "A cheaper TPU that Google may take back at any time.")


def main(argv: list[str]) -> int:
    """Returns the trainer's exit code."""
    arguments = cluster.trainer_arguments(argv, bucket=True)
    cluster.require(
        name=NAME.value,
        zone=ZONE.value,
        accelerator_type=TYPE.value,
        version=VERSION.value,
        wheel=WHEEL.value,
    )
    cluster.require_file("wheel", WHEEL.value)
    arguments.append("--gin_file=hardware/tpu.gin")
    environment = {}
    if "-pod" in VERSION.value:  # the chips are the runtime's, not this process's
        environment = {"TPU_NAME": NAME.value, "TPU_LOAD_LIBRARY": "0"}
        arguments.append(f"--gin_param=tpu.name='{NAME.value}'")
    tpu_vm = ["gcloud", "compute", "tpus", "tpu-vm"]
    zone = f"--zone={ZONE.value}"
    create = [*tpu_vm, "create", NAME.value, zone, f"--accelerator-type={TYPE.value}"]
    create += [f"--version={VERSION.value}", *(["--spot"] if SPOT.value else [])]

    def on_first(line: str) -> list[str]:
        return [*tpu_vm, "ssh", NAME.value, zone, "--worker=0", f"--command={line}"]

    with cluster.rented(create, [*tpu_vm, "delete", NAME.value, zone, "--quiet"]):
        cluster.until_ready(on_first("true"))
        scp = [*tpu_vm, "scp", WHEEL.value, f"{NAME.value}:", zone, "--worker=0"]
        cluster.run_or_fail(scp)
        cluster.run_or_fail(on_first(cluster.install(Path(WHEEL.value).name, "tpu")))
        line = remote.guarded(cluster.INSTALLED_PYTHON, arguments, environment)
        return remote.supervise([on_first(line)])


if __name__ == "__main__":
    app.run(main)
