"""Atomic writes on a disk, and gs:// paths with TensorFlow's own client against an emulator."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import requests
from support import gcs
from support.disk import full_after
from support.process import DIGITS, command, environment, error_line, run
from support.weights import assert_same, checkpoint

from trainer import files
from trainer.errors import TrainerError

PREPARE = Path(__file__).parents[1] / "scripts" / "prepare_data.py"
RUN = "gs://bucket/run"
STEPS = "--gin_param=train.num_steps"


@pytest.fixture(scope="module")
def cloud(tmp_path_factory):
    """A server with one bucket, and the environment variables that direct a process to it."""
    with gcs.serving(tmp_path_factory.mktemp("gcs"), "bucket") as (server, variables):
        yield server, variables


def test_a_file_is_replaced(tmp_path):
    for content in ("first", b"second"):
        files.write_file(str(tmp_path / "a.txt"), content)
    assert (tmp_path / "a.txt").read_text() == "second"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_a_file_is_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("first")
    with full_after(2**16), pytest.raises(OSError):
        files.write_file(str(path), "second" * 2**16)
    assert path.read_text() == "first"
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_is_replaced_and_what_it_leads_to_is_kept(tmp_path):
    (tmp_path / "precious").write_text("mine")
    (tmp_path / "a.txt").symlink_to(tmp_path / "precious")
    files.write_file(str(tmp_path / "a.txt"), "ours")
    assert (tmp_path / "precious").read_text() == "mine"
    assert (tmp_path / "a.txt").read_text() == "ours" and not (tmp_path / "a.txt").is_symlink()


def test_a_name_may_be_as_long_as_the_file_system_allows(tmp_path):
    path = tmp_path / ("n" * 255)
    files.write_file(str(path), "x")
    assert path.read_text() == "x"


def test_a_reader_sees_a_whole_file_at_any_time(tmp_path):
    """Three threads write the same file at once, each with a digit of its own."""
    path = tmp_path / "a.txt"
    path.write_text("0" * 2**20)
    stop = threading.Event()

    def write(digit):
        while not stop.is_set():
            files.write_file(str(path), digit * 2**20)

    writers = [threading.Thread(target=write, args=[digit]) for digit in "123"]
    for writer in writers:
        writer.start()
    try:
        seen = set()
        until = time.monotonic() + 60
        while not set("123") <= {digit for digit, *_ in seen} and time.monotonic() < until:
            text = path.read_text()
            seen.add((text[:1], len(text), len(set(text))))
    finally:
        stop.set()
        for writer in writers:
            writer.join()
    assert {("1", 2**20, 1), ("2", 2**20, 1), ("3", 2**20, 1)} <= seen
    assert seen <= {(digit, 2**20, 1) for digit in "0123"}
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.slow
def test_a_server_that_does_not_answer_is_given_ten_seconds():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        started = time.monotonic()
        with pytest.raises(requests.exceptions.Timeout):
            files.probe(f"http://127.0.0.1:{silent.getsockname()[1]}")
    assert 10 <= time.monotonic() - started < 15


def test_an_unknown_scheme_names_the_known_ones():
    with pytest.raises(TrainerError, match=r"^s3://b/run .* knows no s3:// .*gs://"):
        files.check("s3://b/run")


@pytest.mark.slow
def test_killed_and_resumed_in_a_bucket_it_ends_as_on_a_disk(cloud, tmp_path):
    """Configs, model_dir and output are in a bucket; each command is a new process."""
    server, variables = cloud
    server.put("bucket", "shared.gin", b"include 'digits.gin'\ntrain.steps_per_loop = 2\n")
    text = b"include 'gs://bucket/shared.gin'\ntrain.checkpoint_every = 4\n"
    server.put("bucket", "mine.gin", text)
    arguments = ("--gin_file=gs://bucket/mine.gin", f"--model_dir={RUN}")

    process = subprocess.Popen(
        command(*arguments, f"{STEPS}=100000"),
        stderr=subprocess.DEVNULL,
        env=environment(**variables),
    )
    deadline = time.monotonic() + 240
    while "run/checkpoints/step-8.index" not in server.files("bucket"):
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.02)
    process.kill()
    process.wait()
    last = max(saved_steps(server))

    out, log = run(*arguments, f"{STEPS}={last + 6}", **variables)
    assert f"resuming {RUN} at step {last}" in log
    assert f"Trained to step {last + 6}. Samples: {RUN}/samples" in out
    disk = tmp_path / "disk"
    run("--gin_file=digits.gin", f"{STEPS}={last + 6}", f"--model_dir={disk}")
    assert_same(
        checkpoint(saved(server, tmp_path / "bucket"), last + 6), checkpoint(disk, last + 6)
    )

    run(
        *("--mode=evaluate", f"--model_dir={RUN}", "--gin_param=Evaluator.num_samples=100"),
        **variables,
    )
    stored = server.files("bucket")
    assert json.loads(stored["run/evaluation.json"])["step"] == last + 6
    assert stored["run/evaluation.html"].count(b"<svg") == 4  # two of them show the run's scalars
    out, _ = run("--mode=generate", f"--model_dir={RUN}", "--output=gs://bucket/a.png", **variables)
    assert out == f"64 samples of step {last + 6}: gs://bucket/a.png\n"
    stored = server.files("bucket")
    assert stored["a.png"] == (disk / "samples" / f"step_{last + 6:07d}.png").read_bytes()
    assert not [name for name in stored if name.endswith(".partial")]


@pytest.mark.slow
def test_a_lost_bucket_stops_the_run_and_loses_nothing_saved(cloud, monkeypatch):
    server, variables = cloud
    renamed = []

    def fault(request):
        """Records renamed files; refuses all writes after the first whole checkpoint."""
        if match := re.search(r"lost%2Fcheckpoints%2F[^/]*(step-3\.\w+)[^/]*$", request.path):
            renamed.append(match[1])
        whole = "lost/checkpoints/step-3.index" in server.files("bucket")
        return 503 if whole and request.command == "POST" else None

    monkeypatch.setattr(server, "fault", fault)
    arguments = (*DIGITS, "--model_dir=gs://bucket/lost")
    line = error_line(*arguments, GCS_RETRY_CONFIG_MAX_RETRIES="1", **variables)
    assert re.search(r"gs://bucket/lost cannot be written or read \(.*503", line)
    assert line.endswith("Last good checkpoint: gs://bucket/lost/checkpoints/step-3")
    assert renamed.index("step-3.data") < renamed.index(
        "step-3.index"
    )  # an index says that its checkpoint is whole
    monkeypatch.undo()
    out, log = run(*arguments, **variables)
    assert "resuming gs://bucket/lost at step 3" in log and out.startswith("Trained to step 6")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("path", "changes", "message"),
    [
        ("gs://nowhere/run", {}, "there is no bucket gs://nowhere; create it with `gcloud storage"),
        (
            RUN,
            {"GOOGLE_AUTH_TOKEN_FOR_TESTING": "expired"},
            r"refused by Google Cloud Storage \(.*401\): log in with `gcloud auth application-def",
        ),
        (
            RUN,
            {"HTTPS_PROXY": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"},
            r"https://storage\.googleapis\.com does not answer \(ProxyError\); connect this",
        ),
        ("gs:///run", {}, "GCS path doesn't contain a bucket name.*choose another path"),
    ],
)
def test_a_bucket_that_cannot_be_used_is_one_line(cloud, path, changes, message):
    _, variables = cloud
    line = error_line("--gin_file=digits.gin", f"--model_dir={path}", **(variables | changes))
    assert line.startswith(f"error: {path} ") and re.search(message, line)


@pytest.mark.slow
def test_an_account_that_may_only_read_is_one_line(cloud, monkeypatch):
    server, variables = cloud
    monkeypatch.setattr(server, "fault", lambda request: 403 if request.command == "POST" else None)
    line = error_line(*DIGITS, "--model_dir=gs://bucket/read", **variables)
    assert re.search(r"gs://bucket/read cannot be written or read \(.*403\).*permit writing", line)


@pytest.mark.slow
@pytest.mark.archives
def test_a_dataset_is_prepared_in_a_bucket_and_read_from_it(cloud, archives):
    _, variables = cloud
    done = subprocess.run(
        [
            *(sys.executable, PREPARE, "--dataset=mnist", f"--archives={archives / 'mnist'}"),
            "--data_dir=gs://bucket/tfds",
        ],
        capture_output=True,
        text=True,
        env=environment(**variables),
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].startswith("mnist is prepared in gs://bucket/tfds/mnist/")
    arguments = ("--gin_file=mnist.gin", "--dry_run", "--data_dir=gs://bucket/tfds")
    out, _ = run(*arguments, **variables)
    assert "mnist, 60000 images of (28, 28, 1)" in out


def saved_steps(server):
    names = " ".join(server.files("bucket"))
    return {int(step) for step in re.findall(r"run/checkpoints/step-(\d+)\.index", names)}


def saved(server, directory):
    """Copies the run's checkpoints to a local directory."""
    (directory / "checkpoints").mkdir(parents=True)
    for name, content in server.files("bucket").items():
        if name.startswith("run/checkpoints/"):
            (directory / "checkpoints" / name.rsplit("/", 1)[1]).write_bytes(content)
    return directory
