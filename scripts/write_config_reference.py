"""Writes docs/config.md from the shipped gin files, and the signatures and docstrings behind them.

    python scripts/write_config_reference.py           # needs the extra [test]

Below the page's mark stands what configs/ name, and whatever in the same modules has the same
shape: the functions that return the same, and the classes of the same base. What is above stays.
"""

from __future__ import annotations

import dataclasses
import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import griffe
from absl import app
from gin import config_parser

ROOT = Path(__file__).resolve().parents[1]
CONFIGS = ROOT / "configs"
PAGE = ROOT / "docs" / "config.md"
MARK = "<!-- From here on written by scripts/write_config_reference.py: do not edit. -->"

_GIVEN = (
    *("data_dir", "dataset", "image_shape", "images", "labels", "latent_dim", "num_classes"),
    *("networks", "strategy", "trainer"),
)
"""What the trainer passes itself to what a config names; `train` is where these come from."""


class _Named(config_parser.ParserDelegate):
    """Collects what a gin file refers to, and evaluates none of it."""

    def __init__(self) -> None:
        self.names: set[str] = set()

    def configurable_reference(self, name: str, evaluate: bool) -> None:
        self.names.add(name.rsplit("/", 1)[-1])

    def macro(self, name: str) -> None:
        pass


@dataclasses.dataclass(frozen=True)
class Shape:
    """What makes two objects alike to a config."""

    kind: str
    """"returns" or "is a"."""
    what: str


def named(path: Path) -> set[str]:
    """Full names, such as "trainer.gan.losses.hinge", of all that a shipped gin file names."""
    delegate = _Named()
    modules = {}
    with path.open() as file:
        for statement in config_parser.ConfigParser(file, delegate):
            if isinstance(statement, config_parser.ImportStatement):
                modules[statement.module.rsplit(".", 1)[-1]] = statement.module
            elif isinstance(statement, config_parser.BindingStatement):
                delegate.names.add(statement.selector)
    pairs = (name.split(".", 1) for name in delegate.names)
    return {f"{modules[module]}.{rest}" for module, rest in pairs}


def shape(item: griffe.Object) -> Shape | None:
    """What a config may bind `item` as; None if it may not: gin gives keywords only."""
    if isinstance(item, griffe.Class):
        return Shape("is a", str(item.bases[0]) if item.bases else item.path)
    keywords = griffe.ParameterKind.keyword_only
    if isinstance(item, griffe.Function) and all(p.kind is keywords for p in item.parameters):
        return Shape("returns", str(item.returns))
    return None


def bindable(package: griffe.Module) -> dict[griffe.Module, list[griffe.Object]]:
    """Everything a config may name, by module: `train`'s own first, then by name."""
    names = set().union(*(named(path) for path in CONFIGS.rglob("*.gin")))
    shapes: dict[griffe.Module, set[Shape | None]] = defaultdict(set)
    for name in names:
        item = package[name.removeprefix("trainer.")]
        room = item.module.parent
        neighbours = [item.module] if room is package else room.modules.values()
        for module in neighbours:
            shapes[module].add(shape(item))
    found = {
        module: [
            member
            for member in module.members.values()
            if not member.is_alias and member.is_public and shape(member) in wanted - {None}
        ]
        for module, wanted in shapes.items()
    }
    ordered = sorted(found, key=lambda module: (module.name != "experiment", module.path))
    return {module: found[module] for module in ordered if found[module]}


def text(item: griffe.Object) -> list[str]:
    """The paragraphs of a docstring that are neither of arguments nor of errors."""
    kind = griffe.DocstringSectionKind.text
    sections = item.docstring.parsed if item.docstring else []
    prose = "\n\n".join(section.value for section in sections if section.kind is kind)
    return [escaped(paragraph) for paragraph in prose.split("\n\n") if paragraph]


def arguments(item: griffe.Function | griffe.Class) -> list[tuple[str, str, str, str]]:
    """(name, type, default, meaning) of each argument that a config may bind."""
    kind = griffe.DocstringSectionKind.parameters
    sections = item.docstring.parsed if item.docstring else []
    meanings = {p.name: p.description for s in sections if s.kind is kind for p in s.value}
    rows = []
    for parameter in item.parameters:
        meaning = meanings.get(parameter.name, "")
        given = parameter.name in _GIVEN and item.name != "train"
        given |= parameter.name == "seed" and parameter.default is None  # of the evaluator
        if parameter.name == "self" or given or "not a gin setting" in meaning:
            continue
        default = "required" if parameter.default is None else f"`{parameter.default}`"
        rows.append((parameter.name, f"`{parameter.annotation}`", default, escaped(meaning)))
    return rows


def escaped(prose: str) -> str:
    """Prose of a docstring as Markdown, on one line but for its lists."""
    parts = re.split(r"(`[^`]*`)", re.sub(r"\s*\n(?!-)\s*", " ", prose.strip()))
    plain = (re.sub(r"([*|<])", r"\\\1", part) if part[:1] != "`" else part for part in parts)
    return "".join(plain)


def table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> list[str]:
    """A Markdown table; within code a bar still ends a cell, unless it is escaped."""
    lines = [head, ("---",) * len(head), *rows]
    cells = ([re.sub(r"(?<!\\)\|", r"\|", cell) for cell in line] for line in lines)
    return [f"| {' | '.join(line)} |" for line in cells]


def first_sentence(path: Path) -> str:
    """Of the comment that a gin file begins with."""
    comment = re.match(r"(?:#.*\n)+", path.read_text())
    assert comment, f"{path} begins without a comment"
    prose = re.sub(r"\n?# ?", " ", comment[0].split("#\n")[0]).strip()
    return re.split(r"(?<=[.?])\s+(?=[A-Z])", prose)[0]


def configs() -> list[str]:
    """A table of the shipped gin files, base configs first."""
    paths = sorted(CONFIGS.rglob("*.gin"), key=lambda p: (p.parent != CONFIGS, p.as_posix()))
    names = [path.relative_to(CONFIGS).as_posix() for path in paths]
    rows = [
        (f"[`{name}`](../configs/{name})", first_sentence(path))
        for name, path in zip(names, paths, strict=True)
    ]
    return table(("`--gin_file=`", "what it is"), rows)


def section(module: griffe.Module, items: list[griffe.Object]) -> list[str]:
    """A module's part of the page: what there is, then the arguments of each."""
    title = module.path.removeprefix("trainer.")
    source = module.filepath.relative_to(ROOT).as_posix()
    lines = [f"## {title}", "", f"{text(module)[0]} [Source](../{source})", ""]
    settings = {item: arguments(item) for item in items}
    rows = [
        (f"`{module.name}.{item.name}`", " ".join(text(item)[: 1 if settings[item] else None]))
        for item in items
    ]
    lines += [*table(("configurable", "what it is"), rows), ""]
    for item in items:
        if settings[item]:
            lines += [f"### {module.name}.{item.name}", "", "\n\n".join(text(item)[1:]), ""]
            lines += [*table(("argument", "type", "default", "meaning"), settings[item]), ""]
    return lines


def page() -> str:
    """The whole of docs/config.md."""
    package = griffe.load("trainer", search_paths=[ROOT], docstring_parser="google")
    assert isinstance(package, griffe.Module)
    found = bindable(package)
    titles = [module.path.removeprefix("trainer.") for module in found]
    contents = ", ".join(f"[{title}](#{title.replace('.', '')})" for title in titles)
    lines = [PAGE.read_text().split(MARK)[0] + MARK, "", f"In turn: {contents}.", ""]
    lines += ["## Shipped configs", "", *configs(), ""]
    for module, items in found.items():
        lines += section(module, items)
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).rstrip() + "\n"


def main(argv: list[str]) -> None:
    """Writes the page."""
    if len(argv) > 1:
        raise app.UsageError(f"unexpected argument {argv[1]}; there is nothing to set")
    PAGE.write_text(page())


if __name__ == "__main__":
    app.run(main)
