"""Folders of a bucket, on a real S3 server that fails now and then."""

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow.fs import FileSystem

from study.errors import StorageError
from study.storage import clients, patience
from study.storage.clients import Clients
from study.storage.object_store import BucketFolder, ConditionError, below, is_uri
from tests.support.faulty_store import FaultyStore


@pytest.fixture
def store(server: FaultyStore, monkeypatch: pytest.MonkeyPatch) -> FaultyStore:
    """The server, in order, and an impatient client of it."""
    monkeypatch.setattr(patience, "PATIENCE", 2.0)
    monkeypatch.setattr(patience, "FIRST_PATIENCE", 1.0)
    server.fault = lambda method, path: None
    return server


@pytest.fixture
def folder(store: FaultyStore, request: pytest.FixtureRequest) -> BucketFolder:
    return BucketFolder.open(store.uri(f"bucket/{abs(hash(request.node.name))}"))


@pytest.mark.parametrize(("address", "uri"), [("studies", False), ("/a/b", False), ("s3://b/c", True), ("x://", True)])
def test_address_is_a_uri_or_a_path(address: str, uri: bool) -> None:
    assert is_uri(address) == uri


def test_below_keeps_the_options_at_the_end() -> None:
    assert below("s3://bucket/studies/?region=x&scheme=http", "digits") == (
        "s3://bucket/studies/digits?region=x&scheme=http"
    )
    assert below("gs://bucket", "digits") == "gs://bucket/digits"


def test_object_is_read_as_it_was_written(folder: BucketFolder) -> None:
    content = bytes(range(256)) * 50_000  # in several parts
    folder.write("a/b", content)
    folder.write("a/c", b"")
    assert (folder.read("a/b"), folder.read("a/c"), folder.read("a/none")) == (content, b"", None)
    assert folder.names() == ["a/b", "a/c"] == folder.names("a")
    assert (folder / "a").read("c") == b""


@pytest.mark.parametrize(("old", "new"), [(9000, 20), (20, 9000)])
def test_object_that_is_replaced_while_it_is_read_is_read_whole(
    old: int, new: int, folder: BucketFolder, store: FaultyStore
) -> None:
    folder.write("x", b"o" * old)
    replaced: list[str] = []

    def replace_before_it_is_sent(method: str, path: str) -> None:
        if method == "GET" and not replaced:
            replaced.append(path)
            folder.write("x", b"n" * new)

    store.fault = replace_before_it_is_sent
    assert folder.read("x") == b"n" * new
    assert replaced


def test_object_that_is_removed_while_it_is_read_is_gone(folder: BucketFolder, store: FaultyStore) -> None:
    """Also where the answer doesn't say what is not there, so that the client speaks as if it were the bucket."""
    folder.write("x", b"content")
    removed: list[str] = []

    def remove_before_it_is_sent(method: str, path: str) -> str | None:
        if method != "GET" or removed:
            return None
        removed.append(path)
        folder.remove("x")
        return "404"

    store.fault = remove_before_it_is_sent
    assert folder.read("x") is None
    assert removed


def test_removed_objects_are_gone_and_may_be_removed_again(folder: BucketFolder) -> None:
    for name in ("one", "two/a", "two/b", "three"):
        folder.write(name, b"x")
    for _ in range(2):
        folder.remove("one")
        folder.remove_folder("two")
    assert folder.names() == ["three"]


@pytest.mark.parametrize("fault", ["500", "503", "slow", "cut up", "cut down"])
def test_fault_that_passes_is_not_noticed(fault: str, folder: BucketFolder, store: FaultyStore) -> None:
    content = b"0123456789" * 1000
    folder.write("before", content)
    left = {"PUT": 1, "GET": 2}

    def at_first(method: str, path: str) -> str | None:
        if left.get(method, 0):
            left[method] -= 1
            return fault
        return None

    store.fault = at_first
    folder.write("x", content)
    assert folder.read("x") == content
    assert folder.names() == ["before", "x"]
    assert left == {"PUT": 0, "GET": 0}


def test_object_is_written_under_a_condition(folder: BucketFolder) -> None:
    first = folder.create("x", b"one")
    with pytest.raises(ConditionError):
        folder.create("x", b"two")
    second = folder.replace("x", b"two", first)
    with pytest.raises(ConditionError):
        folder.replace("x", b"three", first)
    assert folder.read_stored("x") == (b"two", second)
    folder.remove("x")
    with pytest.raises(ConditionError):
        folder.replace("x", b"three", second)
    assert folder.read("x") is None


@pytest.mark.parametrize("fault", ["500", "503", "cut up", "cut down", "lost"])
def test_write_under_a_condition_succeeds_once_whatever_passes(
    fault: str, folder: BucketFolder, store: FaultyStore
) -> None:
    """Also if the object was written and only the answer was lost: the repetition finds our own object in its way."""
    left = [1]

    def at_first(method: str, path: str) -> str | None:
        if method == "PUT" and left:
            left.pop()
            return fault
        return None

    store.fault = at_first
    version = folder.create("x", b"one")
    left.append(1)
    folder.replace("x", b"two", version)
    assert (folder.read("x"), left) == (b"two", [])


def test_write_whose_answer_was_lost_and_which_a_rival_has_beaten_fails(
    folder: BucketFolder, store: FaultyStore
) -> None:
    taken: list[str] = []

    def beaten(method: str, path: str) -> str | None:
        if method == "PUT" and not taken:
            taken.append(path)
            folder.write("x", b"the rival's")
            return "cut up"
        return None

    store.fault = beaten
    with pytest.raises(ConditionError):
        folder.create("x", b"ours")
    assert folder.read("x") == b"the rival's"


def test_store_that_minds_conditions_is_accepted_and_its_object_left_alone(folder: BucketFolder) -> None:
    version = folder.create("x", b"content")
    folder.check_conditions("x", version)
    assert folder.read_stored("x") == (b"content", version)


@pytest.mark.parametrize("header", ["If-None-Match", "If-Match"])
def test_store_that_disregards_conditions_is_refused_in_one_line(
    header: str, folder: BucketFolder, store: FaultyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = folder.create("x", b"content")
    monkeypatch.setattr(store, "disregarded", {header})
    with pytest.raises(
        ValueError, match=rf"must write under conditions \({header}\), got one that disregards"
    ) as raised:
        folder.check_conditions("x", version)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("fault", ["503", "cut up"])
def test_object_stays_as_it_was_when_it_can_not_be_replaced(
    fault: str, folder: BucketFolder, store: FaultyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "PATIENCE", 0.5)
    folder.write("old", b"old")
    store.fault = lambda method, path: fault if method == "PUT" else None
    for name in ("old", "new"):
        with pytest.raises(StorageError, match=r"can't be reached.*qar resume"):
            folder.write(name, b"new content")
    store.fault = lambda method, path: None
    assert (folder.read("old"), folder.read("new")) == (b"old", None)


def test_store_out_of_reach_is_one_line_for_whoever_reads(
    folder: BucketFolder, store: FaultyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "PATIENCE", 0.5)
    store.fault = lambda method, path: "503"
    for operation in (lambda: folder.read("x"), folder.names, lambda: folder.remove("x")):
        with pytest.raises(StorageError) as raised:
            operation()
        assert "\n" not in str(raised.value)
        assert str(raised.value).endswith(f"qar resume {folder}")


@pytest.mark.parametrize(
    ("uri", "fragment"),
    [
        ("http://bucket/x", "storage must be a folder, or one of a bucket"),
        ("s3://", "storage must be a folder, or one of a bucket"),
        ("s3://a b/c", "storage must be a URI that pyarrow understands"),
        ("s3://bucket/x?colour=red", "colour"),
        ("s3://key:secret@bucket/x", "storage must hold no credentials"),
    ],
)
def test_bad_uri_is_refused(uri: str, fragment: str) -> None:
    with pytest.raises(ValueError, match=fragment) as raised:
        BucketFolder.open(uri)
    assert "\n" not in str(raised.value)
    assert "secret" not in str(raised.value)


def test_bucket_that_is_not_there_is_refused(store: FaultyStore) -> None:
    with pytest.raises(ValueError, match="there is no bucket 'nowhere'; make it"):
        BucketFolder.open(store.uri("nowhere/x"))


def test_credentials_that_are_refused_are_told_at_once(store: FaultyStore) -> None:
    store.fault = lambda method, path: "403"
    before = store.requests.total()
    with pytest.raises(ValueError, match=r"is refused: .*; check the name of the bucket, and the credentials"):
        BucketFolder.open(store.uri("bucket/x"))
    assert store.requests.total() == before + 1


def test_full_uri_needs_no_environment(store: FaultyStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{store.port}")
    folder = BucketFolder.open("s3://bucket/full?region=us-east-1")
    folder.write("x", b"content")
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    assert BucketFolder.open(folder.full_uri).read("x") == b"content"
    filesystem, path = FileSystem.from_uri((folder / "x").full_uri)
    assert filesystem.open_input_stream(path).read() == b"content"


def test_full_uri_of_google_is_understood() -> None:
    uri = "gs://anonymous@bucket/x?endpoint_override=127.0.0.1:1&scheme=http"
    filesystem, path = FileSystem.from_uri(uri)
    again, same = FileSystem.from_uri(BucketFolder(uri, filesystem, path, Clients(filesystem, "bucket")).full_uri)
    assert (again, same) == (filesystem, path)


def test_file_system_is_the_same_after_pickling(folder: BucketFolder) -> None:
    folder.write("x", b"content")
    copy = pickle.loads(pickle.dumps(folder.filesystem))  # as Ray sends it to the nodes
    assert copy.open_input_stream(f"{folder.path}/x").read() == b"content"


def test_google_uri_leads_to_google_and_its_errors_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clients, "REQUEST_SECONDS", 1.0)
    monkeypatch.setattr(patience, "FIRST_PATIENCE", 1.0)
    with pytest.raises(StorageError, match=r"storage gs://\S+ can't be reached: google::cloud::Status\(UNAVAILABLE"):
        BucketFolder.open("gs://anonymous@bucket/x?endpoint_override=127.0.0.1:1&scheme=http")


@given(st.sampled_from(["s3", "gs"]), st.from_regex(r"[a-z]{3,9}(/[a-z]{1,5}){0,3}", fullmatch=True))
def test_below_is_what_pyarrow_makes_of_it(scheme: str, path: str) -> None:
    _, found = FileSystem.from_uri(below(f"{scheme}://{path}?endpoint_override=127.0.0.1:1&scheme=http", "digits"))
    assert found == f"{path}/digits"
