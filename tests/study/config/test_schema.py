"""Configurations that are accepted, and refusals of others: one line each with the key and the reason."""

from dataclasses import fields
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from study.config import SEARCHED, StudyConfig, changes_by, load_study, named_studies, parse_study
from study.storage.folder import StudyFolder
from tests.support.example_studies import files_below, study_config
from trainables.config import TrialConfig
from trainables.data.datasets import DATASETS
from trainables.errors import DamagedFileError
from trainables.families import FAMILIES, PLACEMENTS
from trainables.models import MODELS


@st.composite
def study_values(draw: st.DrawFn) -> dict[str, Any]:
    """Configurations within the rules, as YAML gives them."""
    regularize_epochs, finetune_epochs = draw(st.integers(1, 9)), draw(st.integers(0, 9))
    low = draw(st.integers(2, 100))
    positive = st.floats(1e-300, 1e300)
    smaller, larger = sorted([draw(positive), draw(positive)])
    return {
        "name": draw(st.from_regex(r"\A[A-Za-z0-9][A-Za-z0-9._-]{0,9}\Z")),
        "trials": draw(st.integers(1, 10**6)),
        "seed": draw(st.integers(0, 2**62)),
        "trial": {
            "regularize_epochs": regularize_epochs,
            "finetune_epochs": finetune_epochs,
            "validation_fraction": draw(st.floats(0.01, 0.99)),
            "recipe": {"learning_rate": draw(positive), "optimizer": draw(st.sampled_from(["adam", "sgd"]))},
            "penalty": {"squared": draw(st.booleans()), "temperature": draw(positive)},
        },
        "space": {
            "family": draw(st.lists(st.sampled_from(sorted(FAMILIES)), min_size=1, unique=True)),
            "num_levels": {"low": low, "high": low + draw(st.integers(0, 100))},
            "lam": {"low": smaller, "high": larger},
            "placement": ["kmeans", *draw(st.sampled_from([[], ["own"], ["uniform", "own"]]))],
        },
        "anchors": {"num_levels": draw(st.lists(st.integers(2, 300)))},
        "early_stopping": {
            "scheduler": draw(st.sampled_from(["asha", "none"])),
            "grace_period": draw(st.integers(1, regularize_epochs + finetune_epochs)),
            "reduction_factor": draw(st.integers(2, 5)),
        },
        "resources": {
            "cpus": draw(st.integers(1, 8)),
            "gpus": draw(st.floats(0, 8)),
            "max_concurrent": draw(st.none() | st.integers(1, 9)),
        },
    }


@pytest.mark.parametrize("name", named_studies())
def test_named_study_loads_and_names_what_exists(name: str) -> None:
    config = load_study(name)
    assert config.name == name
    assert config.trial["model"] in MODELS
    assert config.trial["dataset"] in DATASETS


def test_named_studies_are_the_files_of_configs() -> None:
    files = (Path(__file__).parents[3] / "study" / "configs").glob("*.yaml")
    assert named_studies() == sorted(file.stem for file in files)
    assert "digits" in named_studies()


@settings(max_examples=40)
@given(study_values())
def test_resolved_config_is_unchanged_by_yaml(values: dict[str, Any]) -> None:
    config = parse_study(values, "test")
    assert parse_study(yaml.safe_load(yaml.safe_dump(config.model_dump())), "test") == config


def test_study_yaml_is_enough_to_launch_again(tmp_path: Path) -> None:
    config = study_config()
    folder = StudyFolder(tmp_path / "small")
    folder.create(config)
    assert folder.read_config() == config
    assert load_study(str(folder.study_yaml)) == config


def test_resolved_trial_holds_every_field_that_is_not_searched() -> None:
    config = study_config()
    assert {*config.trial, *SEARCHED} == {field.name for field in fields(TrialConfig)}
    assert config.trial["recipe"]["batch_size"] == 64
    assert config.epochs == 4


def test_trial_config_joins_what_is_common_and_what_is_searched() -> None:
    config = study_config(seed=7)
    trial = config.trial_config({"family": "RE", "num_levels": 8, "lam": 0.5, "placement": "own"})
    assert (trial.family, trial.num_levels, trial.lam, trial.placement) == ("RE", 8, 0.5, "own")
    assert (trial.seed, trial.epochs) == (7, 4)


def test_float_network_is_trained_as_long_as_the_study_says() -> None:
    assert list(study_config().baseline_seeds) == []
    begun = {"trial": {"regularize_epochs": 3, "finetune_epochs": 1, "init": "pretrained"}, "seed": 5, "replicates": 2}
    assert list(study_config(**begun).baseline_seeds) == [5, 6]
    assert study_config(**begun).baseline_config(6).regularize_epochs == 3
    longer = study_config(**begun, baseline_epochs=40).baseline_config(6)
    assert (longer.regularize_epochs, longer.seed, longer.init) == (40, 6, "scratch")
    assert (longer.family, longer.num_levels) == ("none", None)


def test_load_study_reads_a_file_and_applies_overrides_in_order(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("name: mine\ntrials: 3\nspace: {family: [RS]}\n")
    config = load_study(str(path), ["trials=4", "trial.recipe.batch_size=16", "trials=5", "anchors.num_levels=[3]"])
    assert (config.name, config.trials, config.trial["recipe"]["batch_size"]) == ("mine", 5, 16)
    assert config.anchors.num_levels == [3]


SECRET = "hunter2"
URIS_WITH_SECRETS = [
    ("optuna_storage", "postgresql://user:hunter2@host/db"),
    ("optuna_storage", "postgresql://user:a?hunter2@host/db"),
    ("optuna_storage", "postgresql://127.0.0.1:1/db?user=u&password=hunter2"),
    ("optuna_storage", "mysql+pymysql://u@127.0.0.1:1/db?passwd=hunter2"),
    ("optuna_storage", "postgresql:///db?host=/run/pg&SSLPassword=hunter2"),
    ("optuna_storage", "postgresql://h/db?pass%77ord=hunter2"),
    ("optuna_storage", "mssql+pyodbc:///?odbc_connect=DRIVER%3DX%3BPWD%3Dhunter2"),
    ("trial.data_dir", "s3://AKIA:hunter2@bucket/data"),
    ("trial.data_dir", "s3://bucket/data?access_key=a&secret_key=hunter2"),
    ("trial.dataset", "npz:s3://bucket/x.npz?session_token=hunter2"),
    ("trial.dataset", "npz:s3://bucket/x.npz?endpoint_override=http%3A%2F%2Fu%3Ahunter2%40h"),
    ("warm_start", "s3://hunter2@bucket/studies/x"),
]


@pytest.mark.parametrize(("key", "uri"), URIS_WITH_SECRETS)
def test_credentials_in_a_uri_are_refused_and_not_repeated(key: str, uri: str) -> None:
    with pytest.raises(ValueError, match=r"must hold no credentials") as refusal:
        load_study("digits", [f"{key}={f'[{uri!r}]' if key == 'warm_start' else repr(uri)}"])
    assert key in str(refusal.value)
    assert SECRET not in str(refusal.value)


def test_study_of_an_earlier_version_with_credentials_is_still_read(tmp_path: Path) -> None:
    folder = StudyFolder(tmp_path / "small")
    folder.create(study_config())
    values = yaml.safe_load(folder.study_yaml.read_text())
    values["trial"]["data_dir"] = "s3://bucket/data?secret_key=hunter2"
    folder.study_yaml.write_text(yaml.safe_dump(values))
    assert folder.read_config().trial["data_dir"] == values["trial"]["data_dir"]


def test_duplicate_key_of_a_file_is_refused_with_both_lines(tmp_path: Path) -> None:
    path = tmp_path / "dup.yaml"
    path.write_text("name: dup\ntrials: 2\ntrial: {model: vgg16}\nspace: {family: [RS]}\ntrial: {width: 2.0}\n")
    with pytest.raises(ValueError, match=r"^[^\n]*'trial' is there twice, in lines 3 and 5[^\n]*$"):
        load_study(str(path))


def test_load_study_reads_numbers_that_yaml_takes_for_strings(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("name: mine\ntrials: 3\nspace: {family: [RS], lam: {low: 1e-5, high: 1e-2}}\n")
    assert yaml.safe_load(path.read_text())["space"]["lam"]["low"] == "1e-5"
    config = load_study(str(path), ["trial.recipe.learning_rate=1e-4"])
    assert (config.space.lam.low, config.space.lam.high) == (1e-5, 1e-2)
    assert config.trial["recipe"]["learning_rate"] == 1e-4


def test_grace_period_means_nothing_where_no_trial_is_stopped() -> None:
    shorter = ["trial.regularize_epochs=2", "trial.finetune_epochs=1", "early_stopping.scheduler=none"]
    assert load_study("digits", shorter).epochs == 3


# An override of the study `digits`, and what the message has to name: the key, the rule or the choices, the value.
WRONG = {
    "unknown key": ("nosuch=1", ["'nosuch'", "early_stopping", "trials"]),
    "unknown nested key": ("early_stopping.nosuch=1", ["'early_stopping.nosuch'", "grace_period", "scheduler"]),
    "unknown key of a range": ("space.lam.nosuch=1", ["'space.lam.nosuch'", "high", "low"]),
    "unknown key of trial": ("trial.nosuch=1", ["'trial.nosuch'", "dataset", "recipe"]),
    "unknown key of recipe": ("trial.recipe.nosuch=1", ["'trial.recipe.nosuch'", "batch_size", "learning_rate"]),
    "unknown key of penalty": ("trial.penalty.nosuch=1", ["'trial.penalty.nosuch'", "bounded", "temperature"]),
    "search that looks at the test split": ("trial.evaluate_test=true", ["trial.evaluate_test", "qar confirm"]),
    "baseline without epochs": ("baseline_epochs=0", ["baseline_epochs", "1", "0"]),
    "unknown family": ("space.family=[RS, RX]", ["space.family", "'RX'", *FAMILIES]),
    "no family": ("space.family=[]", ["space.family", "[]"]),
    "unknown placement": ("space.placement=[corner]", ["space.placement", "'corner'", *PLACEMENTS]),
    "λ of a family without a penalty": (
        "space.lam_by_family={none: {low: 1.0, high: 2.0}}",
        ["lam_by_family", "none", "penalty"],
    ),
    "unknown scheduler": ("early_stopping.scheduler=median", ["early_stopping.scheduler", "asha", "none", "'median'"]),
    "unknown optimizer": ("trial.recipe.optimizer=lion", ["optimizer", "'lion'", "adam", "sgd"]),
    "unknown initial": ("trial.penalty.initial=random", ["initial", "'random'", "quantiles"]),
    "K below 2": ("space.num_levels.low=1", ["space.num_levels.low", "2", "got 1"]),
    "K below 2 in an anchor": ("anchors.num_levels=[4, 1]", ["anchors.num_levels.1", "2", "got 1"]),
    "K not whole": ("space.num_levels.high=8.5", ["space.num_levels.high", "8.5"]),
    "K high below low": ("space.num_levels={low: 8, high: 4}", ["space.num_levels", "at least low (8)", "got 4"]),
    "lam below 0": ("space.lam.low=-1", ["space.lam.low", "0", "got -1"]),
    "lam 0 on a logarithmic scale": ("space.lam.low=0", ["space.lam.low", "above 0", "got 0"]),
    "lam NaN": ("space.lam.low=.nan", ["space.lam.low", "finite", "nan"]),
    "lam NaN as a string": ("space.lam.low=nan", ["space.lam.low", "a number", "'nan'"]),
    "lam infinite": ("space.lam.high=.inf", ["space.lam.high", "finite", "inf"]),
    "lam high below low": ("space.lam={low: 0.5, high: 0.25}", ["space.lam", "at least low (0.5)", "got 0.25"]),
    "no trials": ("trials=0", ["trials", "1", "got 0"]),
    "trials not a number": ("trials=many", ["trials", "integer", "'many'"]),
    "trials a truth value": ("trials=true", ["trials", "integer", "True"]),
    "seed below 0": ("seed=-1", ["seed", "0", "got -1"]),
    "grace period beyond the last epoch": ("early_stopping.grace_period=19", ["grace_period", "(9)", "got 19"]),
    "grace period 0": ("early_stopping.grace_period=0", ["grace_period", "1", "got 0"]),
    "reduction factor 1": ("early_stopping.reduction_factor=1", ["reduction_factor", "2", "got 1"]),
    "no epochs": ("trial.regularize_epochs=0", ["regularize_epochs", "at least 1", "got 0"]),
    "finetune epochs below 0": ("trial.finetune_epochs=-1", ["finetune_epochs", "at least 0", "got -1"]),
    "validation fraction above 1": ("trial.validation_fraction=1.5", ["validation_fraction", "between 0 and 1", "1.5"]),
    "learning rate 0": ("trial.recipe.learning_rate=0", ["learning_rate", "above 0", "got 0"]),
    "learning rate NaN": ("trial.recipe.learning_rate=.nan", ["learning_rate", "finite", "nan"]),
    "weight decay below 0": ("trial.recipe.weight_decay=-0.5", ["weight_decay", "at least 0", "-0.5"]),
    "batch size 0": ("trial.recipe.batch_size=0", ["batch_size", "at least 2", "got 0"]),
    "recipe not a mapping": ("trial.recipe=3", ["trial.recipe", "mapping", "got 3"]),
    "trial not a mapping": ("trial=3", ["trial", "mapping", "got 3"]),
    "space left empty": ("space=", ["space", "None"]),
    "seed under trial": ("trial.seed=1", ["trial.seed", "set the key seed of the study"]),
    "seed beyond the tables": ("seed=9223372036854775808", ["seed", "at most", "got 9223372036854775808"]),
    "seed whose trials are beyond the tables": ("seed=9223372036854775807", ["seed", "seed + trials"]),
    "seed of YAML 1.1's octals": ("seed=010", ["seed=010", "ambiguous", "leading zeros"]),
    "trials with a fraction": ("trials=3.0", ["trials", "an integer", "got 3.0", "write 3"]),
    "truth value in trial": ("trial.subset=true", ["trial.subset", "an integer", "True"]),
    "truth value in recipe": ("trial.recipe.weight_decay=true", ["trial.recipe.weight_decay", "a number", "True"]),
    "YAML 1.1's truth value in recipe": ("trial.recipe.weight_decay=on", ["recipe.weight_decay", "a number", "'on'"]),
    "truth value in penalty": ("trial.penalty.temperature=true", ["trial.penalty.temperature", "a number", "True"]),
    "number for a truth value": ("trial.recipe.compile=1", ["trial.recipe.compile", "true or false", "got 1"]),
    "fraction for an integer in recipe": ("trial.recipe.batch_size=8.0", ["recipe.batch_size", "write 8"]),
    "truth value in a plan": ("plan=[{family: RS, num_levels: true}]", ["plan.0.num_levels", "an integer", "True"]),
    "key twice in a value": ("trial={width: 1.0, width: 2.0}", ["'width'", "twice"]),
    "K beyond the limit": ("space.num_levels.high=65537", ["space.num_levels.high", "65536", "got 65537"]),
    "K of an anchor beyond the limit": ("anchors.num_levels=[100000000]", ["anchors.num_levels.0", "65536"]),
    "searched key under trial": ("trial.lam=0.1", ["trial.lam", "space"]),
    "no cores": ("resources.cpus=0", ["resources.cpus", "1", "got 0"]),
    "GPUs below 0": ("resources.gpus=-1", ["resources.gpus", "0", "got -1"]),
    "GPUs NaN": ("resources.gpus=.nan", ["resources.gpus", "nan"]),
    "no trial at a time": ("resources.max_concurrent=0", ["resources.max_concurrent", "1", "got 0"]),
    "name a path": ("name=a/b", ["name", "'a/b'"]),
    "name with a space": ("name=a b", ["name", "'a b'"]),
    "name of the folder above": ("name=..", ["name", "'..'"]),
    "no name": ("name=''", ["name", "''"]),
    "name a number": ("name=3", ["name", "text", "got 3"]),
}


@pytest.mark.parametrize(("override", "fragments"), WRONG.values(), ids=WRONG)
def test_load_study_refuses_in_one_line(override: str, fragments: list[str]) -> None:
    with pytest.raises(ValueError, match=r"^(digits|--set [^\n]*): ") as refusal:
        load_study("digits", [override])
    message = str(refusal.value)
    assert "\n" not in message
    assert [fragment for fragment in fragments if fragment not in message] == [], message


def test_length_of_a_baseline_of_no_use_is_refused_in_one_line() -> None:
    with pytest.raises(ValueError, match=r"^(digits|--set [^\n]*): [^\n]*$") as refusal:
        load_study("digits", ["trial.init=scratch", "baseline_epochs=20"])
    message = str(refusal.value)
    assert all(part in message for part in ("baseline_epochs", "20", "'scratch'", "set trial.init")), message


@pytest.mark.parametrize(
    ("override", "named"), [("trials", "'trials'"), ("=3", "'=3'"), ("", "''"), ("trials.more=3", "trials.more")]
)
def test_load_study_refuses_a_malformed_override_in_one_line(override: str, named: str) -> None:
    with pytest.raises(ValueError, match=r"^--set [^\n]+$") as refusal:
        load_study("digits", [override])
    assert named in str(refusal.value)


def test_load_study_refuses_an_override_that_is_no_yaml() -> None:
    with pytest.raises(ValueError, match=r"^[^\n]*trials=\[1[^\n]*$"):
        load_study("digits", ["trials=[1"])


@pytest.mark.parametrize("key", ["nosuch", "trial.nosuch", "trial.recipe.nosuch", "trial.penalty.nosuch"])
def test_choices_for_an_unknown_key_are_keys_that_work(key: str) -> None:
    with pytest.raises(ValueError, match="choose from") as refusal:
        load_study("digits", [f"{key}=1"])
    choices = yaml.safe_load(str(refusal.value).partition("choose from ")[2])
    accepted = load_study("digits").model_dump()
    for part in key.split(".")[:-1]:
        accepted = accepted[part]
    assert set(choices) == set(accepted)


def test_all_that_is_wrong_is_in_the_one_line() -> None:
    with pytest.raises(ValueError, match=r"^digits: [^\n]+$") as refusal:
        load_study("digits", ["trials=0", "seed=-1", "nosuch=1"])
    assert [name for name in ("trials", "seed", "nosuch") if name not in str(refusal.value)] == []


def test_missing_key_is_named(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("name: mine\ntrials: 3\n")
    with pytest.raises(ValueError, match=r"space is missing[^\n]*$") as refusal:
        load_study(str(path))
    assert str(refusal.value).startswith(f"{path}: ")


@pytest.mark.parametrize("study", ["nosuch", "nosuch.yaml", "digits.yml", ".", ""])
def test_unknown_study_is_refused_with_the_choices(study: str) -> None:
    with pytest.raises(ValueError, match=r"^unknown study [^\n]+$") as refusal:
        load_study(study)
    assert repr(study) in str(refusal.value)
    assert all(name in str(refusal.value) for name in named_studies())


@pytest.mark.parametrize("overrides", [[], ["trials=3"], ["trial.recipe.batch_size=3"]], ids=["", "set", "set nested"])
@pytest.mark.parametrize(
    "content",
    [b"", b"- a\n- b\n", b"42\n", b"a: [b", b"name: caf\xe9\n", b"a: \x00\n", b"a: b: c\n"],
    ids=["empty", "list", "number", "open bracket", "latin-1", "null byte", "two colons"],
)
def test_file_that_is_no_study_is_refused_in_one_line(content: bytes, overrides: list[str], tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"^[^\n]+$") as refusal:
        load_study(str(path), overrides)
    assert str(path) in str(refusal.value)


def test_config_is_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        study_config().trials = 3


def test_folder_is_refused_when_it_holds_a_study(tmp_path: Path) -> None:
    folder = StudyFolder(tmp_path / "small")
    folder.create(study_config())
    before = files_below(tmp_path)
    with pytest.raises(ValueError, match=r"^[^\n]*qar resume [^\n]*$") as refusal:
        folder.create(study_config(trials=99))
    assert str(folder.path) in str(refusal.value)
    assert files_below(tmp_path) == before


def test_folder_is_refused_when_it_holds_something_else(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    before = files_below(tmp_path)
    with pytest.raises(ValueError, match=r"^[^\n]*not empty[^\n]*$"):
        StudyFolder(tmp_path).create(study_config())
    assert files_below(tmp_path) == before


def test_folder_that_a_kill_in_the_first_write_has_left_is_free(tmp_path: Path) -> None:
    folder = StudyFolder(tmp_path / "small")
    folder.path.mkdir()
    (folder.path / ".study.yaml.0123.draft").write_text("name: sm")
    folder.create(study_config())
    assert folder.read_config() == study_config()
    folder.open_ledger(print).close()
    assert sorted(path.name for path in folder.path.iterdir()) == ["ledger.jsonl", "study.yaml"]


@pytest.mark.parametrize("below", ["file/small", "file/deep/er/small", "file"])
def test_folder_that_cant_be_written_is_refused_and_nothing_is_left(below: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    before = files_below(tmp_path)
    with pytest.raises(ValueError, match=r"^[^\n]*can't be written[^\n]*$") as refusal:
        StudyFolder(tmp_path / below).create(study_config())
    assert str(tmp_path / below) in str(refusal.value)
    assert files_below(tmp_path) == before


@pytest.mark.parametrize(
    "content",
    [b"", b"\x80\x81", b"name: [", b"trials: 3\n", b"- a\n", b"name: small\ntrials: 0\nspace: {family: [RS]}\n"],
    ids=["empty", "binary", "open bracket", "keys missing", "list", "bad value"],
)
def test_damaged_study_yaml_is_named_and_untouched(content: bytes, tmp_path: Path) -> None:
    folder = StudyFolder(tmp_path / "small")
    folder.create(study_config())
    folder.study_yaml.write_bytes(content)
    with pytest.raises(DamagedFileError, match=r"^[^\n]+$") as damage:
        folder.read_config()
    assert str(damage.value).count(str(folder.study_yaml)) == 1
    assert folder.study_yaml.read_bytes() == content


def test_space_gives_every_family_the_placements_that_it_allows() -> None:
    space = study_config(space={"family": ["none", "RS"], "placement": ["own", "uniform"]}).space
    assert space.placements("none") == ["uniform"]
    assert space.placements("RS") == ["own", "uniform"]


def test_family_without_representatives_is_placed_by_kmeans_where_only_own_is_searched() -> None:
    space = study_config(space={"family": ["none", "RS"], "placement": ["own"]}).space
    assert (space.placements("none"), space.placements("RS")) == (["kmeans"], ["own"])


@pytest.mark.parametrize("name", ["cifar10-small-alexnet", "cifar10-small-vgg16"])
def test_study_of_an_earlier_version_keeps_its_hashes(name: str) -> None:
    """Its study.yaml lacks keys of today: they have the values that match what was done then."""
    folder = Path(__file__).parents[3] / "docs" / "results" / name
    config = StudyFolder.at(str(folder)).read_config()
    assert config.trial["recipe"]["penalty_application"] == "coupled"
    assert config.trial["penalty"]["interval"] == "minmax"
    rows = pq.read_table(folder / "trials.parquet").to_pylist()
    for row in rows:
        searched = {key: row[key] for key in ("family", "num_levels", "placement") if row[key] is not None}
        trial = config.trial_config({"num_levels": None} | searched | {"lam": row["lam"] or 0.0})
        assert trial.hash == row["config_hash"]
    assert len(rows) == 150


def test_planned_trial_is_placed_by_its_family() -> None:
    plan = [{"family": family, "num_levels": 4} for family in ("RM", "none")]
    config = study_config(plan=plan, trials=2)
    assert [trial.placement for trial in config.plan] == ["own", "kmeans"]


def test_parse_study_names_its_source() -> None:
    with pytest.raises(ValueError, match=r"^somewhere: "):
        parse_study({"name": "x"}, "somewhere")
    assert isinstance(parse_study({"name": "x", "trials": 1, "space": {"family": ["RS"]}}, "somewhere"), StudyConfig)


def test_overrides_that_change_nothing_are_told_from_those_that_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    overrides = ["trials=9", "trial.data_dir=data", "trial.recipe.batch_size=32", "space.lam.low=1.0e-5"]
    config = load_study("digits", overrides).with_absolute_paths()
    assert changes_by(overrides, config) == []
    assert changes_by([*overrides, "trials=10", "trial.data_dir=elsewhere"], config) == [
        "trials=10",
        "trial.data_dir=elsewhere",
    ]
    with pytest.raises(ValueError, match="nosuch"):
        changes_by(["nosuch=1"], config)
