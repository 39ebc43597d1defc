"""The doctor: each check on nodes made by hand, and what a node tells of itself. On real nodes: test_cluster.py."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from study.cluster.cores import available_cores
from study.config import StudyConfig
from study.doctor.check import Check, CheckStatus, Node, UnreachableNode
from study.doctor.cluster_checks import DISK_FREE, check_cluster
from study.doctor.examine import _skew
from study.doctor.marks import unseen_marks, write_mark
from study.doctor.probe import PACKAGES, NodeProbe, probe_node
from study.doctor.study_checks import timed_trial
from study.doctor.timing import process_age, time_trial
from tests.support.example_studies import study_config
from tests.support.live_studies import LiveRun

GIB = 2**30
PROBE = NodeProbe(
    hostname="node",
    versions={"python": "3.11.7", **dict.fromkeys(PACKAGES, "1.0"), "code": "0123abcd"},
    cores=4,
    gpus=[],
    disk_free=50 * GIB,
    shm_total=8 * GIB,
    open_files=65536,
    token=True,
    dataset="abc",
)


def node(
    name: str = "one", *, cpus: float = 4, gpus: float = 0, seen: dict[str, Any] | None = None, **observations: Any
) -> Node:
    resources = {"CPU": cpus, "GPU": gpus, "object_store_memory": 4.0 * GIB}
    return replace(Node(name, resources, replace(PROBE, hostname=name, **seen or {})), **observations)


def check(name: str, nodes: list[Node], config: StudyConfig | None = None, price: float | None = None) -> Check:
    """The one check of that name."""
    (result,) = (
        check for check in check_cluster(nodes, [], config or study_config(), "/shared", price) if check.name == name
    )
    return result


def test_good_cluster_passes_every_check() -> None:
    results = check_cluster([node("head", cpus=0), node("one"), node("two")], [], study_config(), "/shared")
    assert {check.status for check in results} == {CheckStatus.PASS}
    assert all(check.finding and not check.remedy for check in results)


BAD = {
    "other version": (
        "versions",
        CheckStatus.FAIL,
        [node(), node("two", seen={"versions": PROBE.versions | {"torch": "2.0"}})],
        "torch 1.0 on 1, 2.0 on 1",
    ),
    "other code": (
        "versions",
        CheckStatus.FAIL,
        [node(), node("two", seen={"versions": PROBE.versions | {"code": "4567cdef"}})],
        "code 0123abcd on 1, 4567cdef on 1",
    ),
    "missing package": (
        "versions",
        CheckStatus.FAIL,
        [node(seen={"versions": PROBE.versions | {"optuna": None}})],
        "optuna missing on 1",
    ),
    "unwritable": (
        "storage",
        CheckStatus.FAIL,
        [node(), node("two", unwritable="Permission denied")],
        "two: Permission denied",
    ),
    "not shared": (
        "storage",
        CheckStatus.FAIL,
        [node(unseen=("two",)), node("two", unseen=("one",))],
        "one doesn't see",
    ),
    "clock ahead": ("clocks", CheckStatus.WARN, [node(skew=5.0)], "one +5 s"),
    "clock far behind": ("clocks", CheckStatus.FAIL, [node(skew=-90.0)], "one -90 s"),
    "full disk": ("free disk", CheckStatus.WARN, [node(seen={"disk_free": DISK_FREE // 2})], "one 5.0 GiB"),
    "small shm": ("/dev/shm", CheckStatus.WARN, [node(seen={"shm_total": GIB})], "one 1.0 of 4.0 GiB"),
    "closed ports": (
        "object store",
        CheckStatus.FAIL,
        [node(unfetched=("two",)), node("two")],
        "one can't fetch from two",
    ),
    "few cores": ("threads", CheckStatus.WARN, [node(cpus=8)], "one 8 CPUs for Ray on 4 cores"),
    "no token": ("authentication", CheckStatus.WARN, [node(), node("two", seen={"token": False})], "none on two"),
    "epoch fails": (
        "expected time",
        CheckStatus.FAIL,
        [node(epoch_error="out of memory")],
        "fails on one: out of memory",
    ),
    "few open files": ("open files", CheckStatus.WARN, [node(seen={"open_files": 1024})], "one 1024"),
    "GPU that torch can't see": ("GPUs", CheckStatus.FAIL, [node(gpus=1)], "one: 1 for Ray, 0 for torch"),
    "no compiler beside a GPU": (
        "GPUs",
        CheckStatus.WARN,
        [node(gpus=1, seen={"gpus": ["H200"], "kernels_error": "RuntimeError: no C compiler"})],
        "one: Triton can't launch kernels (RuntimeError: no C compiler)",
    ),
    "GPU that Ray can't see": ("GPUs", CheckStatus.WARN, [node(seen={"gpus": ["H200"]})], "all GPUs of one"),
    "none to time": ("expected time", CheckStatus.WARN, [node(cpus=0)], "there is no node to time an epoch on"),
    "too small": ("room for trials", CheckStatus.WARN, [node(cpus=0)], "no node has 1 CPU now"),
    "no data": (
        "data set",
        CheckStatus.FAIL,
        [node(seen={"dataset": None, "dataset_error": "is missing"})],
        "one: is missing",
    ),
    "other data": ("data set", CheckStatus.FAIL, [node(), node("two", seen={"dataset": "def"})], "abc on 1, def on 1"),
}


@pytest.mark.parametrize("case", list(BAD))
def test_what_is_wrong_is_told_with_its_remedy(case: str) -> None:
    name, status, nodes, fragment = BAD[case]
    result = check(name, nodes)
    assert (result.status, fragment in result.finding) == (status, True), result
    assert result.remedy


@pytest.mark.parametrize("nodes", [[], [node()]])
def test_node_of_which_nothing_is_seen_is_told(nodes: list[Node]) -> None:
    results = check_cluster(nodes, [UnreachableNode("two", "No module named 'study'")], study_config(), "/shared")
    assert [(check.name, check.status) for check in results[:2]] == [
        ("configuration", CheckStatus.PASS),
        ("package on all nodes", CheckStatus.FAIL),
    ]
    assert results[1].finding == "two: No module named 'study'"
    assert len(results) == 2 or nodes, "nothing is said of what nobody has seen"


def stub_of_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kernels: str) -> None:
    """Let the doctor find a GPU, and run lines of a shell in place of the script that launches a kernel."""
    stub = tmp_path / "python"
    seen = """echo "['${CUDA_VISIBLE_DEVICES-H200}']\""""
    stub.write_text(f'#!/bin/sh\necho note\ncase "$2" in *why_not*) {kernels} ;; *) {seen} ;; esac')
    stub.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(stub))
    monkeypatch.setattr("study.doctor.probe.GPU_DEVICES", (str(stub),))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")


@pytest.mark.parametrize(
    ("kernels", "reason"),
    [
        ("echo '[None]'", None),
        ("echo \"['no compiler']\"", "no compiler"),
        ("echo first >&2; echo 'ImportError: no torch' >&2; exit 1", "ImportError: no torch"),
        ("exit 3", "exit status 3"),
        ("exec sleep 60", "no answer within 1 seconds"),
    ],
)
def test_gpus_are_seen_though_ray_hides_them_and_kernels_launched(
    kernels: str, reason: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("study.doctor.probe._SECONDS_OF_SCRIPT", 1.0)
    stub_of_python(tmp_path, monkeypatch, kernels)
    probe = probe_node(None)
    assert probe.gpus == ["H200"]
    assert probe.kernels_error == reason


def test_node_with_an_older_version_is_checked() -> None:
    older = node("two", seen={"versions": PROBE.versions | {"qar": "0.0.9"}})
    del older.probe.__dict__["kernels_error"]
    assert check("versions", [node(), older]).status == CheckStatus.FAIL


def test_nodes_with_different_files_anywhere_in_the_packages_differ(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = [tmp_path / name for name in ("study/a.py", "study/doctor/probe.py", "trainables/data/npz.py")]
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(file.name)
    monkeypatch.setattr("study.records.provenance.__file__", str(files[1]))
    seen = {probe_node(None).versions["code"]}
    for file in files:
        file.write_text("changed")
        seen.add(probe_node(None).versions["code"])
    files[2].rename(files[2].parent / "moved.py")
    seen.add(probe_node(None).versions["code"])
    assert len(seen) == 5


def test_cores_of_a_node_are_those_that_may_be_used() -> None:
    assert probe_node(None).cores == available_cores()


def test_single_node_needs_no_token() -> None:
    assert check("authentication", [node(seen={"token": False})]).status == CheckStatus.PASS


@pytest.mark.parametrize(
    ("gpus", "status", "fragment"),
    [
        (0.25, CheckStatus.PASS, "4 trials"),
        (1 / 3, CheckStatus.PASS, "3 trials"),
        (0.3, CheckStatus.WARN, "leave 10%"),
        (1, CheckStatus.PASS, "1 GPU"),
        (1.5, CheckStatus.FAIL, "1.5"),
    ],
)
def test_fractions_of_a_gpu_that_leave_some_idle_are_told(gpus: float, status: str, fragment: str) -> None:
    result = check("GPU fractions", [node(gpus=1, seen={"gpus": ["H200"]})], study_config(resources={"gpus": gpus}))
    assert (result.status, fragment in result.finding) == (status, True), result


@pytest.mark.parametrize(
    ("nodes", "changes", "expected"),
    [
        ([node(epoch_seconds=30.0)], {}, "6:00"),  # 12 trials × 4 epochs × 30 s, four at a time
        ([node(epoch_seconds=30.0), node("same kind")], {}, "3:00"),
        ([node(epoch_seconds=30.0)], {"resources": {"max_concurrent": 1}}, "24:00"),
        ([node(epoch_seconds=30.0), node("fast", cpus=8, epoch_seconds=15.0)], {}, "1:12"),
    ],
)
def test_expected_time_counts_what_nodes_get_done_side_by_side(
    nodes: list[Node], changes: dict[str, Any], expected: str
) -> None:
    result = check("expected time", nodes, study_config(**changes))
    assert result.finding.startswith(f"about {expected}: 12 trials × 4 epochs")


def test_expected_time_counts_the_float_networks() -> None:
    trial = {"regularize_epochs": 3, "finetune_epochs": 1, "init": "pretrained"}
    config = study_config(trial=trial, baseline_epochs=12, replicates=2)
    result = check("expected time", [node(epoch_seconds=30.0)], config)
    assert result.finding.startswith("about 9:00: 12 trials × 4 epochs, none stopped, and 24 of the float network;")


@pytest.mark.parametrize(
    ("trial", "expected"),
    [
        ({}, "about 6:15: "),  # 6:00 of epochs, 5 s for Ray, 10 s for the processes of trials
        ({"init": "pretrained"}, "about 7:55: "),  # 90 s of a float network too, and 10 s for its process
    ],
)
def test_expected_time_counts_the_starts_of_ray_and_of_trials(trial: dict[str, Any], expected: str) -> None:
    nodes = [node(epoch_seconds=30.0, start_seconds=10.0), node("slow", cpus=0, start_seconds=4.0)]
    changes = {"trial": {"regularize_epochs": 3, "finetune_epochs": 1} | trial}
    config = study_config(**changes, **({"baseline_epochs": 12} if trial else {}))
    results = check_cluster(nodes, [], config, "/shared", price=3600.0, ray_seconds=5.0)
    (time,) = (result for result in results if result.name == "expected time")
    assert time.finding.startswith(expected)
    assert time.finding.endswith(f", the start of Ray and of trials {25.0 if trial else 15.0:.1f} s")


def test_expected_cost_is_for_all_nodes() -> None:
    nodes = [node(epoch_seconds=3600.0), node("two"), node("head", cpus=0)]
    assert check("expected cost", nodes, price=2.0).finding.startswith("about 36.00")  # 6 hours, 3 nodes


def test_skew_is_only_what_the_way_does_not_explain() -> None:
    assert _skew(clock=10.5, before=10.0, after=11.0) == 0.0
    assert _skew(clock=12.0, before=10.0, after=11.0) == 1.0
    assert _skew(clock=7.0, before=10.0, after=11.0) == -3.0


def test_node_tells_of_itself_and_of_the_data_set(tmp_path: Path) -> None:
    trial = study_config().trial_config({"family": "none", "num_levels": None}).to_dict()
    seen = probe_node(trial, str(tmp_path))
    assert None not in seen.versions.values()
    assert seen.dataset is not None
    assert seen.disk_free > 0
    timing = time_trial(trial, cpus=1)
    assert timing.epoch_seconds > 0
    assert 0 < timing.start_seconds < process_age()
    json.dumps(seen.versions)


def test_data_sets_that_differ_have_other_checksums(tmp_path: Path) -> None:
    trial = study_config().trial_config({"family": "none", "num_levels": None}).to_dict()
    (tmp_path / "cifar10.npz").write_bytes(b"nonsense")
    digits = probe_node(trial).dataset
    broken = probe_node(trial | {"dataset": "cifar10", "data_dir": str(tmp_path)})
    assert digits == probe_node(trial).dataset
    assert broken.dataset is None
    assert "cifar10.npz" in (broken.dataset_error or "")


def test_marks_of_others_are_seen_where_the_storage_is_shared(tmp_path: Path) -> None:
    shared, own = str(tmp_path / "shared"), str(tmp_path / "own")
    assert write_mark(shared, "one") is None
    assert write_mark(own, "two") is None
    assert unseen_marks(shared, ["one", "two"]) == ["two"]
    (tmp_path / "file").write_text("")
    assert write_mark(str(tmp_path / "file"), "one")


STUCK = """
import json, os, time
from study.cluster.connect import start_ray
start_ray(None, verbose=False)
import ray
from study.doctor.examine import _answers, _on
node = ray.get_runtime_context().get_node_id()
asked = {"quick": _on(node, lambda: 1), "stuck": _on(node, lambda: time.sleep(600)),
         "gone": _on(node, lambda: os._exit(1)), "broken": _on(node, lambda: {}["study"]),
         "slow": _on(node, lambda: time.sleep(1) or 2)}
ray.wait([asked[name] for name in asked if name != "stuck"], num_returns=4, timeout=120)
print(json.dumps(_answers(asked, 2)))
"""


@pytest.mark.e2e
def test_node_that_does_not_answer_is_not_waited_for(tmp_path: Path) -> None:
    ended = LiveRun((), tmp_path, program=("-c", STUCK)).finish()
    assert ended.status == 0, ended
    answers, silent = json.loads(ended.stdout)
    assert answers == {"quick": 1, "slow": 2}
    assert silent["stuck"] == "no answer within 2 seconds"
    assert silent["broken"] == "KeyError: 'study'"
    assert set(silent) == {"stuck", "broken", "gone"}
    assert "\n" not in silent["gone"]


@pytest.mark.parametrize(
    ("families", "expected"),
    [(["none", "RS", "RC", "RM", "RE"], "RE"), (["none", "RS"], "RS"), (["none"], "none"), (["RS", "DKM"], "DKM")],
)
def test_the_timed_epoch_has_the_slowest_penalty_that_is_searched(families: list[str], expected: str) -> None:
    """Without a penalty, an epoch promised 1:37 for a study that took 2:42."""
    config = study_config(space={"family": families})
    trial = timed_trial(config)
    assert (trial.family, trial.init) == (expected, "scratch")
    assert (trial.num_levels is None) == (expected == "none")
