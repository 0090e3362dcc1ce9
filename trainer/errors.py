"""What a user can put right: main prints these in one line, without a traceback."""

from __future__ import annotations

import signal

NO_PEER = signal.SIGALRM  # 14: the others did not appear in time, which ends a process by this
LOST_PEER = 75  # EX_TEMPFAIL of sysexits.h: nothing is wrong with the command; try it again


class TrainerError(Exception):
    """The message names the value, the rule it breaks, and the remedy."""

    exit_code = 1


class LostPeerError(TrainerError):
    """Another process of the run is gone; the same command, on all of them, resumes it."""

    exit_code = LOST_PEER
