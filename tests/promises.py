"""What a ledger must tell, whatever has happened to drivers, actors and storage."""

import json
from typing import Any

from study.folder import StudyFolder
from study.ledger import EPOCH, LOST, SESSION_STARTED


def facts_of(folder: StudyFolder) -> list[dict[str, Any]]:
    return [json.loads(line) for line in folder.ledger.read_text().splitlines()]


def assert_no_epoch_but_one_is_repeated(folder: StudyFolder) -> None:
    """Of each trial, a new session goes on at most one epoch before the last that was told; ended ones rest."""
    told: dict[int, int] = {}
    ended: set[int] = set()
    fresh: set[int] = set()  # trials that have told an epoch since their driver or actor was last lost
    for fact in facts_of(folder):
        number = fact.get("number")
        if fact["fact"] == SESSION_STARTED:
            fresh.clear()
        elif fact["fact"] == LOST:
            fresh.discard(number)
        elif fact["fact"] == EPOCH:
            epoch, last = fact["metrics"]["epoch"], told.get(number, 0)
            assert number not in ended, f"trial {number} had ended"
            assert epoch == last + 1 or (number not in fresh and epoch == last), (number, last, epoch)
            told[number] = epoch
            fresh.add(number)
        elif fact["fact"] == "ended":
            assert number not in ended, f"trial {number} ended twice"
            ended.add(number)
