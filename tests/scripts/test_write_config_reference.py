from __future__ import annotations

import dataclasses
import re
import runpy
from pathlib import Path

import pytest

from trainer.config import gin_reader
from trainer.experiment import Experiment

SCRIPT = Path(__file__).parents[2] / "scripts" / "write_config_reference.py"


@pytest.fixture(scope="module")
def script():
    return runpy.run_path(str(SCRIPT))


@pytest.fixture(scope="module")
def sections(script):
    """The page's sections by name, such as "experiment.train"."""
    parts = re.split(r"^###? ", script["PAGE"].read_text(), flags=re.MULTILINE)
    return {part.split("\n")[0]: part for part in parts}


def test_the_page_is_current(script):
    assert script["PAGE"].read_text() == script["page"](), f"run python {SCRIPT.name}"


def test_every_argument_says_what_it_means(script):
    page = script["page"]()
    assert "| argument |" in page
    assert not re.findall(r"^.*\|  \|$", page, re.MULTILINE)


def test_every_setting_of_train_has_a_row_with_its_default(sections):
    rows = re.findall(r"^\| (\w+) \| (`.+) \| (.+) \| .+ \|$", sections["experiment.train"], re.M)
    shown = {name: default.strip("`") for name, _, default in rows}
    fields = {f.name: f.default for f in dataclasses.fields(Experiment) if f.repr}
    assert shown.keys() == fields.keys()
    for name, default in fields.items():
        if default is dataclasses.MISSING:
            assert shown[name] == "required"
        elif callable(default):
            module = default.__module__.rpartition(".")[2]
            assert shown[name] == f"{module}.{default.__qualname__}"
        else:
            assert shown[name] == repr(default)


def test_a_range_is_shown_beside_its_type(sections):
    assert "| latent_dim | `int` ≥ 1 | `50` |" in sections["experiment.train"]
    assert r"| seed | `int` in [0, 2 \*\* 32) | `0` |" in sections["experiment.train"]


@pytest.mark.parametrize("files", gin_reader.experiments(), ids="+".join)
def test_all_that_a_config_binds_is_on_the_page(sections, files):
    text = gin_reader.load(files).text
    bound = re.findall(r"^(?:\w+/)?([\w.]+)\.(\w+) =", text, re.MULTILINE)
    assert bound
    for configurable, argument in bound:
        assert f"\n| {argument} | `" in sections[configurable], configurable


def test_every_shipped_config_is_on_the_page(script):
    for name in gin_reader.available():
        assert f"(../configs/{name})" in script["PAGE"].read_text()


def test_alternatives_to_what_a_config_names_are_on_the_page(sections):
    assert "schedules.WarmUp" in sections  # no shipped config uses it
    assert "`losses.wasserstein`" in sections["gan.losses"]


def test_the_first_sentence_of_a_gin_file(script, tmp_path):
    path = tmp_path / "mine.gin"
    path.write_text("# One sentence,\n# on two lines. Another one.\n#\n#   a command\n")
    assert script["first_sentence"](path) == "One sentence, on two lines."
