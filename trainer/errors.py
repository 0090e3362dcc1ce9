"""Errors that a user can correct; the command line prints them in one line, without a traceback."""

from __future__ import annotations

import difflib
import inspect
import re
import signal
from collections.abc import Callable, Sequence
from typing import Any

NO_PEER = signal.SIGALRM  # 14: other processes did not appear in time; the signal ends this one
LOST_PEER = 75  # EX_TEMPFAIL of sysexits.h: the same command may succeed when it is run again


class TrainerError(Exception):
    """An error whose message names the value, the rule that it breaks, and the remedy."""

    exit_code = 1


class DivergenceError(TrainerError):
    """A loss or gradient is not finite.

    Args:
      step: The step in which it occurred, counted from 1.
      measured: Its name and value, as the message shows them.
    """

    def __init__(self, step: int, measured: str) -> None:
        super().__init__(
            f"step {step}: {measured}; training stopped. Try a lower learning rate or another loss"
        )
        self.step = step
        self.measured = measured


class LostPeerError(TrainerError):
    """Another process of the run is gone; the same command on all processes resumes the run."""

    exit_code = LOST_PEER


def first_line(error: Exception) -> str:
    """The first line of an error's message that says what happened rather than where, shortened."""
    where = ("Graph execution error:", "Detected at node ", "<stack traces unavailable>")
    lines = [re.sub(r"\{\{.*?\}\}\s*", "", line).strip() for line in str(error).splitlines()]
    return next((x for x in lines if x and not x.startswith(where)), "no reason given")[:300]


def did_you_mean(name: str, valid: Sequence[str]) -> str:
    """The end of a message about an unknown name: the closest valid ones, or all of them."""
    if close := difflib.get_close_matches(name, valid, n=3, cutoff=0.5):
        return f"did you mean {' or '.join(close)}?"
    return f"choose from: {', '.join(valid)}"


def check_takes(function: Callable[..., Any], given: Sequence[str]) -> None:
    """Checks that a user's function can be called with these keyword arguments.

    Args:
      function: Any callable.
      given: Names of the arguments that the trainer passes.

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
