"""The pages say what is so: commands and snippets run; links, names and messages exist."""

from __future__ import annotations

import ast
import contextlib
import functools
import importlib
import itertools
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from support.mnist import write_mnist
from support.process import SMALL, environment

ROOT = Path(__file__).parents[1]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]
TUTORIAL = ROOT / "docs" / "tutorial.md"
TUTORIALS = [TUTORIAL, TUTORIAL.with_suffix(".es.md")]
EXECUTED = [TUTORIAL, ROOT / "README.md", ROOT / "docs" / "python.md"]
"""The pages that are run from top to bottom; the tutorial trains the run that all of them load."""
RUNS = {"runs/digits", "runs/hinge"}
"""The runs that these pages train, and generate samples of."""
BLOCK = re.compile(r"(?:^`(\w+\.\w+)`[^\n]*:\n\n)?^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
"""(name of a file whose content the block is, language, text)."""
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# What a shown command begins with, and what it is known by here.
TRAINER = "python -m trainer.main "
SCRIPT = "python scripts/"


def prose(page):
    """A page's text without its fenced blocks."""
    return FENCE.sub("", page.read_text())


def commands(page, beginning):
    """The arguments of each command of the page that begins so, within a block or a sentence."""
    text = page.read_text()
    shown = [block.replace("\\\n", " ") for language, block in FENCE.findall(text) if not language]
    lines = [line for block in shown for line in block.splitlines()]
    lines += [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", prose(page))]
    for line in lines:
        for command in line.split(" && "):
            if command.strip().startswith(beginning):
                yield shlex.split(command.strip().removeprefix(beginning), comments=True)


def flag(arguments, name):
    return [a.partition("=")[2] for a in arguments if a.startswith(f"--{name}=")]


# Each distinct command of the pages, wherever its data is; those on a bucket are not to be run.
SHOWN = [
    tuple(argument for argument in arguments if not argument.startswith("--data_dir="))
    for page in PAGES
    for arguments in commands(page, TRAINER)
]
SHOWN = [shown for shown in dict.fromkeys(SHOWN) if "gs://" not in " ".join(shown)]
FIRST = ("--gin_file=digits.gin",)
TPU, HERE = "--gin_file=hardware/tpu.gin", "--gin_file=hardware/one_device.gin"


def page_items(page):
    """A page from top to bottom: its snippets, its files, and the runs that they need."""
    for name, language, text in BLOCK.findall(page.read_text()):
        if name:
            yield "file", [name, text]
        elif language == "python":
            yield "python", [page.stem, text]
        elif not language:
            for line in text.splitlines():
                if line.startswith(TRAINER):
                    arguments = shlex.split(line.removeprefix(TRAINER))
                    if tuple(arguments) == FIRST:
                        yield "trainer", [*arguments, *SMALL]
                    elif "--mode=generate" in arguments and RUNS & set(
                        flag(arguments, "model_dir")
                    ):
                        yield "trainer", arguments


def plans(data_dir):
    """The plan of each command: everything is built, and nothing trained."""
    runs = set(RUNS)
    for shown in SHOWN:
        for model_dir in flag(shown, "model_dir"):
            if model_dir not in runs and not flag(shown, "gin_file"):
                yield "saved", model_dir.removeprefix("runs/")
                runs.add(model_dir)
        # Without a TPU, everything but the choice of it can be built.
        here = [HERE] if TPU in shown else []
        yield "trainer", [*shown, *here, f"--data_dir={data_dir}", "--dry_run"]


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """The results of the executed pages and of each command's plan, and their directory."""
    folder = tmp_path_factory.mktemp("pages")
    for name in ("mnist", "fashion_mnist", "cifar10"):
        write_mnist(folder / "data", 200, 20, name=name)
    items = [item for page in EXECUTED for item in page_items(page)]
    items += plans(folder / "data")
    (folder / "items").write_text(json.dumps(items))
    worker = [
        sys.executable,
        Path(__file__).parent / "support" / "docs_worker.py",
        "items",
        "results",
    ]
    done = subprocess.run(
        worker,
        cwd=folder,
        env=environment(PYTHONPATH=f"{ROOT}:{ROOT / 'tests'}:{folder}"),  # a notebook's directory
        capture_output=True,
        text=True,
        timeout=600,
    )
    print(done.stderr)
    assert done.returncode == 0, done.stderr
    results = json.loads((folder / "results").read_text())
    return list(zip(items, results, strict=True)), folder


def test_every_python_block_of_a_page_is_executed():
    pages = [page for page in PAGES if "```python" in page.read_text()]
    tested = {*EXECUTED, *TUTORIALS, ROOT / "docs" / "extending.md"}  # the last by test_extending
    assert set(pages) == tested


@pytest.mark.slow
@pytest.mark.parametrize("page", EXECUTED, ids=lambda page: page.stem)
def test_snippets_print_what_their_page_says(ran, page):
    results, _ = ran
    printed = [
        (value[1], code, out, err)
        for (kind, value), (code, out, err) in results
        if kind == "python" and value[0] == page.stem
    ]
    blocks = [
        ("file" if name else language, text)
        for name, language, text in BLOCK.findall(page.read_text())
    ]
    for language, text in blocks:
        assert language in ("", "python", "text", "file"), text
    following = dict(itertools.pairwise([*blocks, ("", "")]))
    for source, code, out, err in printed:
        assert code == 0, err
        language, text = following["python", source]
        assert occurs_whole(text if language == "text" else "", out), (source, out)
    assert len(printed) == sum(language == "python" for language, _ in blocks) > 0


def occurs_whole(shown, text):
    """Whether `text` is what is shown, where "…" stands for anything."""
    return re.fullmatch(".*".join(map(re.escape, shown.split("…"))), text, re.DOTALL)


@pytest.mark.slow
def test_executed_pages_leave_their_pictures(ran):
    results, folder = ran
    done = [out for (kind, value), (code, out, _) in results if kind == "trainer" and code == 0]
    assert done[0].startswith("Trained to step 6")
    assert {"untrained.png", "drawn.png", "samples.png", "ways.png", "hinge.png"} <= {
        path.name for path in folder.glob("*.png")
    }


@pytest.mark.slow
@pytest.mark.parametrize("shown", SHOWN, ids=" ".join)
def test_every_command_builds(ran, shown):
    results, _ = ran
    (found,) = [
        result
        for (kind, value), result in results
        if kind == "trainer"
        and value[-1] == "--dry_run"
        and [argument for argument in value[:-2] if argument != HERE] == list(shown)
    ]
    assert found[0] == 0, found[2]
    model_dir = flag(shown, "model_dir") or [f"runs/{'-'.join(names(shown))}"]
    assert f"model_dir      {model_dir[-1]}\n" in found[1]


def names(shown):
    files = [Path(name) for name in flag(shown, "gin_file")]
    return [file.stem for file in files if file.parent.name != "hardware"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_scripts_know_the_flags_that_are_shown(page):
    for script, *arguments in commands(page, SCRIPT):
        path = ROOT / "scripts" / script
        shared = (
            [ROOT / "trainer" / "tools" / "launch" / "command.py"] if "launch" in script else []
        )
        sources = "".join(source.read_text() for source in (path, *shared))
        defined = re.findall(r'DEFINE_\w+\(\s*"(\w+)"', sources)
        own = itertools.takewhile(lambda argument: argument != "--", arguments)
        used = {a.removeprefix("--").partition("=")[0] for a in own if a.startswith("--")}
        assert used <= set(defined), f"{script}: {used - set(defined)}"


def slugs(page):
    """The anchors that GitHub gives a page's headings."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return [re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if not target.startswith(("http:", "https:")):
            path, _, anchor = target.partition("#")
            file = (page.parent / path).resolve() if path else page
            assert file.exists(), target
            assert not anchor or anchor in slugs(file), target


def test_the_spanish_tutorial_is_the_same_page():
    spanish = TUTORIAL.with_suffix(".es.md")
    headings, blocks = (
        [function(page) for page in (TUTORIAL, spanish)]
        for function in (
            lambda page: re.findall(r"^#+(?= )", prose(page), re.MULTILINE),
            lambda page: FENCE.findall(page.read_text()),
        )
    )
    assert headings[0] == headings[1]
    assert blocks[0] == blocks[1]
    pictures = [re.findall(r"\]\(([^)]+\.png)\)", page.read_text()) for page in (TUTORIAL, spanish)]
    assert pictures[0] == pictures[1] != []


def spans(text):
    return re.findall(r"`([^`\n]+)`", text)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_names_of_files_overlays_and_functions_exist(page):
    for span in spans(prose(page)):
        if page.stem == "CHANGELOG":  # it names what was renamed
            continue
        if re.fullmatch(r"(trainer|configs|scripts|tests)/[a-z_\d/.]*", span):
            assert (ROOT / span).exists(), span
        elif re.fullmatch(r"(\w+/)?[a-z_\d]+\.gin", span) and not span.startswith(
            ("my_", "config.")
        ):
            assert (ROOT / "configs" / span).exists(), span
        elif re.fullmatch(r"trainer(\.\w+)+", span) and span != "trainer.main":
            assert resolves(span), span


def resolves(name):
    """Whether a dotted name is a module of the package, or something that a module holds."""
    parts = name.split(".")
    for count in range(len(parts), 0, -1):
        with contextlib.suppress(ModuleNotFoundError, AttributeError):
            functools.reduce(
                getattr, parts[count:], importlib.import_module(".".join(parts[:count]))
            )
            return True
    return False


def test_the_architecture_names_every_module_and_package():
    page = ROOT / "docs" / "architecture.md"
    text = page.read_text()
    named = set(re.findall(r"trainer/[\w/]*\w(?:\.\w+)?", text))
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []
    listing = next(block for _, block in FENCE.findall(text) if block.startswith("trainer/"))
    listed = re.findall(r"^  ([\w.]+(?:/|\.py))", listing, re.MULTILINE)
    there = [
        f"{path.name}/" if path.is_dir() else path.name
        for path in (ROOT / "trainer").iterdir()
        if path.name not in ("__init__.py", "__pycache__", "configs")
    ]
    assert sorted(listed) == sorted(there)


def wording(node):
    """The text of a string in Python, with "…" for what is put into it; None of any other node."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return re.sub("%[sd]", "…", node.value)  # a log line's
    if isinstance(node, ast.JoinedStr):
        return "".join(wording(part) or "…" for part in node.values)
    return None


def wordings(*paths):
    for path in paths:
        yield from filter(None, map(wording, ast.walk(ast.parse(path.read_text()))))


TROUBLE = ROOT / "docs" / "troubleshooting.md"
# Where messages of other programs are from, as far as they are Python.
FOREIGN = {
    "Please provide a TPU Name to connect to.": "tensorflow/python/tpu/client/client.py",
    "Artifact …, downloaded to …, has wrong checksum": (
        "tensorflow_datasets/core/download/download_manager.py"
    ),
}


def messages():
    rows = re.findall(r"^\| (`[^|]+`) \|", TROUBLE.read_text(), re.MULTILINE)
    return [span for row in rows for span in spans(row)]


def occurs(message, texts):
    wanted = re.compile(".*".join(map(re.escape, message.split("…"))), re.DOTALL)
    return any(wanted.search(text) for text in texts)


def test_troubleshooting_quotes_messages_that_exist():
    ours = list(wordings(*(ROOT / "trainer").rglob("*.py"), *(ROOT / "scripts").rglob("*.py")))
    quoted = messages()
    assert len(quoted) > 90
    assert [m for m in quoted if m not in FOREIGN and not occurs(m, ours)] == []


@pytest.mark.parametrize("message", FOREIGN)
def test_messages_of_other_programs_exist(message):
    assert message in messages()
    packages = Path(pytest.importorskip("tensorflow").__file__).parents[1]
    assert occurs(message, wordings(packages / FOREIGN[message]))


def test_troubleshooting_explains_every_error():
    # Those of explore/parameters.py answer a request that the page does not make.
    raised = [
        f"{path.name}:{node.lineno}: {wording(node.exc.args[0])}"
        for path in (ROOT / "trainer").rglob("*.py")
        if path.name != "parameters.py"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Raise)
        and isinstance(node.exc, ast.Call)
        and getattr(node.exc.func, "id", None) in ("TrainerError", "LostPeerError")
        and (wording(node.exc.args[0]) or "").strip("….: ")
    ]
    quoted = messages()
    assert len(raised) > 50
    assert [error for error in raised if not any(occurs(m, [error]) for m in quoted)] == []
