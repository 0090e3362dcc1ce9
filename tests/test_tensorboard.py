"""What a real TensorBoard server shows of real runs."""

from __future__ import annotations

import collections
import json
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest
from support.process import DIGITS, environment, run
from tensorflow.tsl.profiler.protobuf import xplane_pb2

from trainer.distributed.cluster import free_ports
from trainer.evaluation.card import TITLES, Card
from trainer.reporting import hparams

pytestmark = pytest.mark.slow  # three trainings and a server

RUNS = ("digits/seed_0", "hinge/seed_1")
STATUSES = ["STATUS_UNKNOWN", "STATUS_SUCCESS", "STATUS_FAILURE", "STATUS_RUNNING"]


@pytest.fixture(scope="module")
def output(tmp_path_factory):
    """Two runs as compare.py leaves them: one that writes everything, and a resumed one."""
    output = tmp_path_factory.mktemp("output")
    digits, hinge = (f"--model_dir={output}/{name}" for name in RUNS)
    run(
        *(*DIGITS, digits, "--profile=3"),
        *("--gin_param=train.evaluate_every=6", "--gin_param=Evaluator.num_samples=100"),
        *("--gin_param=Doctor.every=3", "--gin_param=Doctor.patience=1"),
        "--gin_param=collapse.least=100.0",  # all samples are too alike
    )
    for steps in (2, 4):
        resumed = ["--gin_file=losses/hinge.gin", "--gin_param=train.seed=1"]
        run(*DIGITS, *resumed, f"--gin_param=train.num_steps={steps}", hinge)
    return output


@pytest.fixture(scope="module")
def ask(output):
    """(path, body of a POST request) -> the server's answer."""
    (port,) = free_ports(1)
    command = [sys.executable, "-m", "tensorboard.main", f"--logdir={output}", f"--port={port}"]
    server = subprocess.Popen(
        command, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )

    def ask(path, body=None):
        data = None if body is None else json.dumps(body).encode()
        kind = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"http://localhost:{port}/data/{path}", data, kind)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)

    def complete():
        assert server.poll() is None
        try:
            return all("samples" in ask("plugin/images/tags").get(name, ()) for name in RUNS)
        except urllib.error.URLError:
            return False

    try:
        until = time.monotonic() + 120
        while not complete():
            assert time.monotonic() < until
            time.sleep(0.5)
        yield ask
    finally:
        server.terminate()
        server.wait()


def rows(ask):
    """The HPARAMS tab: name of a run -> its settings and its metrics."""
    body = {"experimentName": "", "allowedStatuses": STATUSES, "colParams": []}
    groups = ask("plugin/hparams/session_groups", body | {"startIndex": 0, "sliceSize": 100})
    return {
        group["name"]: (
            group["hparams"],
            {metric["name"]["tag"]: metric["value"] for metric in group["metricValues"]},
        )
        for group in groups["sessionGroups"]
    }


def test_curves_and_the_card_are_scalars(ask, output):
    tags = ask("plugin/scalars/tags")
    assert {f"evaluation/{name}" for name in TITLES} < tags[RUNS[0]].keys()
    assert {"loss/generator", "doctor/diversity"} < tags[RUNS[0]].keys()
    points = ask(f"plugin/scalars/scalars?run={RUNS[0]}&tag=evaluation/fid")
    fid = Card.load(f"{output}/{RUNS[0]}").metrics["fid"].value
    assert [point[1:] for point in points] == [[6, pytest.approx(fid, rel=1e-6)]]


def test_config_card_and_alerts_are_text(ask):
    tags = ask("plugin/text/tags")
    assert {"config", "evaluation/card", "doctor/collapse/alert"} <= set(tags[RUNS[0]])

    def text(tag, name=RUNS[0]):
        return [(e["step"], e["text"]) for e in ask(f"plugin/text/text?run={name}&tag={tag}")]

    ((step, card),) = text("evaluation/card")
    assert step == 6 and re.search(r"FID +[\d.]+", card)
    ((step, alert),) = text("doctor/collapse/alert")
    assert step == 3 and re.search("collapse: at step 3 .*; try hacks/minibatch_deviation", alert)
    configs = text("config", RUNS[1])
    assert [step for step, _ in configs] == [0, 2]  # both starts
    assert "train.num_steps = 4" in configs[1][1]


def test_each_run_is_a_row_with_settings_as_plain_values(ask):
    found = rows(ask)
    assert found.keys() == set(RUNS)
    (digits, measured), (hinge, _) = (found[name] for name in RUNS)
    assert digits["batch_size"] == 32 and digits["optimizers.adam.learning_rate"] == 2e-4
    assert digits["conditional"] is False and digits["generator"] == "dcgan.generator"
    assert (digits["loss"], hinge["loss"]) == ("losses.binary_cross_entropy", "losses.hinge")
    assert (digits["seed"], hinge["seed"]) == (0, 1)
    assert hinge["num_steps"] == 4  # as in its last start
    assert measured["evaluation/fid"] > 0
    infos = ask("plugin/hparams/experiment", {"experimentName": ""})["hparamInfos"]
    differ = {info["name"] for info in infos if info.get("differs")}
    assert {"loss", "seed", "num_steps"} <= differ and "batch_size" not in differ


def test_a_comparison_shows_the_metrics_it_names_first(ask, output):
    directories = [f"{output}/{name}" for name in RUNS]
    hparams.write_columns(str(output), directories, {"evaluation/fid": "FID"})
    until = time.monotonic() + 60
    while "." not in ask("runs"):  # it reads the directory every five seconds
        assert time.monotonic() < until
        time.sleep(0.5)
    told = ask("plugin/hparams/experiment", {"experimentName": ""})
    (metric,) = told["metricInfos"]
    assert (metric["name"]["tag"], metric["displayName"]) == ("evaluation/fid", "FID")
    differ = [info["name"] for info in told["hparamInfos"] if info.get("differs")]
    assert {"loss", "seed", "num_steps"} <= set(differ)
    assert differ == [info["name"] for info in told["hparamInfos"]][: len(differ)]
    found = rows(ask)
    assert found.keys() == set(RUNS) and found[RUNS[0]][1].keys() == {"evaluation/fid"}


def test_a_profile_holds_the_steps_asked_for(output):
    (path,) = (output / RUNS[0]).glob("plugins/profile/*/*.xplane.pb")
    counts = collections.Counter()
    for plane in xplane_pb2.XSpace.FromString(path.read_bytes()).planes:
        names = {key: metadata.name for key, metadata in plane.event_metadata.items()}
        counts.update(names[event.metadata_id] for line in plane.lines for event in line.events)
    filters = {name: n for name, n in counts.items() if "Conv2DBackpropFilter" in name}
    assert filters and set(filters.values()) == {3}
