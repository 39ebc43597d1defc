"""Wrong requests to every command: one line on stderr, status 2, and nothing is written."""

import re
import sys
from pathlib import Path

import pytest

from study.cli.app import COMMANDS, main
from study.interruption import interruption
from tests.support.example_studies import files_below, make_study, study_config

CASES = [
    ("launch nosuch", "unknown study 'nosuch'"),
    ("launch nosuch.yaml", "unknown study 'nosuch.yaml'"),
    ("launch digits --set nosuch=1", "unknown key 'nosuch'"),
    ("launch digits --set trials=many", "trials must be an integer"),
    ("launch digits --set trials", "--set must be KEY=VALUE"),
    ("launch digits --trials 0", "trials must be at least 1"),
    ("launch digits --name a/b", "name must consist of"),
    ("launch digits --storage small/study.yaml", "storage small/study.yaml/digits can't be"),
    ("launch digits --storage ftp://host/x", "storage must be a folder"),
    ("resume nosuch", "is no study folder"),
    ("resume small --trials 0", "greater than or equal to 1"),
    ("resume small --set trial.model=vgg16", "would not be comparable|not be comparable"),
    ("resume small --set space.family=[nosuch]", "nosuch"),
    ("resume small --set space.num_levels.low=90", "high must be at least low"),
    ("resume small --set space.nosuch.low=1", "nosuch"),
    ("resume small --set early_stopping.reduction_factor=1", "reduction_factor must be at least 2"),
    ("resume small --set stop.hours=-1", "stop.hours must be above 0"),
    ("resume small --set loggers=[nosuch]", "loggers.0 must be"),
    ("enqueue nosuch --set family=RM", "is no study folder"),
    ("enqueue small", "Missing option '--set'"),
    ("enqueue small --set family=nosuch --set num_levels=4", "nosuch"),
    ("enqueue small --set family=RM --set num_levels=4", "lam is missing for RM"),
    ("enqueue small --set family=RM --set lam=1", "num_levels is missing"),
    ("enqueue small --set family=none --set num_levels=4 --set lam=1", "lam must be left out for none"),
    ("enqueue small --set family=RM --set num_levels=1 --set lam=1", "num_levels must be at least 2"),
    ("enqueue small --set family=RM --set num_levels=four --set lam=1", "num_levels must be an integer"),
    ("enqueue small --set family=RM --set num_levels=4 --set lam=-1", "lam must be at least 0"),
    ("enqueue small --set family=RM --set num_levels=4 --set lam=1 --set placement=nosuch", "nosuch"),
    ("enqueue small --set family=RM --set num_levels=4 --set lam=1 --set seed=3", "seed"),
    (
        "enqueue small --set family=RM --set num_levels=4 --set lam=1 --set recipe.batch_size=8",
        "recipe.batch_size must be searched by the study",
    ),
    ("enqueue small --set family=none --set num_levels=2", "that of trial 1 .COMPLETE."),
    ("enqueue plan --set family=none --set num_levels=2", "one that runs a plan"),
    ("stop nosuch", "is no study folder"),
    ("stop small", "needs a study that runs, got small .finished.; nothing is to do"),
    ("stop small --trial 2", "needs a study that runs"),
    ("confirm nosuch", "is no study folder"),
    ("confirm small --seeds 0", "greater than or equal to 1"),
    ("confirm small --levels two", "--levels must be whole numbers"),
    ("confirm plan", "qar confirm takes a search"),
    ("status nosuch", "is no study folder"),
    ("status s3://user:word@bucket/x", "DIR must hold no credentials"),
    ("doctor nosuch", "unknown study 'nosuch'"),
    ("doctor digits --price -1", "greater than or equal to 0"),
    ("dashboard nosuch", "is no study folder"),
    ("dashboard small --port 0", "greater than or equal to 1"),
    ("track nosuch", "is no study folder"),
    ("track small --logger nosuch", "--logger must be one of"),
    ("track small", "must name trackers under loggers"),
    ("report nosuch", "nosuch"),
    ("report small --cost nosuch", "nosuch"),
    ("report small --formats nosuch", "nosuch"),
    ("clean nosuch", "is no study folder"),
    ("clean begun", "needs a study that has finished"),
    ("repair nosuch", "is no study folder"),
    ("export small --trial 99 --out x.qar", "unknown trial '99'"),
    ("export small --trial 1", "Missing option '--out'"),
    ("reproduce small --trial 99", "unknown trial '99'"),
    ("evaluate", "Missing argument 'FILE'"),
    ("check nosuch", "nosuch"),
    ("families more", "unknown family 'more'"),
    ("list nosuch", "must be a folder that holds studies"),
    ("compare small", "needs at least two different studies"),
    ("compare small small", "needs at least two different studies"),
    ("compare small nosuch", "is no study folder"),
    ("merge small begun", "Missing option '--into'"),
    ("merge small --into both", "needs at least two different studies"),
    ("merge small nosuch --into both", "is no study folder"),
    ("merge small begun --into small", "holds a study already"),
    ("merge small plan --into both", "whose plans differ"),
    (
        "merge small narrow --into both",
        "got small and narrow, which differ in trial.width .1.0 and 0.5.",
    ),
    ("remove nosuch --yes", "is no study folder"),
    ("rename nosuch other", "is no study folder"),
    ("rename small begun", "NAME must be free"),
    ("rename small a/b", "name must consist of"),
    ("nosuch", "No such command 'nosuch'"),
]


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Studies that are finished, begun, of narrower networks, and with a plan."""
    folder = tmp_path_factory.mktemp("here")
    make_study(folder / "small")
    make_study(folder / "begun", study_config(name="begun", trials=5, seed=1), ended=False)
    narrower = {"regularize_epochs": 3, "finetune_epochs": 1, "width": 0.5}
    make_study(folder / "narrow", study_config(name="narrow", trials=5, trial=narrower))
    plan = [{"family": "none", "num_levels": 4, "placement": "kmeans"}]
    make_study(folder / "plan", study_config(name="plan", plan=plan, trials=5, replicates=5))
    return folder


@pytest.mark.parametrize(("arguments", "message"), CASES)
def test_wrong_request_is_one_line_and_writes_nothing(
    arguments: str, message: str, here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(here)
    monkeypatch.setattr(sys, "argv", ["qar", *arguments.split()])
    monkeypatch.setattr(interruption, "install", lambda: None)
    before = files_below(here)
    with pytest.raises(SystemExit) as ended:
        main()
    shown = capsys.readouterr()
    assert ended.value.code == 2, shown
    assert shown.out == ""
    assert shown.err.startswith("qar: ")
    assert shown.err.count("\n") == 1
    assert re.search(message, shown.err), shown.err
    assert files_below(here) == before


def test_every_command_has_a_wrong_request() -> None:
    names = {command.__name__.rstrip("_") for command in COMMANDS}
    assert names == {arguments.split()[0] for arguments, _ in CASES} - {"nosuch"}
