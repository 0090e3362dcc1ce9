"""A request's parameters: checks text that anyone may have written, and reads LatentPoints."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence

from trainer.errors import TrainerError
from trainer.tools.explorer.explorer import COUNT, REACH, LatentPoint

_SHARED = ("label", "truncation")
_SAMPLES = ("seed", *_SHARED)
_POINT = (*_SAMPLES, "index", "coordinates")
_ENDPOINTS = tuple(f"{end}_{name}" for end in "ab" for name in ("seed", "index", "coordinates"))


class Parameters:
    """Reads points in a generator's latent space; every method refuses what it does not know.

    Args:
      num_classes: Number of classes; None if unconditional.
      num_directions: Number of coordinates of a point.
    """

    def __init__(self, num_classes: int | None, num_directions: int) -> None:
        self._num_classes = num_classes
        self._num_directions = num_directions

    def samples(self, given: Mapping[str, str]) -> LatentPoint:
        """Reads a seed, a label and a truncation.

        Raises:
          TrainerError: naming the parameter and the rule that it breaks.
        """
        return self._point(_known(given, _SAMPLES))

    def point(self, given: Mapping[str, str]) -> LatentPoint:
        """Reads a point.

        Raises:
          TrainerError: naming the parameter and the rule that it breaks.
        """
        return self._point(_known(given, _POINT))

    def endpoints(self, given: Mapping[str, str]) -> list[LatentPoint]:
        """Reads two points, with the prefixes a_ and b_; they share label and truncation.

        Raises:
          TrainerError: naming the parameter and the rule that it breaks.
        """
        _known(given, (*_ENDPOINTS, *_SHARED))
        return [self._point(given, f"{end}_") for end in "ab"]

    def _point(self, given: Mapping[str, str], prefix: str = "") -> LatentPoint:
        return LatentPoint(
            seed=_whole(given, f"{prefix}seed", 2**32),
            index=_whole(given, f"{prefix}index", COUNT, default=0),
            coordinates=self._coordinates(given, f"{prefix}coordinates"),
            label=self._label(given),
            truncation=_truncation(given),
        )

    def _label(self, given: Mapping[str, str]) -> int | None:
        if "label" not in given:
            return None
        if self._num_classes is None:
            raise TrainerError(f"label={_shown(given['label'])}: this generator takes no labels")
        return _whole(given, "label", self._num_classes)

    def _coordinates(self, given: Mapping[str, str], name: str) -> tuple[float, ...] | None:
        if name not in given:
            return None
        words = given[name].split(",")
        if len(words) != self._num_directions:
            raise TrainerError(
                f"{name} has {len(words)} numbers; give {self._num_directions}, comma-separated"
            )
        numbers = tuple(_number(name, word) for word in words)
        for number in numbers:
            if abs(number) > REACH:
                raise TrainerError(f"{name}: {number:g} is not in [{-REACH:g}, {REACH:g}]")
        return numbers


def _known(given: Mapping[str, str], names: Sequence[str]) -> Mapping[str, str]:
    for name in given:
        if name not in names:
            raise TrainerError(f"unknown parameter {_shown(name)}; choose from: {', '.join(names)}")
    return given


def _whole(given: Mapping[str, str], name: str, end: int, default: int | None = None) -> int:
    """A whole number in [0, end)."""
    text = given.get(name)
    if text is None:
        if default is None:
            raise TrainerError(f"{name} is missing; give a whole number in [0, {end})")
        return default
    if not re.fullmatch("[0-9]{1,10}", text) or int(text) >= end:
        raise TrainerError(f"{name}={_shown(text)} is not a whole number in [0, {end})")
    return int(text)


def _truncation(given: Mapping[str, str]) -> float | None:
    if "truncation" not in given:
        return None
    number = _number("truncation", given["truncation"])
    if not 0.01 <= number <= 10:
        raise TrainerError(
            f"truncation={number:g} is not in [0.01, 10]; leave it out to truncate nothing"
        )
    return number


def _number(name: str, text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise TrainerError(f"{name}: {_shown(text)} is not a finite number")
    return number


def _shown(text: str) -> str:
    """Text cut short, in ASCII and in one line."""
    return ascii(text[:40])[1:-1]
