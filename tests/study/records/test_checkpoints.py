"""The rule by which a trial writes a checkpoint, as a table."""

from typing import Any

import pytest

from study.config import changed_by, load_study
from study.ledger.facts import ASKED, CHECKPOINT, LOST
from study.records.checkpoints import MOST_SECONDS_AGAIN, CheckpointRule
from tests.support.example_studies import Unwritten, asked, metrics, study_config

SHORT, LONG = 1.0, MOST_SECONDS_AGAIN / 2 + 0.1
"""Seconds of an epoch: many fit into the time that may be lost, or one."""


def is_due(
    epoch: int,
    *,
    seconds: float = SHORT,
    saved: tuple[int, ...] = (),
    lost: bool = False,
    ends: bool = False,
    rule: CheckpointRule | None = None,
) -> bool:
    """Return whether a trial of 8 and 6 epochs is due a checkpoint after an epoch."""
    ledger = Unwritten()
    config = study_config(trial={"regularize_epochs": 8, "finetune_epochs": 6})
    ledger.record(ASKED, **asked(0, config.trial_config({"family": "none", "num_levels": 2})))
    for each in range(1, epoch + 1):
        phase = "regularize" if each <= 8 else "finetune"
        values: dict[str, Any] = metrics(each, phase=phase) | {"train_seconds": seconds}
        ledger.record("epoch", number=0, metrics=values)
        if each in saved:
            ledger.record(CHECKPOINT, number=0, epoch=each, path=f"ray/session-001/0/checkpoint_{each:06}")
    if lost:
        ledger.record(LOST, number=0, reason="the actor died")
    return (rule or CheckpointRule(rungs=[5])).is_due(ledger.history.trials[0], ends=ends)


@pytest.mark.parametrize(
    ("case", "due"),
    [
        ({"epoch": 1}, False),
        ({"epoch": 4}, False),
        ({"epoch": 5}, True),  # a rung
        ({"epoch": 6}, False),
        ({"epoch": 8}, True),  # the end of the first phase
        ({"epoch": 9}, False),
        ({"epoch": 14}, True),  # the end
        ({"epoch": 3, "ends": True}, True),  # a user or a rule ends it
        ({"epoch": 2, "lost": True}, True),  # one of its few retries is gone
        ({"epoch": 1, "rule": CheckpointRule(every_epoch=True)}, True),
        ({"epoch": 5, "rule": CheckpointRule()}, False),  # no early stopping
        ({"epoch": 1, "seconds": LONG}, True),
        ({"epoch": 4, "seconds": LONG, "saved": (1, 2, 3)}, True),
        ({"epoch": 3, "seconds": MOST_SECONDS_AGAIN / 4}, False),  # 4 of them may be lost
        ({"epoch": 4, "seconds": MOST_SECONDS_AGAIN / 4}, True),
        ({"epoch": 4, "seconds": MOST_SECONDS_AGAIN / 4, "saved": (3,)}, False),
        ({"epoch": 7, "seconds": MOST_SECONDS_AGAIN / 4, "saved": (3,)}, True),
    ],
)
def test_checkpoint_is_due_where_a_trial_may_have_to_continue(case: dict[str, Any], due: bool) -> None:
    assert is_due(**case) is due


def test_epoch_that_is_trained_again_replaces_its_damaged_checkpoint() -> None:
    ledger = Unwritten()
    config = study_config(trial={"regularize_epochs": 8, "finetune_epochs": 6})
    ledger.record(ASKED, **asked(0, config.trial_config({"family": "none", "num_levels": 2})))
    for epoch in (1, 2):
        ledger.record("epoch", number=0, metrics=metrics(epoch))
    ledger.record(CHECKPOINT, number=0, epoch=2, path="ray/session-001/0/checkpoint_000000")
    trial = ledger.history.trials[0]
    trial.may_go_back = True  # as the next session begins
    ledger.record("epoch", number=0, metrics=metrics(1))
    assert CheckpointRule().is_due(trial, ends=False)


@pytest.mark.parametrize("name", ["needed", "every_epoch"])
def test_rule_follows_the_configuration(name: str) -> None:
    rule = CheckpointRule.of(study_config(resources={"checkpoints": name}), [4])
    assert rule == CheckpointRule(every_epoch=name == "every_epoch", rungs=frozenset([4]))


def test_other_words_for_it_are_refused_in_one_line() -> None:
    with pytest.raises(ValueError, match=r"resources\.checkpoints.*'needed' or 'every_epoch'.*'sometimes'") as refused:
        load_study("digits", ["resources.checkpoints=sometimes"])
    assert len(str(refused.value).splitlines()) == 1


def test_study_that_exists_can_change_it() -> None:
    config = changed_by(["resources.checkpoints=every_epoch"], study_config())
    assert (config.resources.checkpoints, config.version) == ("every_epoch", 1)
