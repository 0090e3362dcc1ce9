"""Local and remote (gs://) paths: checks, reading and atomic writing."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from typing import IO

import requests

from trainer.errors import TrainerError, first_line

_GCS = "https://storage.googleapis.com"
_PROBE_SECONDS = 10


def is_remote(path: str) -> bool:
    """Whether a path has a scheme, such as gs://."""
    return "://" in path


def is_file(path: str) -> bool:
    """Whether a local or gs:// file exists; a local path does not import TensorFlow."""
    return is_remote_file(path) if is_remote(path) else os.path.isfile(path)


def is_remote_file(path: str) -> bool:
    """Whether `path` is remote and a file exists there."""
    if not is_remote(path):
        return False
    import tensorflow as tf

    return tf.io.gfile.exists(path) and not tf.io.gfile.isdir(path)


def open_remote(path: str) -> IO[str]:
    """Opens a gs:// file for reading.

    Raises:
      OSError: if it cannot be read.
    """
    import tensorflow as tf

    return tf.io.gfile.GFile(path)


def read_text(path: str, *, at_most: int = -1) -> str:
    """The content of a local or gs:// text file, or its first `at_most` characters.

    Raises:
      UnicodeDecodeError: if it is not UTF-8.
      OSError: if it cannot be read.
    """
    if is_remote(path):
        with open_remote(path) as remote:
            return remote.read(at_most)
    with open(path, encoding="utf-8") as file:
        return file.read(at_most)


def write_file(path: str, content: str | bytes) -> None:
    """Writes a local or gs:// file atomically: readers see the old file or the whole new one.

    When it returns, a local file survives a power loss. A symbolic link at `path` is replaced, not
    followed. A process that is killed meanwhile may leave a file that ends in ".partial".

    Raises:
      OSError: if a local file cannot be written.
    """
    data = content.encode() if isinstance(content, str) else content
    directory = path.rpartition("/")[0]
    partial = f"{directory or '.'}/.{secrets.token_hex(8)}.partial"
    if is_remote(path):
        import tensorflow as tf

        with tf.io.gfile.GFile(partial, "wb") as remote:
            remote.write(data)
        tf.io.gfile.rename(partial, path, overwrite=True)
        return
    try:
        with open(partial, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.remove(partial)
        if isinstance(error, OSError):
            error.filename = path  # which the caller knows, unlike `partial`
        raise
    flush_to_disk(directory or ".")


def flush_to_disk(path: str) -> None:
    """Flushes a local file, or the entries of a directory, to the disk (fsync).

    A file system without fsync is left as it is.

    Raises:
      OSError: if the disk fails.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP):
            raise
    finally:
        os.close(descriptor)


def names(directory: str) -> list[str]:
    """The names in a local or gs:// directory; none if it does not exist.

    Unlike in a glob, `*`, `?`, `[` and `\\` in the path are plain characters.
    """
    import tensorflow as tf

    try:
        return [name.rstrip("/") for name in tf.io.gfile.listdir(directory)]
    except tf.errors.NotFoundError:
        return []


def check_no_link(directory: str) -> None:
    """Refuses a symbolic link where a run has a directory of its own.

    A run may come from anyone, and what is written and removed below the link may be anywhere.

    Raises:
      TrainerError: if it is a link.
    """
    if not is_remote(directory) and os.path.islink(directory):
        raise TrainerError(
            f"{directory} is a symbolic link, and the trainer writes to no directory behind one; "
            "put the directory itself there"
        )


def probe(url: str) -> None:
    """Checks that a server answers, with whatever status, within _PROBE_SECONDS.

    Raises:
      requests.exceptions.RequestException: if the server does not answer.
    """
    requests.head(url, timeout=_PROBE_SECONDS)


def check(path: str) -> None:
    """Checks that a remote path can be used; a local one is not checked.

    TensorFlow itself would try for minutes to reach a host that does not answer, and for ever to
    make a directory in a bucket that does not exist.

    Raises:
      TrainerError: if the path's scheme is unknown, its host does not answer, its bucket does not
        exist, or the credentials give no access to it.
    """
    if not is_remote(path):
        return
    import tensorflow as tf

    scheme, _, rest = path.partition("://")
    known = [f"{name}://" for name in tf.io.gfile.get_registered_schemes() if name]
    if f"{scheme}://" not in known:
        raise TrainerError(
            f"{path} cannot be used: TensorFlow knows no {scheme}:// here; choose a local path or "
            f"one of {', '.join(known)}"
        )
    if scheme == "gs":
        _check_bucket(path, f"gs://{rest.partition('/')[0]}")


def _check_bucket(path: str, bucket: str) -> None:
    import tensorflow as tf

    try:
        with contextlib.suppress(requests.exceptions.SSLError):  # an answer, too
            probe(_GCS)
        if tf.io.gfile.exists(path) or tf.io.gfile.exists(bucket):
            return
    except requests.exceptions.RequestException as error:
        raise TrainerError(
            f"{path} cannot be reached: {_GCS} does not answer ({type(error).__name__}); connect "
            "this machine, set HTTPS_PROXY, or choose a local path"
        ) from error
    except tf.errors.PermissionDeniedError as error:
        raise TrainerError(
            f"{path} is refused by Google Cloud Storage ({first_line(error)}): log in with "
            "`gcloud auth application-default login` or set GOOGLE_APPLICATION_CREDENTIALS, for an "
            "account that may read and write objects and get the bucket (roles Storage Object User "
            "and Storage Legacy Bucket Reader)"
        ) from error
    except tf.errors.OpError as error:
        raise TrainerError(
            f"{path} cannot be used ({first_line(error)}); choose another path, or a local one"
        ) from error
    raise TrainerError(
        f"{path} cannot be used: there is no bucket {bucket}; create it with `gcloud storage "
        f"buckets create {bucket}`, or choose another"
    )
