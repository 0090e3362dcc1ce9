"""The configs of a comparison: a baseline, and variants of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from trainer.config import gin_reader
from trainer.errors import TrainerError


@dataclass(frozen=True)
class Variant:
    """A config in a comparison; the first one is the baseline."""

    name: str
    gin_files: tuple[str, ...]
    gin_params: tuple[str, ...] = ()


def variants(gin_files: Sequence[str], overlays: Sequence[str]) -> list[Variant]:
    """The baseline, then the baseline under each variant's overlays and settings.

    Args:
      gin_files: The baseline.
      overlays: For each variant its gin files and NAME=VALUE settings, comma-separated; a value
        holds no comma.

    Raises:
      TrainerError: if there is no baseline or no variant, if a variant has no gin file to be named
        by, or if two configs have the same name.
    """
    if not gin_files or not overlays:
        raise TrainerError("name a base config with --gin_file, and variants of it with --vs")
    found = [Variant(gin_reader.run_name(gin_files), tuple(gin_files))]
    for text in overlays:
        parts = text.split(",")
        settings = tuple(part for part in parts if "=" in part)
        added = [part for part in parts if part not in settings]
        if not added:
            raise TrainerError(f"--vs={text} names no .gin file; put the settings into one")
        found.append(Variant(gin_reader.run_name(added), (*gin_files, *added), settings))
    names = [variant.name for variant in found]
    if repeated := {name for name in names if names.count(name) > 1}:
        raise TrainerError(f"two configs are named {repeated.pop()}; copy one to another file name")
    return found


def model_dir(output: str, variant: Variant, seed: int) -> str:
    """The directory of a variant's run with a seed, in the comparison's directory."""
    return f"{output}/{variant.name}/seed_{seed}"
