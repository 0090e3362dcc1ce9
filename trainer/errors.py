"""What a user can put right: main prints these in one line, without a traceback."""

from __future__ import annotations

import difflib
import inspect
import re
import signal
from collections.abc import Callable, Sequence
from typing import Any

NO_PEER = signal.SIGALRM  # 14: the others did not appear in time, which ends a process by this
LOST_PEER = 75  # EX_TEMPFAIL of sysexits.h: nothing is wrong with the command; try it again


class TrainerError(Exception):
    """The message names the value, the rule it breaks, and the remedy."""

    exit_code = 1


class DivergenceError(TrainerError):
    """A loss or gradient of training is not finite.

    Args:
      step: The step that it is of, counted from 1.
      measured: Which it is, and what it was.
    """

    def __init__(self, step: int, measured: str) -> None:
        super().__init__(
            f"step {step}: {measured}; training stopped. Try a lower learning rate or another loss"
        )
        self.step = step
        self.measured = measured


class LostPeerError(TrainerError):
    """Another process of the run is gone; the same command, on all of them, resumes it."""

    exit_code = LOST_PEER


def first_line(error: Exception) -> str:
    """The first line of an error's message that says what happened rather than where, shortened."""
    where = ("Graph execution error:", "Detected at node ", "<stack traces unavailable>")
    lines = [re.sub(r"\{\{.*?\}\}\s*", "", line).strip() for line in str(error).splitlines()]
    return next((x for x in lines if x and not x.startswith(where)), "no reason given")[:300]


def did_you_mean(name: str, valid: Sequence[str]) -> str:
    """The end of a message about an unknown name: the closest valid names, or else all of them."""
    if close := difflib.get_close_matches(name, valid, n=3, cutoff=0.5):
        return f"did you mean {' or '.join(close)}?"
    return f"choose from: {', '.join(valid)}"


def check_takes(function: Callable[..., Any], given: Sequence[str]) -> None:
    """Refuses a function of the user's that cannot be called with these keyword arguments.

    Raises:
      TrainerError: naming the function and the first argument that it does not take.
    """
    parameters = inspect.signature(function).parameters
    takes_all = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    missing = [] if takes_all else [name for name in given if name not in parameters]
    if missing:
        raise TrainerError(
            f"{getattr(function, '__qualname__', function)} does not take {missing[0]}; the "
            f"trainer calls it with {', '.join(given)} by keyword, so add what is missing to its "
            "arguments"
        )
