"""One training process at a time in a model_dir."""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
from collections.abc import Iterator

from trainer import files
from trainer.errors import TrainerError

FILE_NAME = "lock"


@contextlib.contextmanager
def held(model_dir: str) -> Iterator[None]:
    """Locks `model_dir` within the block. The kernel releases the lock when the process exits.

    It does not wait for another process. Object stores such as gs:// have no locks, so a remote
    directory is not locked.

    Raises:
      TrainerError: if another process holds the lock, naming that process.
    """
    if files.is_remote(model_dir):
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
