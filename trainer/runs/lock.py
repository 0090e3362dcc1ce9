"""One trainer at a time in a model_dir."""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
from collections.abc import Iterator

from trainer.errors import TrainerError

FILE_NAME = "lock"


@contextlib.contextmanager
def held(model_dir: str) -> Iterator[None]:
    """Holds `model_dir` for this process, which the kernel ends with the process.

    Object stores such as gs:// have no locks, and there it does nothing.

    Raises:
      TrainerError: if another process holds it, naming that process.
    """
    if "://" in model_dir:
        yield
        return
    with open(f"{model_dir}/{FILE_NAME}", "a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            raise TrainerError(
                f"--model_dir={model_dir} is in use by {file.read().strip() or 'another trainer'}; "
                "stop that one first, or choose another --model_dir"
            ) from error
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}")
        file.flush()
        yield
