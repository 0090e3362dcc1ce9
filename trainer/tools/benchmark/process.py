"""One loop in a process of its own, which trains on request.

    python -m trainer.tools.benchmark.process NAME PROBLEM.npz

It writes {"losses": [d, g]} when it is ready. For each number n on standard input, it trains n
steps and writes {"seconds": s, "peak_bytes": b}.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time

from trainer.tools.benchmark.cases import CASES


def main(name: str, path: str) -> None:
    """Serves requests from standard input until it ends."""
    output = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what libraries print must not reach the parent
    case = CASES[name]
    if case.as_tensorflow_comes:
        os.environ.pop("TF_ENABLE_ONEDNN_OPTS", None)  # before TensorFlow is imported
    from trainer.tools.benchmark.problem import Problem

    loop = case.make(Problem.load(path))
    print(json.dumps({"losses": loop.first_losses}), file=output)
    for line in sys.stdin:
        start = time.perf_counter()
        loop.run(int(line))
        seconds = time.perf_counter() - start
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        print(json.dumps({"seconds": seconds, "peak_bytes": peak}), file=output)


if __name__ == "__main__":
    main(*sys.argv[1:])
