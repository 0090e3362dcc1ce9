from __future__ import annotations

import pytest

from trainer.errors import TrainerError
from trainer.tools.tpu_check.roofline import Chip, chip, roofline

TOY = Chip("toy", flops=100.0, memory=1e9, bandwidth=10.0, interconnect=5.0)
LITTLE = {"flops": 1.0, "bytes_accessed": 1.0, "all_reduced": 0.0}


@pytest.mark.parametrize(
    ("work", "seconds", "limit"),
    [
        ({"flops": 300.0}, 3.0, "compute"),
        ({"bytes_accessed": 70.0}, 7.0, "memory"),
        ({"all_reduced": 40.0}, 12.0, "interconnect"),  # 40 * 2 * 3/4 / 5
    ],
)
def test_the_slowest_limit_is_the_step(work, seconds, limit):
    least = roofline(TOY, cores=1, replicas=4, **(LITTLE | work))
    assert (least.step, least.limit) == (pytest.approx(seconds), limit)


def test_cores_share_their_chip():
    one, two = (roofline(TOY, cores=n, replicas=4, **LITTLE) for n in (1, 2))
    assert two.compute == 2 * one.compute and two.memory == 2 * one.memory


def test_one_replica_sends_nothing():
    assert roofline(TOY, cores=1, replicas=1, **(LITTLE | {"all_reduced": 9.0})).interconnect == 0


def test_an_unknown_chip_names_the_known_ones():
    assert chip("TPU v5 lite").name == "v5e"
    with pytest.raises(TrainerError, match=r"'TPU v99' .*TPU v6 lite"):
        chip("TPU v99")
