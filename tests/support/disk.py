"""A disk that is full in the middle of a file."""

from __future__ import annotations

import contextlib
import resource


@contextlib.contextmanager
def full_after(num_bytes):
    """Within the block the kernel refuses to let any file of this process grow beyond that."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, limits[1]))  # Python ignores SIGXFSZ
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
