from __future__ import annotations

import json
import os
import socket

import pytest

from trainer.distributed import cluster

OURS = sorted(os.sched_getaffinity(0))


@pytest.mark.parametrize("count", [1, 2, len(OURS)])
def test_cores_are_shared_out(count):
    shares = [cluster.cores(index, count) for index in range(count)]
    assert all(shares)
    if count <= len(OURS):
        assert sorted(core for share in shares for core in share) == OURS


def test_more_processes_than_cores_have_one_each():
    count = len(OURS) + 1
    assert {len(cluster.cores(index, count)) for index in range(count)} == {1}


def test_tf_config_names_all_workers_and_this_one():
    assert json.loads(cluster.tf_config(["a:1", "b:2"], 1)) == {
        "cluster": {"worker": ["a:1", "b:2"]},
        "task": {"type": "worker", "index": 1},
    }


def test_free_ports_are_different_and_free():
    ports = cluster.free_ports(20)
    assert len(set(ports)) == 20
    for port in ports:
        with socket.socket() as listener:
            listener.bind(("localhost", port))
