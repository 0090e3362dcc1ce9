"""Every command as a user meets it: its help, misspelt flags, exit codes, and start-up."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from support.process import environment

import trainer
from trainer import files
from trainer.errors import TrainerError
from trainer.tools import command_line

ROOT = Path(__file__).parents[2]
MAIN = ROOT / "trainer" / "main.py"
SCRIPTS = sorted(
    path
    for path in (ROOT / "scripts").rglob("*.py")
    if "command_line.run(" in path.read_text(encoding="utf-8")
)
COMMANDS = [MAIN, *SCRIPTS]


def run(path, *arguments, code=0, **changes):
    """What a command prints on standard output and on standard error."""
    command = [sys.executable, path]
    if path == MAIN:
        command = [sys.executable, "-m", "trainer.main"]
    done = subprocess.run(
        [*command, *arguments], capture_output=True, text=True, env=environment(**changes)
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout, done.stderr


def defined(path):
    """The names of the flags that a file defines."""
    return re.findall(r'DEFINE_\w+\(\s*"(\w+)"', path.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def without_tensorflow(tmp_path_factory):
    """A PYTHONPATH that makes importing TensorFlow, which takes seconds, an error."""
    directory = tmp_path_factory.mktemp("without")
    (directory / "tensorflow.py").write_text("raise RuntimeError('TensorFlow is imported')\n")
    return str(directory)


def test_every_script_is_such_a_command():
    shared = {ROOT / "scripts" / "write_config_reference.py"}
    assert set((ROOT / "scripts").rglob("*.py")) == set(SCRIPTS) | shared


@pytest.mark.parametrize("path", COMMANDS, ids=lambda path: path.stem)
def test_help_has_examples_and_every_flag_in_80_columns(path, without_tensorflow):
    out, log = run(path, "--help", PYTHONPATH=without_tensorflow)
    assert not log
    lines = out.splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[0].endswith(".")
    example = "python -m trainer.main" if path == MAIN else f"python {path.relative_to(ROOT)}"
    assert f"\n  {example}" in out.replace("\n    ", "\n  ")
    shown = re.findall(r"^  --(?:\[no\])?(\w+)", out, re.MULTILINE)
    assert len(shown) == len(set(shown))
    assert set(defined(path)) <= set(shown)


def test_mains_help_groups_all_its_flags_and_no_other():
    out, _ = run(MAIN, "--help")
    assert re.findall(r"^  --(?:\[no\])?(\w+)", out, re.MULTILINE) == [
        *("mode", "model_dir", "gin_file", "gin_param", "data_dir", "dry_run", "profile"),
        *("output", "show", "num", "seed", "label", "truncation"),
    ]
    assert set(defined(MAIN)) == {*re.findall(r"^  --(?:\[no\])?(\w+)", out, re.MULTILINE)}
    assert out.count("\n  python -m trainer.main ") == 2
    assert "--mode=train|evaluate|generate|export" in out
    assert "Class to generate" in out and "Default: train." in out.replace("'", "")


def test_the_launchers_help_names_the_flags_that_all_share():
    out, _ = run(ROOT / "scripts" / "launch" / "ssh.py", "--help")
    assert {"--[no]dry_run", "--max_restarts=NUMBER", "--grace=NUMBER"} <= set(out.split())
    assert "Default: 30." in out


@pytest.mark.parametrize(
    ("path", "arguments", "line"),
    [
        (MAIN, ["--modle_dir=x"], "unknown flag --modle_dir; did you mean --model_dir"),
        (MAIN, ["--mode=trian"], "--mode=trian is not known; did you mean train?"),
        (MAIN, ["--mode=x"], "--mode=x is not known; choose from: train, evaluate"),
        (MAIN, ["--num=many"], "--num=many must be a whole number"),
        (MAIN, ["--truncation=x"], "--truncation=x must be a number"),
        (MAIN, ["--profile=-1"], "--profile=-1 must be at least 0"),
        (MAIN, ["--dry_run=perhaps"], "--dry_run=perhaps must be true or false"),
        (ROOT / "scripts" / "explore.py", ["--port=70000"], "--port=70000 must be in [0, 65535]"),
        (MAIN, ["digits.gin"], "unexpected argument digits.gin; every setting has a --flag"),
        (ROOT / "scripts" / "explore.py", [], "--model_dir is missing; --help explains it"),
        (
            ROOT / "scripts" / "launch_workers.py",
            ["--gin_file=digits.gin"],
            "unknown flag --gin_file (flags of the trainer follow `--`); ",
        ),
    ],
)
def test_a_mistake_is_one_line_with_the_closest_name(path, arguments, line):
    out, log = run(path, *arguments, code=1)
    assert not out and log.startswith(f"error: {line}") and log.count("\n") == 1


def test_version():
    assert run(MAIN, "--version") == (f"gan-trainer {trainer.__version__}\n", "")


def test_what_follows_two_hyphens_is_not_this_commands():
    out, _ = run(ROOT / "scripts" / "launch_workers.py", "--dry_run", "--", "--help")
    assert "-m trainer.main --help --gin_file=hardware/multi_worker.gin" in out


@pytest.mark.parametrize(
    ("work", "code", "log"),
    [
        (lambda: None, 0, ""),
        (lambda: 3, 3, ""),
        (lambda: raise_(TrainerError("x=1 must be 2")), 1, "error: x=1 must be 2\n"),
        (lambda: raise_(KeyboardInterrupt()), 128 + signal.SIGINT, "Stopped.\n"),
    ],
)
def test_exit_codes(work, code, log, capsys):
    assert command_line.exit_code(work, "Stopped.") == code
    assert capsys.readouterr().err == log


def raise_(error):
    raise error


@pytest.mark.parametrize("path", ["no/such/folder/a.txt", "a-file/a.txt", "a-folder", "n" * 300])
def test_a_path_that_cannot_be_written_is_one_line(tmp_path, monkeypatch, capsys, path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a-file").touch()
    (tmp_path / "a-folder").mkdir()
    assert command_line.exit_code(lambda: files.write_file(path, "x"), "Stopped.") == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {path} cannot be written or read (")
    assert not [p for p in tmp_path.iterdir() if p.name.endswith(".partial")]


def test_another_error_is_no_users_mistake():
    with pytest.raises(ZeroDivisionError):
        command_line.exit_code(lambda: 1 // 0, "Stopped.")


STARTED = """
from trainer.tools import command_line
command_line.import_tensorflow()
import sys
print("tensorflow" in sys.modules, "keras" in sys.modules)
"""


def test_tensorflows_start_up_messages_are_hidden():
    """All that it logs, at the level that would show them."""
    done = subprocess.run(
        [sys.executable, "-c", STARTED],
        capture_output=True,
        text=True,
        env=environment(TF_CPP_MIN_LOG_LEVEL="0"),
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "True True\n", "")


def test_a_command_starts_without_what_it_does_not_need():
    """TensorFlow and Keras import most of these; afterwards, they can still be imported."""
    needless = ["IPython", "jax", "matplotlib", "scipy.stats", "sklearn"]
    code = f"{STARTED}import trainer.experiment\n"
    code += f"print([name for name in {needless} if name in sys.modules])\nimport matplotlib"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "True True\n[]\n"


def test_a_warning_that_comes_while_it_starts_is_kept(tmp_path):
    (tmp_path / "tensorflow.py").touch()
    (tmp_path / "keras.py").write_text(
        "import os, sys\n"
        "os.write(2, b'I0000 port.cc] oneDNN custom operations are on. You may see\\n')\n"
        "os.write(2, b'W0000 driver.cc] the driver is too old\\n')\n"
        "print('from Python', file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", STARTED],
        capture_output=True,
        text=True,
        env=environment(PYTHONPATH=str(tmp_path)),
    )
    assert done.stderr == "W0000 driver.cc] the driver is too old\nfrom Python\n"


def test_without_tensorflow_one_line_names_the_flavours():
    code = "import sys; sys.modules['tensorflow'] = sys.modules['keras'] = None\n"
    code += "from trainer.tools import command_line\n"
    code += "command_line.run(command_line.import_tensorflow, doc='', interrupted='')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: TensorFlow is not installed") and "gan-trainer[cpu]" in line
