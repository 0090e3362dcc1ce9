"""Several processes on one or more machines: TF_CONFIG, CPU cores and free ports."""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import Sequence


def tf_config(addresses: Sequence[str], index: int | str) -> str:
    """TF_CONFIG of worker `index` in a cluster of workers, for `strategy.multi_worker`.

    Args:
      addresses: "host:port" of every worker.
      index: Position of this worker in `addresses`, or a placeholder that becomes a number.
    """
    task = {"type": "worker", "index": index}
    return json.dumps({"cluster": {"worker": list(addresses)}, "task": task})


def cores(index: int, count: int) -> list[int]:
    """The CPU cores for process `index` of `count`, out of those that this process may use.

    No list is empty; the lists are disjoint if there are at least `count` cores.
    """
    ours = sorted(os.sched_getaffinity(0))
    return ours[index::count] or [ours[index % len(ours)]]


def free_ports(count: int) -> list[int]:
    """`count` different ports of the loopback interface on which nothing listens now."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("localhost", 0))
        return [each.getsockname()[1] for each in sockets]
