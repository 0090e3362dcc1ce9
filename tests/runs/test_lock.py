from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
import threading

import pytest

from trainer.errors import TrainerError
from trainer.runs import lock


def test_the_second_trainer_is_refused_and_the_first_named(tmp_path):
    with lock.held(str(tmp_path)):
        message = rf"{tmp_path} is in use by process {os.getpid()} on .*choose another"
        with pytest.raises(TrainerError, match=message), lock.held(str(tmp_path)):
            pass
    with lock.held(str(tmp_path)):
        pass


def test_a_killed_trainer_holds_nothing(tmp_path):
    code = "import os, sys; from trainer.runs import lock\n"
    code += "with lock.held(sys.argv[1]): os.kill(os.getpid(), 9)"
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)])
    assert done.returncode == -9
    with lock.held(str(tmp_path)):
        pass


def test_object_stores_are_not_locked():
    with lock.held("gs://bucket/run"), lock.held("gs://bucket/run"):
        pass


def test_a_link_is_replaced_and_what_it_leads_to_is_kept(tmp_path):
    (tmp_path / "precious").write_text("mine")
    (tmp_path / "lock").symlink_to(tmp_path / "precious")
    with lock.held(str(tmp_path)):
        assert (tmp_path / "lock").read_text().startswith("process ")
    assert (tmp_path / "precious").read_text() == "mine" and not (tmp_path / "lock").is_symlink()


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK])
def test_without_locks_a_warning_is_logged(tmp_path, monkeypatch, caplog, number):
    def flock(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)
    with caplog.at_level("WARNING", logger="absl"), lock.held(str(tmp_path)):
        pass
    assert f"{tmp_path} is on a file system without locks ({os.strerror(number)})" in caplog.text


def test_one_waits_for_the_other(tmp_path):
    order = []

    def second():
        with lock.held(str(tmp_path), wait=True):
            order.append("second")

    with lock.held(str(tmp_path), wait=True):
        thread = threading.Thread(target=second)
        thread.start()
        thread.join(0.3)
        order.append("first")
    thread.join()
    assert order == ["first", "second"]
