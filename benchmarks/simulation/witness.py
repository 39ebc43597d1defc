"""A witness of all that a driver does: no act may rest on a fact that a crash could still take back."""

import json
import time

from study.ledger import facts
from study.ledger.history import History


class PromiseBrokenError(AssertionError):
    """A driver has acted on a fact before it was durable, or a durable fact is gone."""


class Witness:
    """Second place of a ledger's facts, which notes the durable ones and compares with them what the driver does.

    Attributes:
        size: bytes of the ledger that are durable.
        num_facts: number of facts that are durable.
        num_ended: number of trials whose end is durable.
        acts: number of acts that were compared.
        seconds: seconds of the processor that the witness itself has taken.
    """

    def __init__(self) -> None:
        """Create a witness of a study without facts."""
        self.size = self.num_facts = self.num_ended = self.acts = 0
        self.seconds = 0.0
        self._epochs: dict[int, int] = {}  # by number of a trial that has not ended: its latest durable epoch
        self._saved: dict[int, int] = {}  # epoch of its latest durable checkpoint
        self._asked = 0
        self._ended = bytearray()
        self._continued: dict[int, int] = {}  # by trial: the epoch after which it was let go on, 0 for the start

    def append(self, lines: bytes) -> None:
        """Note facts that are durable now."""
        began = time.thread_time()
        for line in lines.splitlines():
            self.num_facts += 1
            entry = json.loads(line)
            match entry["fact"]:
                case facts.ASKED:
                    self._asked += 1
                    self._ended.append(False)
                    self._epochs[entry["number"]] = self._saved[entry["number"]] = 0
                case facts.EPOCH:
                    self._epochs[entry["number"]] = entry["metrics"]["epoch"]
                case facts.CHECKPOINT:
                    self._saved[entry["number"]] = entry["epoch"]
                case facts.ENDED:
                    number = entry["number"]
                    self._expect(not self._ended[number], f"trial {number} has ended twice")
                    self._ended[number] = True
                    self.num_ended += 1
                    for known in (self._epochs, self._saved, self._continued):
                        known.pop(number, None)
        self.size += len(lines)
        self.seconds += time.thread_time() - began

    def check(self) -> None:
        """Do nothing: this place can always be written."""

    def close(self) -> None:
        """Do nothing."""

    def starts(self, number: int, epoch: int) -> None:
        """Check the start of a trial after an epoch, 0 for a new one."""
        self._act()
        self._expect(number < self._asked, f"trial {number} was started before the ledger held it")
        self._expect(not self._ended[number], f"trial {number} was started after its end")
        self._expect(epoch <= self._saved[number], f"trial {number} continues from a checkpoint that may be lost")
        self._continued[number] = epoch

    def goes_on(self, number: int, epoch: int) -> None:
        """Check that a trial may go on after an epoch."""
        self._act()
        self._expect(self._epochs.get(number, 0) >= epoch, f"trial {number} went on before epoch {epoch} was durable")
        self._expect(self._saved.get(number, 0) >= epoch, f"trial {number} went on before its checkpoint was durable")
        self._continued[number] = epoch

    def check_survivors(self, history: History) -> None:
        """Check that a driver that takes over knows of all that its predecessor acted on."""
        for number, epoch in self._continued.items():
            trial = history.trials.get(number)
            self._expect(trial is not None, f"trial {number} was started, and the ledger lacks it")
            assert trial is not None
            latest = trial.checkpoint.epoch if trial.checkpoint else 0
            self._expect(latest >= epoch, f"trial {number} went on after epoch {epoch}, and the ledger has {latest}")
        self._continued.clear()

    def _act(self) -> None:
        self.acts += 1

    @staticmethod
    def _expect(condition: bool, otherwise: str) -> None:
        if not condition:
            raise PromiseBrokenError(otherwise)
