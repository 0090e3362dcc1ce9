from __future__ import annotations

import re
import runpy
from pathlib import Path

import gin
import pytest

from trainer import config

SCRIPT = Path(__file__).parents[2] / "scripts" / "write_config_reference.py"


@pytest.fixture(scope="module")
def script():
    return runpy.run_path(str(SCRIPT))


def test_the_page_is_current(script):
    assert script["PAGE"].read_text() == script["page"](), f"run python {SCRIPT.name}"


def test_every_argument_says_what_it_means(script):
    page = script["page"]()
    assert "| argument |" in page
    assert not re.findall(r"^.*\|  \|$", page, re.MULTILINE)


@pytest.mark.parametrize("files", config.experiments(), ids="+".join)
def test_all_that_a_config_binds_is_on_the_page(script, files):
    """Of gin's own reading of it, where the script has another."""
    sections = re.split(r"^### ", script["PAGE"].read_text(), flags=re.MULTILINE)
    names = {section.split("\n")[0]: section for section in sections}
    config.load(files, [])
    bound = re.findall(r"^(?:\w+/)?([\w.]+)\.(\w+) =", config.text(), re.MULTILINE)
    gin.clear_config()
    assert bound
    for configurable, argument in bound:
        assert f"\n| {argument} | `" in names[configurable], configurable


def test_every_shipped_config_is_on_the_page(script):
    for name in config.available():
        assert f"(../configs/{name})" in script["PAGE"].read_text()


def test_a_config_of_another_module_is_found(script, tmp_path):
    path = tmp_path / "mine.gin"
    path.write_text(
        "from __gin__ import dynamic_registration\nfrom trainer import schedules\n"
        "from trainer.models import article\n"
        "article.discriminator.dropout = @rate/schedules.Cosine()\n"
    )
    assert script["named"](path) == {
        "trainer.models.dcgan.discriminator",
        "trainer.gan.schedules.Cosine",
    }
    path.write_text("# One sentence,\n# on two lines. Another one.\n#\n#   a command\n")
    assert script["first_sentence"](path) == "One sentence, on two lines."
