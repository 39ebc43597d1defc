"""`qar export` and `qar evaluate` on studies whose trials were trained here, without a cluster."""

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner, Result

from study import Study
from study.cli import app
from study.ledger.facts import ASKED, CHECKPOINT, ENDED, EPOCH, SESSION_STARTED
from study.ledger.ledger import Ledger
from study.ledger.reading import read_history
from study.records.recorder import REPORTED
from study.storage.folder import StudyFolder
from tests.support.example_studies import asked, start_session, study_config
from trainables.codebooks.artifact_file import read_artifact
from trainables.codebooks.bits import CODES
from trainables.config import Recipe, TrialConfig
from trainables.evaluation import evaluate
from trainables.files.checkpoint import CHECKPOINT_FILE, write_checkpoint
from trainables.formats import FORMATS
from trainables.models import quantized_weights
from trainables.result import TrialState
from trainables.run import CompressionRun
from trainables.trainable import CompressionTrial

RECALIBRATED = Recipe(batch_size=96, recalibration_batches=2)


def quick(family: str, num_levels: int | None, **changes: Any) -> TrialConfig:
    values: dict[str, Any] = {"validation_fraction": 0.8, "regularize_epochs": 2, "finetune_epochs": 1, "width": 0.25}
    lam = 0.0 if family == "none" else 1e-2
    values |= {"recipe": Recipe(batch_size=96)} | changes
    return TrialConfig(family=family, num_levels=num_levels, lam=lam, **values)


TRIALS = [
    (quick("none", None), 3, TrialState.COMPLETE),
    (quick("none", 4), 3, TrialState.COMPLETE),
    (quick("RM", 3, placement="own"), 3, TrialState.COMPLETE),
    (quick("RE", 2, recipe=RECALIBRATED), 3, TrialState.COMPLETE),
    (quick("RC", 4, placement="own"), 1, TrialState.PRUNED),
    (quick("RS", 8, recipe=RECALIBRATED), 2, TrialState.PRUNED),
    (quick("RS", 4), 0, TrialState.FAIL),
    (quick("RM", 2), 1, TrialState.PRUNED),  # its checkpoint is gone
]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study as `qar launch` leaves it."""
    folder = StudyFolder(tmp_path_factory.mktemp("studies") / "small")
    folder.create(study_config(trials=len(TRIALS)))
    ledger = Ledger(folder.ledger)
    start_session(ledger)
    threads = torch.get_num_threads()
    for number, (config, epochs, state) in enumerate(TRIALS):
        ledger.record(ASKED, **asked(number, config))
        trial = CompressionTrial(config={"trial": config.to_dict()})
        for epoch in range(1, epochs + 1):
            ledger.record(
                EPOCH, number=number, metrics={name: value for name, value in trial.step().items() if name in REPORTED}
            )
            checkpoint = folder.path / "ray" / "session-001" / str(number) / f"checkpoint_{epoch:06}"
            checkpoint.mkdir(parents=True)
            trial.save_checkpoint(str(checkpoint))
            ledger.record(CHECKPOINT, number=number, epoch=epoch, path=str(checkpoint.relative_to(folder.path)))
        ledger.record(ENDED, number=number, state=state, failure="it broke" if state == TrialState.FAIL else None)
    torch.set_num_threads(threads)
    shutil.rmtree(folder.path / "ray" / "session-001" / "7")
    ledger.close()
    return folder.path


def run(*arguments: str | Path | int) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def export(study: Path, trial: str | int, out: Path, *more: str) -> Result:
    return run("export", study, "--trial", trial, "--out", out, *more)


def assert_refused(result: Result, *fragments: str, status: int = 2) -> None:
    assert (result.exit_code, result.stdout) == (status, ""), result.output
    (line,) = result.stderr.splitlines()
    assert line.startswith("qar: ")
    assert [fragment for fragment in fragments if fragment not in line] == [], line


def said(output: str) -> dict[str, str]:
    """The measures that a command printed, by name."""
    return dict(line.split()[:2] for line in output.splitlines() if ":" not in line)


@pytest.mark.parametrize("number", range(6))
def test_exported_file_has_the_accuracy_and_size_of_its_trial(number: int, study: Path, tmp_path: Path) -> None:
    recorded = read_history(StudyFolder(study).ledger).trials[number].last
    out = tmp_path / "network"
    exported = export(study, number, out)
    assert exported.exit_code == 0, exported.output
    evaluated = run("evaluate", out)
    assert evaluated.exit_code == 0, evaluated.output
    for measures in (said(exported.stdout), said(evaluated.stdout)):
        assert float(measures["val_accuracy"]) == recorded["val_accuracy"]
        assert int(measures["payload_bytes"]) == recorded["artifact_bytes"]
        assert float(measures["bits_per_weight"]) == recorded["bits_per_weight"]
    assert float(said(evaluated.stdout)["recorded_val_accuracy"]) == recorded["val_accuracy"]
    assert ("not trained to its end: PRUNED after epoch" in exported.stdout) == (TRIALS[number][2] == TrialState.PRUNED)


@pytest.mark.parametrize("format", FORMATS)
def test_export_writes_and_evaluates_each_format(format: str, study: Path, tmp_path: Path) -> None:
    recorded = read_history(StudyFolder(study).ledger).trials[3].last
    result = export(study, 3, tmp_path / "network", "--format", format)
    assert result.exit_code == 0, result.output
    assert f"format {format}" in result.stdout.splitlines()[0]
    measures = said(result.stdout)
    assert float(measures["file_val_accuracy"]) == recorded["val_accuracy"]
    assert int(measures["file_bytes"]) == (tmp_path / "network").stat().st_size
    assert ("bits_per_weight" in measures) == (format == "qar")


def test_export_codes_levels_otherwise_on_request_and_shows_both_sizes(study: Path, tmp_path: Path) -> None:
    recorded = read_history(StudyFolder(study).ledger).trials[2].last
    sizes = {}
    for coding in CODES:
        result = export(study, 2, tmp_path / coding, "--coding", coding)
        assert result.exit_code == 0, result.output
        sizes[coding] = float(said(result.stdout)["bits_per_weight"])
        counted = "recorded_bits_per_weight" in result.stdout
        assert counted == (coding != TRIALS[2][0].recipe.coding)
        assert float(said(run("evaluate", tmp_path / coding).stdout)["bits_per_weight"]) == sizes[coding]
    assert sizes[TRIALS[2][0].recipe.coding] == recorded["bits_per_weight"]
    assert sizes["entropy"] < sizes["huffman"]


def test_export_refuses_an_unknown_format_or_coding(study: Path, tmp_path: Path) -> None:
    out = tmp_path / "network"
    assert_refused(export(study, 3, out, "--format", "zip"), "unknown format 'zip'; choose from", "safetensors")
    assert_refused(export(study, 3, out, "--coding", "zip"), "unknown coding 'zip'; choose from", "huffman")
    dense = export(study, 3, out, "--format", "torch", "--coding", "entropy")
    assert_refused(dense, "coding must be left out for format 'torch', got 'entropy'; only qar codes levels")
    assert not out.exists()


def test_export_says_which_runtime_is_missing(study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(FORMATS, "safetensors", replace(FORMATS["safetensors"], runtime=("no_such_runtime",)))
    result = export(study, 3, tmp_path / "network", "--format", "safetensors")
    assert result.exit_code == 0
    assert "not evaluated: there is no no_such_runtime; install it with: pip install no_such_runtime" in result.stdout
    assert "file_val_accuracy" not in result.stdout


def test_export_takes_a_trial_id_and_keeps_where_the_network_comes_from(study: Path, tmp_path: Path) -> None:
    export(study, "small-00002", tmp_path / "network")
    artifact = read_artifact(tmp_path / "network")
    assert artifact.config == TRIALS[2][0]
    assert artifact.provenance["trial_id"] == "small-00002"
    assert artifact.provenance["state"] == TrialState.COMPLETE
    assert [session["platform"] for session in artifact.provenance["trained_with"]] == ["Linux"]


def test_export_names_the_sessions_that_trained_the_network_and_no_other(study: Path, tmp_path: Path) -> None:
    resumed = shutil.copytree(study, tmp_path / "resumed")
    ledger = Ledger(resumed / "ledger.jsonl")
    later: dict[str, Any] = {"versions": {}, "platform": "BeOS", "git_sha": None, "git_dirty": None}
    ledger.record(SESSION_STARTED, session=2, pid=1, hostname="head", provenance=later)
    ledger.close()
    export(resumed, "small-00002", tmp_path / "network")
    trained_with = read_artifact(tmp_path / "network").provenance["trained_with"]
    assert [session["platform"] for session in trained_with] == ["Linux"]


def test_export_and_evaluation_need_no_ray(study: Path, tmp_path: Path) -> None:
    export(study, 1, tmp_path / "network")
    script = (
        "import sys\n"
        "sys.modules |= {'ray': None, 'optuna': None}  # importing them is an error\n"
        "from study.cli import app\n"
        "app(sys.argv[1:], standalone_mode=False)\n"
        "rooms = ('config', 'ledger', 'storage', 'search', 'records', 'run', 'doctor')\n"
        "of_study = {name for name in sys.modules if name.startswith(tuple('study.' + room for room in rooms))}\n"
        "assert not of_study, of_study\n"
        "import study.commands.export\n"
        "import study.commands.reproduce\n"
    )
    command = [sys.executable, "-c", script, "evaluate", str(tmp_path / "network")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == run("evaluate", tmp_path / "network").stdout


def test_evaluate_reads_the_test_split_when_asked(study: Path, tmp_path: Path) -> None:
    export(study, 1, tmp_path / "network")
    result = run("evaluate", tmp_path / "network", "--split", "test")
    expected = evaluate(read_artifact(tmp_path / "network"), "test")
    assert float(said(result.stdout)["test_accuracy"]) == expected
    assert "val_accuracy" not in said(result.stdout)
    assert_refused(run("evaluate", tmp_path / "network", "--split", "train"), "unknown split 'train'", "validation")


@pytest.mark.parametrize("trial", ["8", "-1", "small-00099", "x"])
def test_export_refuses_an_unknown_trial(trial: str, study: Path, tmp_path: Path) -> None:
    result = run("export", study, f"--trial={trial}", "--out", tmp_path / "network")
    assert_refused(result, f"unknown trial {trial!r}; choose from 0 to 7")


def test_export_refuses_a_trial_without_a_checkpoint(study: Path, tmp_path: Path) -> None:
    assert_refused(export(study, 6, tmp_path / "network"), "trial 6 (FAIL) has no checkpoint")
    assert_refused(
        export(study, 7, tmp_path / "network"), "the checkpoint of trial 7 is gone from", "checkpoint_000001"
    )
    assert list(tmp_path.iterdir()) == []


def test_export_replaces_a_file_only_by_force(study: Path, tmp_path: Path) -> None:
    out = tmp_path / "network"
    out.write_text("precious")
    assert_refused(export(study, 1, out), "exists already", "--force")
    assert out.read_text() == "precious"
    assert export(study, 1, out, "--force").exit_code == 0
    assert run("evaluate", out).exit_code == 0


def test_export_refuses_a_place_that_cannot_be_written(study: Path, tmp_path: Path) -> None:
    assert_refused(export(study, 1, tmp_path / "missing" / "network"), "can't be written")
    assert_refused(export(study, 1, tmp_path, "--force"), "can't be written")


def test_export_refuses_a_folder_without_a_study(tmp_path: Path) -> None:
    assert_refused(export(tmp_path, 0, tmp_path / "network"), "is no study folder")


@pytest.mark.parametrize("content", [b"", b"nonsense", b"\x80\x02.", None])
def test_export_names_a_damaged_checkpoint(content: bytes | None, study: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(study, copy)
    checkpoint = copy / "ray" / "session-001" / "1" / "checkpoint_000003" / CHECKPOINT_FILE
    checkpoint.write_bytes(checkpoint.read_bytes()[:5000] if content is None else content)
    assert_refused(export(copy, 1, tmp_path / "network"), str(checkpoint), "is damaged", status=1)


def test_evaluate_refuses_damaged_and_missing_files(study: Path, tmp_path: Path) -> None:
    out = tmp_path / "network"
    assert_refused(run("evaluate", out), "can't be read")
    export(study, 1, out)
    out.write_bytes(out.read_bytes()[:-1])
    assert_refused(run("evaluate", out), str(out), "is damaged", status=1)


def test_pretrained_trial_can_be_exported(tmp_path: Path) -> None:
    config = quick("RS", 4, init="pretrained", placement="own")
    trained = CompressionRun(config, initial_weights=CompressionRun(quick("none", None)).model.state_dict())
    recorded = trained.run_epoch()
    folder = StudyFolder(tmp_path / "small")
    folder.create(study_config())
    ledger = Ledger(folder.ledger)
    ledger.record(ASKED, **asked(0, config))
    ledger.record(EPOCH, number=0, metrics=recorded)
    (folder.path / "checkpoint").mkdir()
    write_checkpoint(folder.path / "checkpoint", trained.state_dict())
    ledger.record(CHECKPOINT, number=0, epoch=1, path="checkpoint")
    ledger.close()
    assert export(folder.path, 0, tmp_path / "network").exit_code == 0
    measures = said(run("evaluate", tmp_path / "network").stdout)
    assert float(measures["val_accuracy"]) == recorded["val_accuracy"]


@pytest.mark.parametrize("number", [0, 2, 3])
def test_network_of_a_trial_is_a_plain_module_with_quantized_weights(number: int, study: Path) -> None:
    """It classifies the images of the validation split as the trial did."""
    config = TRIALS[number][0]
    network = Study.open(study).network(number)
    assert isinstance(network, torch.nn.Module)
    assert not network.training
    split = CompressionRun(config).validation_split
    with torch.no_grad():
        accuracy = float((network(split.images.float()).argmax(1) == split.labels).double().mean())
    recorded = read_history(study / "ledger.jsonl").trials[number].last
    assert accuracy == pytest.approx(recorded["val_accuracy"], abs=1e-12)
    if config.num_levels is not None:
        for weights in quantized_weights(network.network).values():
            assert len(weights.unique()) <= config.num_levels


def test_network_of_a_trial_without_a_checkpoint_is_refused(study: Path) -> None:
    with pytest.raises(ValueError, match="has no checkpoint; choose another"):
        Study.open(study).network(6)
    with pytest.raises(ValueError, match="unknown trial '99'; choose from 0 to 7"):
        Study.open(study).network(99)
