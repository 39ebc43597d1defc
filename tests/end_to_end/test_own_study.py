"""The way of a researcher: a network, images and a penalty of one's own, on two nodes, with a driver that is killed.

The study searches the learning rate and τ besides K and λ, and leaves the first and the last layer in float.
"""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from analysis.load import load_trials
from study import Study
from study.ledger.reading import read_history
from study.storage.folder import StudyFolder
from tests.support.live_clusters import live_cluster, told_apart
from tests.support.live_studies import qar
from tests.support.promises import assert_only_epochs_after_a_checkpoint_are_repeated
from trainables.data.datasets import load_dataset
from trainables.models import quantized_weights
from trainables.result import TrialState

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1800)]

OWN = Path(__file__).parents[1] / "support" / "own_study"
SEEDS = 2


def write_digits(root: Path, train: int = 24, test: int = 8) -> None:
    """A tree of PNG files, so many of each class: root/train/3/0.png."""
    digits = load_dataset("digits")
    splits = {"train": (digits.x_train, digits.y_train, train), "test": (digits.x_test, digits.y_test, test)}
    for split, (images, labels, count) in splits.items():
        for label in range(10):
            folder = root / split / str(label)
            folder.mkdir(parents=True)
            for place, index in enumerate(np.flatnonzero(labels == label)[:count]):
                Image.fromarray(images[index, :, :, 0] * 15).save(folder / f"{place}.png")


@pytest.mark.chaos
def test_own_study_on_two_nodes_survives_a_kill_and_is_confirmed_and_reported(tmp_path: Path) -> None:
    with live_cluster("worker-1", "worker-2", shared=tmp_path) as cluster:
        shutil.copytree(OWN, tmp_path, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
        write_digits(tmp_path / "images")
        where = ("--address", cluster.address)
        folder = StudyFolder(tmp_path / "studies" / "own")
        run = cluster.run("launch", "own.yaml", *where)
        run.wait_until(folder.ledger, lambda history: history.num_ended >= 2 and bool(history.unfinished))
        run.kill_driver()
        run.finish()
        assert 0 < read_history(folder.ledger).num_ended < 9

        (tmp_path / "ownlab").rename(tmp_path / "moved")  # the study holds its code
        for command in (("resume",), ("confirm", "--seeds", str(SEEDS))):
            ended = cluster.qar(*command, str(folder.path), *where)
            assert ended.status == 0, ended
        ended = cluster.qar("report", str(folder.path))
        assert ended.status == 0, ended

    trials = load_trials(folder.path)
    assert list(trials["state"]) == [TrialState.COMPLETE] * 9
    assert_only_epochs_after_a_checkpoint_are_repeated(folder)
    assert len(read_history(folder.ledger).sessions) == 2
    if told_apart() is None:
        assert set(trials["hostname"]) == {"worker-1", "worker-2"}
    assert {"none", "RE", "ownlab.penalties:pull"} == set(trials["family"])
    assert trials["recipe.learning_rate"].nunique() > 3
    assert trials.loc[trials["family"] == "RE", "penalty.temperature"].between(0.01, 0.1).all()

    confirmed = load_trials(folder.confirmation.path)
    assert (confirmed["state"] == TrialState.COMPLETE).all()
    assert confirmed["test_accuracy"].notna().all()
    assert set(confirmed.groupby("config_hash")["seed"].nunique()) == {SEEDS}
    assert set(confirmed["recipe.learning_rate"]) <= set(trials["recipe.learning_rate"]) | {0.01, 0.001, 0.003}

    page = (folder.path / "report" / "report.html").read_text()
    assert '<th scope="col">recipe.learning_rate</th>' in page
    points = json.loads((folder.path / "report" / "provenance.json").read_text())["trials"]
    assert all("penalty.temperature" in point["configuration"] for point in points)

    best = next(row for _, row in trials.iterrows() if row["family"] == "ownlab.penalties:pull")
    network = Study.open(folder.path).network(int(best["number"])).network
    distinct = {name: len(weights.unique()) for name, weights in quantized_weights(network).items()}
    (first, *inner, last) = distinct.values()
    assert max(inner) <= best["num_levels"] < min(first, last), distinct


def test_check_refuses_a_penalty_with_a_wrong_gradient_and_names_the_worst_weight(tmp_path: Path) -> None:
    shutil.copytree(OWN, tmp_path, dirs_exist_ok=True)
    accepted = qar("check", "ownlab.penalties:pull", cwd=tmp_path)
    assert (accepted.status, "FAIL" in accepted.stdout) == (0, False), accepted
    refused = qar("check", "ownlab.penalties:wrong", cwd=tmp_path)
    assert (refused.status, refused.stderr) == (1, "")
    (line, *_) = [line for line in refused.stdout.splitlines() if line.startswith("FAIL")]
    assert "gradient of the weights, K = 2" in line
    assert "the worst weight is " in line
    _, _, rest = line.partition("with gradient ")
    received, expected = (float(text) for text in rest.split(" instead of "))
    assert received == pytest.approx(2 * expected, rel=1e-3)
