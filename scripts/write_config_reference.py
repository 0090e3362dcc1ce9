"""Writes docs/config.md from the shipped gin files, and the signatures and docstrings behind them.

    python scripts/write_config_reference.py           # needs the extra [test]

The page lists the settings of `train`, and every function and class that is marked `configurable`.
The text above the page's mark is kept.
"""

from __future__ import annotations

import re
from pathlib import Path

import griffe
from absl import app

from trainer.reporting.markdown import table

ROOT = Path(__file__).resolve().parents[1]
CONFIGS = ROOT / "configs"
PAGE = ROOT / "docs" / "config.md"
MARK = "<!-- From here on written by scripts/write_config_reference.py: do not edit. -->"

_GIVEN = (
    "data_dir",
    "dataset",
    "image_shape",
    "images",
    "labels",
    "latent_dim",
    "num_classes",
    "networks",
    "strategy",
    "trainer",
)
"""Arguments that the trainer passes itself to the functions that a config names."""

ARGUMENTS = ("argument", "type", "default", "meaning")
EXPERIMENT = "trainer.experiment"
"""The module of `train`, whose settings have a section of their own."""


def bindable(package: griffe.Module) -> dict[griffe.Module, list[griffe.Object]]:
    """Everything `configurable` besides `train`, by module."""
    found = {}
    for module in modules(package):
        marked = [item for item in module.members.values() if is_configurable(item)]
        if marked and module.path != EXPERIMENT:
            found[module] = marked
    return found


def modules(package: griffe.Module) -> list[griffe.Module]:
    """The package's modules, in alphabetical order."""
    found = [package]
    for member in package.members.values():
        if isinstance(member, griffe.Module):
            found += modules(member)
    return sorted(found, key=lambda module: module.path)


def is_configurable(item: griffe.Object | griffe.Alias) -> bool:
    """Whether `item` is marked as `trainer.config.registry.configurable`."""
    if not isinstance(item, griffe.Class | griffe.Function):
        return False
    return any(str(decorator.value) == "configurable" for decorator in item.decorators)


def groups(package: griffe.Module) -> list[tuple[str, list[tuple[str, str, str, str]]]]:
    """The groups of settings of `train`: (meaning, rows), of `Experiment` and its bases."""
    experiment = package["experiment.Experiment"]
    found = []
    for group in (experiment, *experiment.mro()):
        rows = [
            setting(member)
            for member in group.members.values()
            if isinstance(member, griffe.Attribute) and member.is_public and member.annotation
        ]
        if shown := [row for row in rows if "not a gin setting" not in row[-1]]:
            found.append((text(group)[0], shown))
    return found


def setting(attribute: griffe.Attribute) -> tuple[str, str, str, str]:
    """(name, type and range, default, meaning) of a setting, as its dataclass declares it."""
    value, limits = attribute.value, {}
    if isinstance(value, griffe.ExprCall):  # such as integer(30, at_least=1)
        limits = {a.name: a.value for a in value.arguments if isinstance(a, griffe.ExprKeyword)}
        given = [a for a in value.arguments if not isinstance(a, griffe.ExprKeyword)]
        value = given[0] if given else "()" if str(value.function) == "functions" else None
    if isinstance(value, griffe.ExprName | griffe.ExprAttribute):  # a function, as gin names it
        value = ".".join(value.canonical_path.split(".")[-2:])
    kind = f"`{attribute.annotation}`"
    if "below" in limits:
        kind += f" in [{limits['at_least']}, {limits['below']})"
    elif "at_least" in limits:
        kind += f" ≥ {limits['at_least']}"
    meaning = escaped(attribute.docstring.value if attribute.docstring else "")
    return attribute.name, escaped(kind), "required" if value is None else f"`{value}`", meaning


def text(item: griffe.Object) -> list[str]:
    """The paragraphs of a docstring, without its sections `Args` and `Raises`."""
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
        given = parameter.name in _GIVEN
        given |= parameter.name == "seed" and parameter.default is None  # the evaluator's
        if parameter.name == "self" or given:
            continue
        default = "required" if parameter.default is None else f"`{parameter.default}`"
        rows.append((parameter.name, f"`{parameter.annotation}`", default, escaped(meaning)))
    return rows


def escaped(prose: str) -> str:
    """The prose of a docstring as Markdown; only list items begin a new line."""
    parts = re.split(r"(`[^`]*`)", re.sub(r"\s*\n(?!-)\s*", " ", prose.strip()))
    plain = (re.sub(r"([*|<])", r"\\\1", part) if part[:1] != "`" else part for part in parts)
    return "".join(plain)


def first_sentence(path: Path) -> str:
    """The first sentence of the comment that a gin file begins with."""
    comment = re.match(r"(?:#.*\n)+", path.read_text())
    assert comment, f"{path} must begin with a comment that says what it is"
    prose = re.sub(r"\n?# ?", " ", comment[0].split("#\n")[0]).strip()
    return re.split(r"(?<=[.?])\s+(?=[A-Z])", prose)[0]


def configs() -> str:
    """A table of the shipped gin files, base configs first."""
    paths = sorted(CONFIGS.rglob("*.gin"), key=lambda p: (p.parent != CONFIGS, p.as_posix()))
    names = [path.relative_to(CONFIGS).as_posix() for path in paths]
    rows = [
        (f"[`{name}`](../configs/{name})", first_sentence(path))
        for name, path in zip(names, paths, strict=True)
    ]
    return table(("`--gin_file=`", "what it is"), rows)


def section(module: griffe.Module, items: list[griffe.Object]) -> list[str]:
    """A module's section: a table of what a config may name, then the arguments of each."""
    title = module.path.removeprefix("trainer.")
    source = module.filepath.relative_to(ROOT).as_posix()
    lines = [f"## {title}", "", f"{text(module)[0]} [Source](../{source})", ""]
    settings = {item: arguments(item) for item in items}
    rows = [
        (f"`{module.name}.{item.name}`", " ".join(text(item)[: 1 if settings[item] else None]))
        for item in items
    ]
    lines += [table(("configurable", "what it is"), rows), ""]
    for item in items:
        if settings[item]:
            lines += [f"### {module.name}.{item.name}", "", "\n\n".join(text(item)[1:]), ""]
            lines += [table(ARGUMENTS, settings[item]), ""]
    return lines


def train_section(package: griffe.Module) -> list[str]:
    """The settings of `train`, one table for each group."""
    lines = ["## experiment", "", "### experiment.train", ""]
    for meaning, rows in groups(package):
        lines += [meaning, "", table(ARGUMENTS, rows), ""]
    return lines


def page() -> str:
    """The text of docs/config.md."""
    package = griffe.load("trainer", search_paths=[ROOT], docstring_parser="google")
    assert isinstance(package, griffe.Module)
    found = bindable(package)
    titles = ["experiment", *(module.path.removeprefix("trainer.") for module in found)]
    contents = ", ".join(f"[{title}](#{title.replace('.', '')})" for title in titles)
    lines = [PAGE.read_text().split(MARK)[0] + MARK, "", f"Sections: {contents}.", ""]
    lines += ["## Shipped configs", "", configs(), "", *train_section(package)]
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
