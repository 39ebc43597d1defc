"""Segments, lease and working copy of a study in a bucket, on a real S3 server."""

import json
import pickle
import shlex
import shutil
import tempfile
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner

from study.cli import app
from study.commands.confirm import confirmation_of
from study.commands.confirmation import add_seeds
from study.config import StudyConfig
from study.doctor.marks import remove_marks, unseen_marks, write_mark
from study.errors import StorageError
from study.ledger.facts import ASKED, EPOCH
from study.ledger.history import History
from study.ledger.ledger import Ledger
from study.ledger.reading import read_history
from study.run.launch import extend
from study.run.options import RunOptions
from study.search.searcher import OptunaSearcher
from study.search.warm_start import read_priors
from study.storage import lease, patience, segments
from study.storage.bucket import BucketStorage
from study.storage.folder import StudyFolder
from study.storage.lease import NAME, Lease, read_driver, seems_alive
from study.storage.object_store import BucketFolder, ConditionError, below
from study.storage.segments import FOLDER, Segments, read_ledger
from tests.support.example_studies import asked, make_study, start_session, study_config, train
from tests.support.faulty_store import FaultyStore
from tests.support.few_figures import keep_figures
from trainables.errors import DamagedFileError
from trainables.result import TrialState


def hush(text: str) -> None:
    pass


@pytest.fixture
def store(server: FaultyStore, monkeypatch: pytest.MonkeyPatch) -> FaultyStore:
    """The server, in order, and impatient users of it."""
    for module, name, value in (
        *((patience, "PATIENCE", 1.0), (patience, "FIRST_PATIENCE", 1.0)),
        *((lease, "INTERVAL", 0.2), (lease, "SILENCE", 1.5), (lease, "GLANCE", 0.3)),
        (segments, "FOLD", 4),
    ):
        monkeypatch.setattr(module, name, value)
    server.fault = lambda method, path: None
    return server


@pytest.fixture
def uri(store: FaultyStore, request: pytest.FixtureRequest) -> str:
    return store.uri(f"bucket/{abs(hash(request.node.name))}")


@pytest.fixture
def bucket(uri: str) -> BucketFolder:
    return BucketFolder.open(uri)


def elsewhere(**changes: object) -> bytes:
    """Return the content of `driver.json` of a driver on another machine."""
    driver = {"token": "x", "hostname": "another", "pid": 1, "time": time.time(), "beat": 1, "ended": False}
    return json.dumps(driver | changes).encode()


# --- segments ---


def test_ledger_of_segments_is_what_was_written_at_any_moment(bucket: BucketFolder) -> None:
    assert read_ledger(bucket) == b""
    written = b"begin\n"
    generation = Segments(bucket, written)
    for number in range(11):
        line = f"fact {number}\n".encode()
        generation.append(line)
        written += line
        assert read_ledger(bucket) == written


def test_facts_of_one_commit_are_one_object(bucket: BucketFolder) -> None:
    generation = Segments(bucket, b"")
    before = len(bucket.names())
    generation.append(b"one\ntwo\nthree\n")
    assert (read_ledger(bucket), len(bucket.names())) == (b"one\ntwo\nthree\n", before + 1)


def test_folded_segments_spare_readers_most_requests(bucket: BucketFolder, store: FaultyStore) -> None:
    generation = Segments(bucket, b"")
    for number in range(16):
        generation.append(b"%d\n" % number)
    before = store.requests["GET"]
    assert len(read_ledger(bucket).splitlines()) == 16
    assert store.requests["GET"] - before == 1 + 16 // 4  # the list, and the folded


def test_new_generation_holds_the_ledger_and_leaves_two_empty_segments_of_the_earlier(bucket: BucketFolder) -> None:
    first = Segments(bucket, b"zero\n")
    for number in range(6):
        first.append(b"%d\n" % number)
    Segments(bucket, read_ledger(bucket))
    assert read_ledger(bucket) == b"zero\n0\n1\n2\n3\n4\n5\n"
    assert bucket.sizes(FOLDER) == {
        "ledger/000001/00000000.jsonl": 0,
        "ledger/000001/00000007.jsonl": 0,
        "ledger/000002/00000000.jsonl": 17,
    }


def test_driver_that_was_taken_over_from_can_write_no_fact(bucket: BucketFolder) -> None:
    """Also if it has noticed nothing of it, for it was stopped meanwhile; nor can it write over any segment."""
    late = Segments(bucket, b"")
    late.append(b"one\n")
    second = Segments(bucket, read_ledger(bucket))
    second.append(b"two\n")
    third = Segments(bucket, read_ledger(bucket))
    third.append(b"three\n")
    before = {name: bucket.read(name) for name in bucket.names()}
    for stopped in (late, second):
        with pytest.raises(StorageError, match="is driven by another process now, so this driver has stopped"):
            stopped.append(b"too late\n")
    assert {name: bucket.read(name) for name in bucket.names()} == before
    assert read_ledger(bucket) == b"one\ntwo\nthree\n"


def test_driver_that_was_stopped_before_its_first_segment_can_not_write_it(bucket: BucketFolder) -> None:
    """It had read which generation comes next; two others have come and gone since."""
    first = Segments(bucket, b"")
    first.append(b"one\n")
    for line in (b"two\n", b"three\n"):
        Segments(bucket, read_ledger(bucket)).append(line)
    with pytest.raises(ConditionError):
        bucket.create("ledger/000002/00000000.jsonl", b"one\n")
    assert read_ledger(bucket) == b"one\ntwo\nthree\n"


def test_fact_written_between_reading_and_taking_over_is_not_lost(bucket: BucketFolder) -> None:
    late = Segments(bucket, b"")
    read = read_ledger(bucket)
    late.append(b"one\n")
    with pytest.raises(StorageError, match="has changed since it was read"):
        Segments(bucket, read)
    assert read_ledger(bucket) == b"one\n"


def test_ledger_of_an_earlier_version_goes_on(bucket: BucketFolder) -> None:
    """Its generations bore an identifier, and those of a driver that was cut off were left behind."""
    for number, content in enumerate((b"begin\n", b"one\n", b"two\n")):
        bucket.write(f"ledger/000007-0a1b2c3d/{number:08}.jsonl", content)
    bucket.write("ledger/000006-99999999/00000003.jsonl", b"too late\n")
    assert read_ledger(bucket) == b"begin\none\ntwo\n"
    generation = Segments(bucket, read_ledger(bucket))
    generation.append(b"three\n")
    assert read_ledger(bucket) == b"begin\none\ntwo\nthree\n"
    assert "ledger/000008/00000000.jsonl" in bucket.names(FOLDER)


def test_reader_gets_a_whole_ledger_while_drivers_follow_each_other(bucket: BucketFolder) -> None:
    generation = Segments(bucket, b"")
    found: list[bytes] = []
    over = threading.Event()

    def read() -> None:
        while not over.is_set():
            found.append(read_ledger(bucket))

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(24):
        generation.append(b"%d\n" % number)
        if number % 6 == 5:
            generation = Segments(bucket, read_ledger(bucket))
    over.set()
    reader.join()
    whole = b"".join(b"%d\n" % number for number in range(24))
    assert len(found) > 2
    assert all(whole.startswith(content) for content in found)
    assert found == sorted(found, key=len)


@pytest.mark.parametrize("missing", ["00000000", "00000002", "00000004"])
def test_missing_segment_is_refused_by_name_and_nothing_is_removed(missing: str, bucket: BucketFolder) -> None:
    generation = Segments(bucket, b"")
    for number in range(6):  # of which the first four are folded as well
        generation.append(b"%d\n" % number)
    for name in bucket.names(FOLDER):
        if missing in name or (missing == "00000002" and "-0000" in name):
            bucket.remove(name)
    before = bucket.names()
    with pytest.raises(DamagedFileError, match=rf"segment {int(missing)} of its ledger is missing[^\n]*restore"):
        read_ledger(bucket)
    for ledger in (b"", b"0\n1\n"):
        with pytest.raises(DamagedFileError, match="is missing"):
            Segments(bucket, ledger)
    assert bucket.names() == before


def test_ledger_that_was_not_read_whole_is_not_replaced(bucket: BucketFolder) -> None:
    generation = Segments(bucket, b"")
    generation.append(b"one\n")
    generation.append(b"two\n")
    with pytest.raises(StorageError, match="has changed since it was read"):
        Segments(bucket, b"one\n")
    assert read_ledger(bucket) == b"one\ntwo\n"


# --- lease ---


def test_second_driver_is_refused_and_the_first_drives_on(bucket: BucketFolder) -> None:
    first = Lease(bucket, hush)
    with pytest.raises(ValueError, match=r"is being run by process \d+ on .*; watch it with: qar status"):
        Lease(bucket, hush)
    first.check()
    assert seems_alive(read_driver(bucket))
    first.release()
    assert not seems_alive(read_driver(bucket))
    Lease(bucket, hush).release()


def test_driver_elsewhere_that_gives_signs_of_life_is_left_alone(bucket: BucketFolder) -> None:
    bucket.write(NAME, elsewhere())
    threading.Timer(0.5, lambda: bucket.write(NAME, elsewhere(beat=2))).start()
    said: list[str] = []
    with pytest.raises(ValueError, match="is being run by process 1 on another"):
        Lease(bucket, said.append)
    assert said == ["waiting for up to 2 s to see whether process 1 on another still drives the study"]


def test_silent_driver_elsewhere_is_taken_over_from_whatever_its_clock_says(bucket: BucketFolder) -> None:
    bucket.write(NAME, elsewhere(time=time.time() + 1e6))
    taken = Lease(bucket, hush)
    taken.check()
    taken.release()


def test_dead_driver_of_this_machine_is_taken_over_from_at_once(bucket: BucketFolder) -> None:
    Lease(bucket, hush).release()
    ours = json.loads(bucket.read(NAME) or b"")
    bucket.write(NAME, json.dumps(ours | {"token": "x", "ended": False, "pid": 2**22 + 1}).encode())
    said: list[str] = []
    Lease(bucket, said.append).release()
    assert said == []


def test_driver_in_a_container_of_the_same_name_is_watched_first(bucket: BucketFolder) -> None:
    """There its process has a number of its own."""
    Lease(bucket, hush).release()
    ours = json.loads(bucket.read(NAME) or b"")
    there = {"token": "x", "ended": False, "pid": 2**22 + 1, "machine": ours["machine"] + "1"}
    bucket.write(NAME, json.dumps(ours | there).encode())
    said: list[str] = []
    Lease(bucket, said.append).release()
    assert len(said) == 1


def test_driver_that_was_taken_over_from_stops_in_one_line(bucket: BucketFolder) -> None:
    first = Lease(bucket, hush)
    bucket.write(NAME, elsewhere())
    time.sleep(0.6)
    bucket.write(NAME, elsewhere(beat=2))  # the first may just have written over it
    time.sleep(0.6)
    with pytest.raises(StorageError, match="is driven by process 1 on another now, so this driver has stopped"):
        first.check()
    first.release()
    assert read_driver(bucket) == json.loads(elsewhere(beat=2)) | {"time": read_driver(bucket)["time"]}  # type: ignore[index]


def test_late_sign_of_the_driver_that_was_taken_over_from_is_refused(bucket: BucketFolder) -> None:
    """It renews the lease that it knows, and that one is gone; so it stops."""
    first = Lease(bucket, hush)
    first._over.set()  # it is stopped: no sign any more
    first._thread.join()
    bucket.write(NAME, elsewhere())  # as the second driver would
    with pytest.raises(StorageError, match="is driven by process 1 on another now, so this driver has stopped"):
        first._renew()
    assert read_driver(bucket) == json.loads(elsewhere()) | {"time": read_driver(bucket)["time"]}  # type: ignore[index]


@pytest.mark.parametrize("last", [None, {"ended": True}])
def test_start_waits_for_nobody(
    last: dict[str, bool] | None, bucket: BucketFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also after a driver that has ended."""
    if last:
        bucket.write(NAME, elsewhere(**last))
    monkeypatch.setattr(time, "sleep", lambda seconds: pytest.fail("it waits"))
    said: list[str] = []
    Lease(bucket, said.append).release()
    assert said == []


def test_driver_hears_of_an_outage_between_two_facts(bucket: BucketFolder, store: FaultyStore) -> None:
    held = Lease(bucket, hush)
    store.fault = lambda method, path: "503"
    deadline = time.monotonic() + 30
    while held._failure is None:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    with pytest.raises(StorageError, match="can't be reached"):
        held.check()


def test_only_one_of_many_drivers_that_begin_together_goes_on(bucket: BucketFolder) -> None:
    won: list[Lease] = []

    def claim() -> None:
        try:
            won.append(Lease(bucket, hush))
        except ValueError:
            return

    rivals = [threading.Thread(target=claim) for _ in range(6)]
    for rival in rivals:
        rival.start()
    for rival in rivals:
        rival.join()
    assert len(won) == 1
    won[0].release()


# --- study ---


def test_facts_are_in_the_bucket_before_they_are_acted_on(uri: str) -> None:
    folder = StudyFolder.at(uri)
    folder.create(study_config())
    ledger = folder.open_ledger(hush)
    start_session(ledger)
    config = study_config().trial_config({"family": "none", "num_levels": None})
    ledger.record(ASKED, **asked(0, config))
    train(ledger, 0, 2)
    seen = read_history(StudyFolder.at(uri).ledger)
    assert seen.trials[0].state == TrialState.RUNNING
    assert seen == ledger.history
    ledger.close()


def test_fact_that_can_not_reach_the_bucket_never_was(uri: str, store: FaultyStore) -> None:
    folder = StudyFolder.at(uri)
    folder.create(study_config())
    ledger = folder.open_ledger(hush)
    start_session(ledger)
    store.fault = lambda method, path: "503"
    config = study_config().trial_config({"family": "none", "num_levels": None})
    with pytest.raises(StorageError):
        ledger.record(ASKED, **asked(0, config))
    store.fault = lambda method, path: None
    with pytest.raises(StorageError):  # nothing that follows is a fact either
        ledger.record(EPOCH, number=0, metrics={})
    assert ledger.history.trials == {} == read_history(StudyFolder.at(uri).ledger).trials
    ledger.close()


def test_working_copy_is_published_but_for_what_is_not_its(uri: str) -> None:
    folder = StudyFolder.at(uri)
    folder.create(study_config())
    for name in (
        "report/front.svg",
        ".draft",
        "optuna.db-journal",
        "confirm/trials.parquet",
        "ledger.jsonl",
        "ledger.snapshot",
    ):
        file = folder.path / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(name)
    folder.publish()
    assert BucketFolder.open(uri).names() == ["report/front.svg", "study.yaml"]


def test_confirmation_of_a_study_in_a_bucket_is_a_study_in_its_bucket(uri: str, tmp_path: Path) -> None:
    folder = StudyFolder.at(uri)
    local = make_study(tmp_path / "small")
    folder.create(study_config(trials=5))
    Segments(BucketFolder.open(uri), local.ledger.read_bytes())
    confirmation, config = confirmation_of(StudyFolder.at(uri), seeds=1, margin=0.0)
    confirmation.create(config)
    assert "confirm/study.yaml" in BucketFolder.open(uri).names()
    again = StudyFolder.at(below(uri, "confirm"))
    assert again.read_config() == config
    assert str(confirmation) == str(again)


def test_status_of_a_study_in_a_bucket_is_that_of_its_folder(uri: str, tmp_path: Path) -> None:
    local = make_study(tmp_path / "small")
    StudyFolder.at(uri).create(study_config(trials=5))
    Segments(BucketFolder.open(uri), local.ledger.read_bytes())
    result = CliRunner().invoke(app, ["status", uri])
    assert result.stdout == CliRunner().invoke(app, ["status", str(local.path)]).stdout
    assert "finished; 5 of 5 trials" in result.stdout


def test_report_of_a_study_in_a_bucket_names_its_uri_and_no_working_copy(
    uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep_figures(monkeypatch, "front")
    local = make_study(tmp_path / "small")
    remote = StudyFolder.at(uri)
    remote.create(study_config(trials=5))
    for name in ("study.json", "trials.parquet", "epochs.parquet"):
        shutil.copy(local.path / name, remote.path / name)
    remote.publish()
    result = CliRunner().invoke(app, ["report", uri, "--formats", "svg"])
    assert result.exit_code == 0, result
    written = {name: BucketFolder.open(uri).read(f"report/{name}") for name in ("report.html", "provenance.json")}
    command = f"qar reproduce {shlex.quote(uri)} --trial 0"
    assert command in [point["reproduce"] for point in json.loads(written["provenance.json"] or b"")["trials"]]
    texts = [result.stdout, *((content or b"").decode() for content in written.values())]
    assert command[:-1] in texts[1]
    for text in texts:
        assert tempfile.gettempdir() not in text


def test_report_of_a_damaged_study_in_a_bucket_names_its_uri(uri: str, tmp_path: Path) -> None:
    remote = StudyFolder.at(uri)
    remote.create(study_config(trials=5))
    (remote.path / "trials.parquet").write_bytes(b"PAR1 and no more")
    remote.publish()
    result = CliRunner().invoke(app, ["report", uri, "--formats", "svg"])
    assert result.exit_code == 1
    assert tempfile.gettempdir() not in result.stderr
    assert "trials.parquet" in result.stderr
    assert "is damaged" in result.stderr
    assert uri.partition("?")[0] in result.stderr


def test_trial_in_a_bucket_goes_on_from_addresses_that_every_node_understands(uri: str, tmp_path: Path) -> None:
    local = make_study(tmp_path / "small", ended=False)
    folder = StudyFolder.at(uri)
    folder.create(study_config(trials=5))
    history = read_history(local.ledger)
    (address,) = folder.checkpoints_of(history.trials[2])
    BucketFolder.open(address).write("x", b"content")
    assert BucketFolder.open(uri).read(f"{history.trials[2].checkpoints[0].path}/x") == b"content"


def test_what_a_trial_is_sent_is_small(uri: str) -> None:
    folder = StudyFolder.at(uri)
    config = study_config(trial={"regularize_epochs": 3, "finetune_epochs": 1, "data_dir": below(uri, "data")})
    folder.create(config.with_absolute_paths())
    ledger = folder.open_ledger(hush)
    searcher = OptunaSearcher(folder.read_config(), ledger, {0: folder.baseline_address(0)}, folder=folder)
    sent = searcher.suggest("ray-0")
    ledger.close()
    assert isinstance(sent, dict)
    assert sent["trial"]["data_dir"] == below(uri, "data")
    assert len(pickle.dumps(sent)) < 4000


def test_sweep_of_a_bucket_keeps_what_trials_go_on_from(uri: str, bucket: BucketFolder) -> None:
    kept = "ray/session-001/small-00001-0/checkpoint_000001"
    for name in (f"{kept}/trial.pt", "ray/session-001/small-00001-0/checkpoint_000000/trial.pt", "ray/session-001/x"):
        bucket.write(name, b"x")
    StudyFolder.at(uri).storage.prune_checkpoints([kept])
    assert bucket.names() == [f"{kept}/trial.pt"]


def in_bucket(uri: str, local: StudyFolder) -> StudyFolder:
    """Copy configuration and ledger of a study into a bucket."""
    folder = StudyFolder.at(uri)
    folder.create(local.read_config())
    folder.study_yaml.write_bytes(local.study_yaml.read_bytes())  # the file that the ledger has recorded
    folder.publish()
    Segments(BucketFolder.open(uri), local.ledger.read_bytes())
    return StudyFolder.at(uri)


def test_study_in_a_bucket_is_extended_only_while_no_other_driver_runs_it(
    uri: str, bucket: BucketFolder, tmp_path: Path
) -> None:
    """The configuration changes under the lease, so that no driver runs by the old one."""
    study = in_bucket(uri, make_study(tmp_path / "small"))
    before = bucket.read("study.yaml")
    with closing(study.open_ledger(hush)):
        with pytest.raises(ValueError, match="is being run by process"):
            extend(StudyFolder.at(uri), 7, RunOptions())
        assert bucket.read("study.yaml") == before
    assert extend(StudyFolder.at(uri), 7, RunOptions()).trials == 12
    assert StudyFolder.at(uri).read_config().trials == 12

    def refused(config: StudyConfig, history: History) -> StudyConfig:
        with pytest.raises(ValueError, match="is being run by process"):
            StudyFolder.at(uri).open_ledger(hush)
        return config

    study.change_config(refused, hush)


def test_confirmation_in_a_bucket_gets_more_seeds_only_while_no_other_driver_runs_it(
    uri: str, bucket: BucketFolder, tmp_path: Path
) -> None:
    study = in_bucket(uri, make_study(tmp_path / "small"))
    confirmation, two = confirmation_of(study, 2, 0.0)
    confirmation.create(two)
    _, three = confirmation_of(StudyFolder.at(uri), 3, 0.0)
    before = bucket.read("confirm/study.yaml")
    with closing(confirmation.open_ledger(hush)):
        with pytest.raises(ValueError, match="is being run by process"):
            add_seeds(StudyFolder.at(below(uri, "confirm")), three, RunOptions())
        assert bucket.read("confirm/study.yaml") == before
    add_seeds(StudyFolder.at(below(uri, "confirm")), three, RunOptions())
    assert StudyFolder.at(below(uri, "confirm")).read_config() == three
    with pytest.raises(ValueError, match=r"--seeds must be at least 3, which .* has been given, got 2"):
        add_seeds(confirmation, two, RunOptions())


def newest_of(study: StudyFolder, number: int) -> str:
    """Return the name of the newest checkpoint of a trial."""
    checkpoint = study.read_history().trials[number].checkpoint
    assert checkpoint is not None
    return checkpoint.path


def test_clean_removes_from_a_bucket_what_it_removes_from_a_folder(
    uri: str, bucket: BucketFolder, tmp_path: Path
) -> None:
    study = in_bucket(uri, make_study(tmp_path / "small"))
    newest = [saved.path for trial in study.read_history().trials.values() for saved in trial.checkpoints]
    written = {*newest, *(f"{name.rpartition('/')[0]}/checkpoint_000000" for name in newest)}
    for name in written:
        bucket.write(f"{name}/trial.pt", bytes(1000))
    kept = {newest_of(study, number) for number in (1, 2)}
    others = [name for name in bucket.names() if "checkpoint_" not in name and not name.startswith(("ledger/", NAME))]
    dry = CliRunner().invoke(app, ["clean", uri, "--dry-run"])
    assert f"no longer needed: {len(written) - 2} checkpoints" in dry.stdout
    assert set(study.storage.checkpoints()) == written
    done = CliRunner().invoke(app, ["clean", uri, "--yes"])
    assert done.exit_code == 0, done.output
    assert set(study.storage.checkpoints()) == kept
    assert set(study.storage.checkpoints().values()) == {1000}
    assert set(others) <= set(bucket.names())
    assert StudyFolder.at(uri).read_history().num_ended == 5


def test_clean_of_a_bucket_is_refused_while_a_driver_runs(uri: str, bucket: BucketFolder, tmp_path: Path) -> None:
    study = in_bucket(uri, make_study(tmp_path / "small"))
    bucket.write("ray/session-001/small-00001-0/checkpoint_000000/trial.pt", b"x")
    with closing(study.open_ledger(hush)):
        done = CliRunner().invoke(app, ["clean", uri, "--yes"])
    assert (done.exit_code, "needs a study that has finished" in done.stderr) == (2, True), done.output
    assert len(study.storage.checkpoints()) == 1


def test_study_begins_from_the_results_of_one_in_a_bucket(uri: str, bucket: BucketFolder, tmp_path: Path) -> None:
    local = make_study(tmp_path / "small")
    bucket.write("trials.parquet", local.trials.read_bytes())
    from_bucket, from_folder = (
        read_priors(study_config(warm_start=[source]).with_absolute_paths()) for source in (uri, str(local.path))
    )
    assert from_bucket
    assert [prior | {"source": ""} for prior in from_bucket] == [prior | {"source": ""} for prior in from_folder]
    assert from_bucket[0]["source"] == uri


def test_marks_of_the_doctor_are_seen_in_a_bucket_and_leave_nothing(uri: str, bucket: BucketFolder) -> None:
    folder = below(uri, ".qar-doctor")
    assert [write_mark(folder, name) for name in ("one", "two")] == [None, None]
    assert unseen_marks(folder, ["one", "two", "three"]) == ["three"]
    remove_marks(folder)
    assert bucket.names() == []
    result = write_mark(folder.replace("bucket/", "nowhere/"), "one")
    assert result is not None
    assert "there is no bucket 'nowhere'" in result


def test_folder_that_holds_something_else_is_refused(uri: str, bucket: BucketFolder) -> None:
    bucket.write("somebody's", b"x")
    with pytest.raises(ValueError, match="is not empty and holds no study"):
        StudyFolder.at(uri).create(study_config())
    assert bucket.names() == ["somebody's"]


def test_of_launches_at_once_one_claims_the_bucket(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """All see the place free before the first of them writes; the others leave nothing."""
    launches, claimed, refused = 4, [], []
    at_once = threading.Barrier(launches)
    create = BucketStorage.create

    def create_at_once(storage: BucketStorage, content: bytes) -> None:
        at_once.wait()
        create(storage, content)

    monkeypatch.setattr(BucketStorage, "create", create_at_once)

    def launch(seed: int) -> None:
        try:
            StudyFolder.at(uri).create(study_config(seed=seed))
            claimed.append(seed)
        except ValueError as error:
            refused.append(str(error))

    threads = [threading.Thread(target=launch, args=(seed,)) for seed in range(launches)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(claimed), len(refused)) == (1, launches - 1)
    assert all("holds a study already" in text for text in refused)
    assert StudyFolder.at(uri).read_config() == study_config(seed=claimed[0])
    assert BucketFolder.open(uri).names() == ["study.yaml"]


def test_launch_that_comes_late_leaves_the_study_as_it_is(uri: str, bucket: BucketFolder) -> None:
    """It was prepared before the first wrote its study, and goes on after the first is driven."""
    late = StudyFolder.at(uri)
    first = StudyFolder.at(uri)
    first.create(study_config(seed=1))
    first.open_ledger(hush).close()
    before = {name: bucket.read(name) for name in bucket.names()}
    with pytest.raises(ValueError, match="holds a study already; continue it with: qar resume"):
        late.create(study_config(seed=2))
    with pytest.raises(ValueError, match="holds a study already"):
        late.storage.create(b"")
    assert {name: bucket.read(name) for name in bucket.names()} == before


def test_study_without_its_ledger_in_the_bucket_is_not_begun_anew(
    uri: str, bucket: BucketFolder, tmp_path: Path
) -> None:
    """All segments are gone, or only the last ones; nothing is claimed or written."""
    local = make_study(tmp_path / "small")
    StudyFolder.at(uri).create(study_config(trials=5))
    lines = local.ledger.read_bytes().splitlines(keepends=True)
    Segments(bucket, b"".join(lines[:-2]))
    for name in ("study.json", "trials.parquet", "epochs.parquet"):
        bucket.write(name, (local.path / name).read_bytes())
    before = bucket.names()
    with pytest.raises(DamagedFileError, match=r"lacks the line .* trials\.parquet was made: .*restore it"):
        StudyFolder.at(uri).open_ledger(hush)
    assert bucket.names() == before
    bucket.remove_folder(FOLDER)
    before = bucket.names()
    with pytest.raises(DamagedFileError, match=r"must hold what the study has done.* study\.json, trials\.parquet"):
        StudyFolder.at(uri).open_ledger(hush)
    ended = CliRunner().invoke(app, ["resume", uri])
    assert (ended.exit_code, ended.stdout, ended.stderr.count("\n")) == (1, "", 1)
    assert uri.replace("?", "/ledger.jsonl?") in ended.stderr
    assert bucket.names() == before


def test_place_that_a_killed_launch_has_claimed_can_be_used(uri: str, bucket: BucketFolder) -> None:
    """Launches of earlier versions held the lease while they wrote study.yaml."""
    bucket.write(NAME, elsewhere())
    StudyFolder.at(uri).create(study_config())
    assert bucket.names() == [NAME, "study.yaml"]
    StudyFolder.at(uri).open_ledger(hush).close()


def test_launch_into_a_store_that_disregards_conditions_is_refused_and_leaves_nothing(
    uri: str, bucket: BucketFolder, store: FaultyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "disregarded", {"If-None-Match"})
    with pytest.raises(ValueError, match=r"storage s3://\S+ must write under conditions \(If-None-Match\).* update"):
        StudyFolder.at(uri).create(study_config())
    assert bucket.names() == []


def test_study_in_a_store_that_disregards_conditions_is_not_driven(
    uri: str, bucket: BucketFolder, store: FaultyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was begun by a version that did without them; it can still be read."""
    StudyFolder.at(uri).create(study_config())
    monkeypatch.setattr(store, "disregarded", {"If-None-Match", "If-Match"})
    with pytest.raises(ValueError, match="must write under conditions"):
        StudyFolder.at(uri).open_ledger(hush)
    assert bucket.names() == ["study.yaml"]
    assert StudyFolder.at(uri).read_config() == study_config()


def test_discarded_study_leaves_nothing(uri: str, bucket: BucketFolder) -> None:
    with pytest.raises(KeyboardInterrupt), StudyFolder.at(uri).created(study_config()):
        raise KeyboardInterrupt
    assert bucket.names() == []


def test_damaged_study_in_a_bucket_is_named_by_its_uri(uri: str, bucket: BucketFolder) -> None:
    bucket.write("study.yaml", b"[")
    for command in (
        ["status"],
        ["resume"],
        ["confirm"],
        ["dashboard"],
        ["export", "--trial", "1", "--out", "x"],
        ["reproduce", "--trial", "1"],
    ):
        result = CliRunner().invoke(app, [command[0], uri, *command[1:]])
        assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
        assert uri.replace("?", "/study.yaml?") in result.stderr
        assert tempfile.gettempdir() not in result.stderr


def test_ledger_without_a_copy_is_as_ever(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.jsonl")
    ledger.check()
    ledger.close()


@pytest.mark.parametrize(
    ("storage", "fragment"),
    [
        ("nowhere", "there is no bucket 'nowhere'"),
        ("ftp://host/x", "storage must be a folder, or one of a bucket"),
        ("s3://k:s@bucket/x", "storage must hold no credentials"),
    ],
)
def test_launch_into_a_place_that_is_none_is_refused(
    storage: str, fragment: str, store: FaultyStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    place = storage if "://" in storage else store.uri(storage)
    before = store.requests["PUT"]
    ended = CliRunner().invoke(app, ["launch", "digits", "--storage", place])
    assert (ended.exit_code, ended.stdout) == (2, "")
    (line,) = ended.stderr.splitlines()
    assert fragment in line
    assert store.requests["PUT"] == before
    assert list(tmp_path.iterdir()) == []
