"""A study on a real Ray in which early stopping frees a place in a pack, which the next trial takes."""

import json
from pathlib import Path

import pytest

from tests.support.live_studies import assert_quiet, qar

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

STUDY = (
    *("--set", "resources.trials_per_actor=2", "--set", "resources.max_concurrent=2"),
    *("--set", "trial.init=scratch", "--set", "trial.width=0.25", "--set", "trial.subset=160"),
    *("--set", "trial.regularize_epochs=6", "--set", "trial.finetune_epochs=0"),
    *("--set", "space.family=[RM]", "--set", "space.lam_by_family={}"),
    *("--set", "anchors.family=[none]", "--set", "anchors.num_levels=[4]"),
    *("--set", "early_stopping.grace_period=1", "--set", "early_stopping.reduction_factor=2"),
    *("--set", "early_stopping.first_of_family=compared"),
)


def test_place_of_a_stopped_trial_is_taken_by_the_next_while_the_other_goes_on(tmp_path: Path) -> None:
    """There are two places in one actor. The trial beside the stopped one trains on beside the new one."""
    ended = qar("launch", "digits", "--trials", "12", *STUDY, cwd=tmp_path)
    assert ended.status == 0, ended
    assert_quiet(ended)
    facts = [json.loads(line) for line in (tmp_path / "studies" / "digits" / "ledger.jsonl").read_text().splitlines()]
    steps = [(one["fact"], one.get("number", -1), one.get("state")) for one in facts]
    filled = []
    for place, (fact, number, state) in enumerate(steps):
        if (fact, state) != ("ended", "PRUNED"):
            continue
        before = {other for kind, other, _ in steps[:place] if kind == "epoch"}
        after = [other for kind, other, _ in steps[place:] if kind == "epoch"]
        running = before & set(after)
        following = [other for other in after if other not in before]
        # The trial that was beside the stopped one has epochs both before and after the first of its new neighbour.
        if running and following and following[0] > number and running & set(after[after.index(following[0]) :]):
            filled.append(number)
    assert filled, f"no stopped trial's place was taken beside a running one: {steps}"
