"""Several processes: the cluster that they are, and on one machine their cores and ports."""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import Sequence


def tf_config(addresses: Sequence[str], index: int | str) -> str:
    """TF_CONFIG of one of the workers at these "host:port"s (`strategy.multi_worker`)."""
    task = {"type": "worker", "index": index}
    return json.dumps({"cluster": {"worker": list(addresses)}, "task": task})


def cores(index: int, count: int) -> list[int]:
    """The share of process `index` of `count` in the cores that this one may use.

    The shares are disjoint as long as there are enough cores, and never empty.
    """
    ours = sorted(os.sched_getaffinity(0))
    return ours[index::count] or [ours[index % len(ours)]]


def free_ports(count: int) -> list[int]:
    """Different ports of the loopback interface on which nothing listens."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("localhost", 0))
        return [each.getsockname()[1] for each in sockets]
