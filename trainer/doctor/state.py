"""What the doctor keeps of a run: part of its checkpoints, for a resumed run to go on with."""

from __future__ import annotations

import json

import tensorflow as tf

FILE_NAME = "journal.jsonl"


class DoctorState(tf.train.experimental.PythonState):
    """Saved as JSON, in which a float comes back to the last bit; other rules may resume it."""

    def __init__(self) -> None:
        super().__init__()
        self.stream = 0
        """Number of the noise stream that training draws from."""
        self.healthy = 0
        """The last step at which every rule was silent."""
        self.examinations = 0
        self.class_counts: tuple[list[int], list[int]] | None = None
        """Of samples and of real images, in the newest evaluation of the run's schedule."""
        self.rules: dict[str, dict] = {}
        """By a rule's name: its "count" of complaints in a row, and its "memory"."""
        self.journal: list[dict] = []
        """Alerts and rollbacks in order, those of abandoned steps too."""

    def serialize(self) -> str:
        return json.dumps({name: getattr(self, name) for name in _KEPT})

    def deserialize(self, string_value: str | bytes) -> None:
        for name, value in json.loads(string_value).items():
            setattr(self, name, value)

    @property
    def rollbacks(self) -> int:
        return sum("rollback" in entry for entry in self.journal)

    def journal_lines(self) -> str:
        """The journal as JSON, a line an entry."""
        return "".join(f"{json.dumps(entry)}\n" for entry in self.journal)

    def summary(self) -> str:
        """One line for the end of training."""
        if not self.examinations:
            return "no examination was due"
        alerts = [f"{e['alert']} at step {e['step']}" for e in self.journal if "alert" in e]
        if not alerts:
            return f"no alerts in {self.examinations} examinations"
        back = f"; {self.rollbacks} rollbacks" if self.rollbacks else ""
        return f"{', '.join(alerts)}{back}"


_KEPT = ("stream", "healthy", "examinations", "class_counts", "rules", "journal")
