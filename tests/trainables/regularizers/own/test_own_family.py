"""Families and placements that users write, from the name in a study to the pull on weights."""

import copy
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from study.cli.app import app
from study.config import parse_study
from trainables.config import TrialConfig
from trainables.phases import RegularizePhase
from trainables.preflight import preflight
from trainables.run import CompressionRun

CODE = '''
import torch

from trainables.regularizers import family
from trainables.regularizers.nearest import NearestDistance
from trainables.regularizers.representatives import FreeRepresentatives


@family(formula="(w - r)²", source="a test", trained=True, title="nearest, squared")
def pull(weights, representatives):
    return (weights[:, None] - representatives).square().amin(1)


@family(formula="|w - r|", source="a test", trained=True)
class Absolute(NearestDistance):
    """RM by another name."""

    def __init__(self, weights, num_levels, form):
        super().__init__(FreeRepresentatives(weights, num_levels, form.initial), form, len(weights))


@family(formula="x", source="y", trained=False)
def table(weights, representatives):
    return weights[:, None] - representatives


@family(formula="x", source="y", trained=False)
def infinite(weights, representatives):
    return weights / 0


@family(formula="x", source="y", trained=False)
def three(weights, representatives, more):
    return weights


@family(formula="x", source="y", trained=True)
class Incomplete:
    def __init__(self, weights, num_levels, form):
        self.state = self.representatives = weights[:num_levels]


def undeclared(weights, representatives):
    return weights


number = 3


def middle(weights, num_levels):
    return weights.mean() + torch.arange(num_levels, 0, -1) * 0.01


def few(weights):
    return weights[:1]
'''


@pytest.fixture(autouse=True)
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    (tmp_path / "ownpull.py").write_text(CODE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    yield
    sys.modules.pop("ownpull", None)


def trial(**changes: object) -> TrialConfig:
    values = {"family": "ownpull:pull", "num_levels": 4, "lam": 4.0, "regularize_epochs": 1, "finetune_epochs": 0}
    return TrialConfig.from_dict(values | changes)


def test_class_that_is_rm_by_another_name_trains_as_rm_does() -> None:
    def metrics(family: str) -> dict[str, object]:
        values = CompressionRun(trial(family=family), fused=False).run_epoch()
        return {name: value for name, value in values.items() if "seconds" not in name}

    assert metrics("ownpull:Absolute") == metrics("RM")


def test_function_pulls_and_its_representatives_are_trained_and_restored() -> None:
    run = CompressionRun(trial(regularize_epochs=2))
    assert isinstance(run.phase, RegularizePhase)
    before = {name: values.representatives.clone() for name, values in run.phase.quantizers.items()}
    first = run.run_epoch()
    assert first["penalty"] > 0
    after = run.phase.quantizers
    assert any(not torch.equal(before[name], after[name].representatives) for name in before)
    other = CompressionRun(trial(regularize_epochs=2))
    other.load_state_dict(copy.deepcopy(run.state_dict()))
    expected, received = run.run_epoch(), other.run_epoch()
    assert {k: v for k, v in expected.items() if k != "train_seconds"} == {
        k: v for k, v in received.items() if k != "train_seconds"
    }


def test_own_placement_is_used() -> None:
    run = CompressionRun(trial(family="none", lam=0.0, placement="ownpull:middle"))
    run.run_epoch()
    for name, (representatives, _) in run.phase.codebooks().items():
        weights = run.weights[name].detach()
        expected = weights.mean() + torch.arange(1, len(representatives) + 1) * 0.01
        torch.testing.assert_close(representatives, expected)


@pytest.mark.parametrize(
    ("family", "message"),
    [
        ("ownpull:gone", r"an attribute of ownpull, got 'gone'; choose from \['Absolute'"),
        ("ownpull:number", "must be a function or a class, got int"),
        ("ownpull:undeclared", "must be declared as a family, got a plain function; decorate it with @"),
        ("ownpull:three", r"must be callable with \(weights, representatives\), got a function with the signature"),
        ("ownpull:table", r"the penalty of each weight must have shape \(\d+,\), got \(\d+, 3\); mend it"),
        ("ownpull:infinite", "must give a finite gradient for a layer, got: its gradient is not finite"),
        ("ownpull:Incomplete", "it lacks progress, half_spacing, steepest, add_gradient, value of the Regularizer"),
    ],
)
def test_families_that_cannot_work_are_refused_before_a_study_begins(family: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        preflight(trial(family="none", lam=0.0), 4, [family])
    assert "\n" not in str(caught.value)


def test_proximal_steps_need_a_method() -> None:
    proximal = {"recipe": {"penalty_application": "proximal"}}
    preflight(trial(**proximal), 4, ["ownpull:Absolute"])
    with pytest.raises(ValueError, match="which has no method shrink, got 'proximal'"):
        preflight(trial(**proximal), 4, ["ownpull:pull"])


def test_placements_that_cannot_work_are_refused() -> None:
    with pytest.raises(ValueError, match=r"must return 3 finite representatives, got shape \(1,\); mend it"):
        preflight(trial(), 4, [], ["ownpull:few"])


def test_names_in_a_study_are_checked_without_importing() -> None:
    values = {"name": "x", "trials": 5, "space": {"family": ["none", "nowhere:f"], "placement": ["own", "no.such:g"]}}
    config = parse_study(values, "x.yaml")
    assert config.space.placements("nowhere:f") == ["own", "no.such:g"]
    assert config.space.placements("none") == ["no.such:g"]
    assert config.trial_config({"family": "nowhere:f", "num_levels": 2, "lam": 1.0}).placement == "own"
    assert "nowhere" not in sys.modules


def test_families_and_check_print_own_parts(capsys: pytest.CaptureFixture[str]) -> None:
    app(["families", "ownpull:pull"], standalone_mode=False)
    shown = capsys.readouterr().out
    assert "ownpull:pull (own): nearest, squared" in shown
    assert "penalty of a weight  (w - r)²" in shown
    assert "source               a test" in shown
    app(["check", "ownpull:pull"], standalone_mode=False)
    assert "pass  in-place contract" in capsys.readouterr().out
    app(["check", "ownpull:middle"], standalone_mode=False)
    assert capsys.readouterr().out.startswith("ownpull:middle: placement\npass  normal weights")
