from __future__ import annotations

import json

import pytest
import tensorflow as tf
from support.disk import full_after

from trainer.doctor.state import EVENTS_FILE_NAME, DoctorState, EventLog

ALERT = {"step": 12, "alert": "collapse", "measured": "so", "value": 0.1, "limit": 0.3, "try": []}
ROLLBACK = {"step": 12, "rollback": {"to": 8, "stream": 1, "because": "collapse"}}


def events(*entries):
    log = EventLog()
    log.entries += entries
    return log


def test_restoring_a_state_without_events_keeps_them(tmp_path):
    state, log = DoctorState(), events(ALERT)
    healthy = tf.train.Checkpoint(doctor=state).save(str(tmp_path / "healthy"))
    whole = tf.train.Checkpoint(doctor=state, events=log).save(str(tmp_path / "whole"))
    log.entries.append(ROLLBACK)
    state.num_checks = 5
    tf.train.Checkpoint(doctor=state).restore(healthy)
    assert state.num_checks == 0 and log.entries == [ALERT, ROLLBACK]
    tf.train.Checkpoint(doctor=state, events=log).restore(whole)
    assert log.entries == [ALERT]


def test_a_number_is_restored_to_the_last_bit():
    state, restored = DoctorState(), DoctorState()
    state.rules["collapse"] = {"violations": 2, "memory": {"diversity": 0.1 + 0.2, "loss": 1e-300}}
    restored.deserialize(state.serialize())
    assert restored.rules == state.rules


def test_the_file_holds_one_event_a_line_and_is_never_half_written(tmp_path):
    path = tmp_path / EVENTS_FILE_NAME
    events(ALERT).write(str(tmp_path))
    with full_after(20), pytest.raises(OSError):
        events(ALERT, ROLLBACK).write(str(tmp_path))
    assert [json.loads(line) for line in path.read_text().splitlines()] == [ALERT]
    events(ALERT, ROLLBACK).write(str(tmp_path))
    assert [json.loads(line) for line in path.read_text().splitlines()] == [ALERT, ROLLBACK]


@pytest.mark.parametrize(
    ("entries", "num_checks", "summary"),
    [
        ([], 0, "no check was due"),
        ([], 1, "no alerts in 1 check"),
        ([], 4, "no alerts in 4 checks"),
        ([ALERT], 1, "collapse at step 12"),
        ([ALERT, ROLLBACK, ALERT], 1, "collapse at step 12, collapse at step 12; 1 rollback"),
    ],
)
def test_the_summary(entries, num_checks, summary):
    assert events(*entries).summary(num_checks) == summary
    assert events(*entries).num_rollbacks == entries.count(ROLLBACK)
