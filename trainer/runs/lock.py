"""One process at a time that trains in a model_dir, or that writes an evaluation there."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
from collections.abc import Iterator
from typing import IO

from absl import logging

from trainer import files
from trainer.errors import TrainerError

FILE_NAME = "lock"
_NO_LOCKS = (errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK)
"""What file systems without flock answer."""


@contextlib.contextmanager
def held(model_dir: str, *, name: str = FILE_NAME, wait: bool = False) -> Iterator[None]:
    """Locks `model_dir` within the block. The kernel releases the lock when the process exits.

    Object stores such as gs:// have no locks, so a remote directory is not locked; neither is one
    on a file system without locks, which is logged.

    Args:
      model_dir: Directory of the run.
      name: Name of the lock's file there.
      wait: Wait for another process that holds it, instead of refusing.

    Raises:
      TrainerError: if another process holds the lock, naming that process.
    """
    if files.is_remote(model_dir):
        yield
        return
    with _opened(f"{model_dir}/{name}") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError as error:
            raise TrainerError(
                f"--model_dir={model_dir} is in use by {file.read().strip() or 'another trainer'}; "
                "stop that one first, or choose another --model_dir"
            ) from error
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
            logging.warning(
                "%s is on a file system without locks (%s): let no other process train there",
                model_dir,
                error.strerror,
            )
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}")
        file.flush()
        yield


def _opened(path: str) -> IO[str]:
    """Opens a file for reading and writing. A symbolic link there is replaced, not followed."""
    if os.path.islink(path):
        os.remove(path)
    return os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666), "r+")
