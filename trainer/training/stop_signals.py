"""SIGTERM and Ctrl-C: how training is asked to save and stop."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator

from absl import logging


class StopRequest:
    """Whether SIGTERM or Ctrl-C asked training to save and stop; a second Ctrl-C stops at once.

    Python handles a signal only between calls on the devices. Two signals of one kind that arrive
    during the same call count as one.
    """

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None
        """The last signal received; None if there was none."""

    def __bool__(self) -> bool:
        return self.signal is not None

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Handles both signals within the block; only the main thread may enter it."""
        previous = {s: signal.signal(s, self._handle) for s in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)

    def _handle(self, number: int, frame: object) -> None:
        if self.signal is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.signal = signal.Signals(number)
        logging.info("%s: saving after the current call, then stopping", self.signal.name)
