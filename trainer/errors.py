"""What a user can put right: main prints these in one line, without a traceback."""

from __future__ import annotations


class TrainerError(Exception):
    """The message names the value, the rule it breaks, and the remedy."""
