from __future__ import annotations

import os
import subprocess
import sys

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
