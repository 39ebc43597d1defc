"""Studies in a container of Azure, `az://`, on a real server."""

import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing

import pytest
from pyarrow.fs import AzureFileSystem, FileSystem

from study.errors import StorageError
from study.ledger.reading import read_history
from study.storage.folder import StudyFolder
from study.storage.lease import Lease
from study.storage.object_store import BucketFolder, ConditionError
from study.storage.segments import Segments, read_ledger
from tests.support.example_studies import start_session, study_config
from trainables.files.object_stores import ACCOUNT, as_pyarrow_has_it

KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
"""The account key of every Azurite, from its documentation."""


@pytest.fixture(scope="module")
def azure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URI of a folder in a container of Azurite."""
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        port = free.getsockname()[1]
    command = ["azurite-blob", "--blobPort", str(port), "--location", str(tmp_path_factory.mktemp("azurite"))]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AZURE_STORAGE_ACCOUNT_KEY", KEY)
        with subprocess.Popen([*command, "--silent", "--skipApiVersionCheck"], stdout=subprocess.DEVNULL) as server:
            deadline = time.monotonic() + 60
            while socket.socket().connect_ex(("127.0.0.1", port)):
                assert time.monotonic() < deadline
                time.sleep(0.1)
            here = {"blob_storage_authority": f"127.0.0.1:{port}", "dfs_storage_authority": f"127.0.0.1:{port}"}
            schemes = {"blob_storage_scheme": "http", "dfs_storage_scheme": "http"}
            AzureFileSystem("devstoreaccount1", account_key=KEY, **here, **schemes).create_dir("studies")
            options = f"account_name=devstoreaccount1&endpoint_override=127.0.0.1:{port}&scheme=http"
            yield f"az://studies/folder?{options}"
            server.terminate()


def test_objects_in_a_container_are_written_under_conditions_listed_and_removed(azure: str) -> None:
    bucket = BucketFolder.open(azure)
    first = bucket.create("a/x", b"one")
    second = bucket.replace("a/x", b"two", first)
    for refused in (lambda: bucket.create("a/x", b"three"), lambda: bucket.replace("a/x", b"three", first)):
        with pytest.raises(ConditionError):
            refused()
    bucket.check_conditions("a/x", second)
    assert (bucket.read("a/x"), bucket.read("none"), bucket.sizes()) == (b"two", None, {"a/x": 3})
    bucket.write("b", b"")
    bucket.remove("b", "none")
    bucket.remove_folder("a")
    assert bucket.names() == []


def test_study_in_a_container_has_one_driver_and_keeps_its_facts(azure: str) -> None:
    uri = azure.replace("folder", "small")
    StudyFolder.at(uri).create(study_config())
    with pytest.raises(ValueError, match="holds a study already"):
        StudyFolder.at(uri).create(study_config())
    ledger = StudyFolder.at(uri).open_ledger(lambda text: None)
    start_session(ledger)
    ledger.close()
    assert len(read_history(StudyFolder.at(uri).ledger).sessions) == 1
    bucket = BucketFolder.open(uri)
    late = Segments(bucket, read_ledger(bucket))
    Lease(bucket, lambda text: None).release()
    Segments(bucket, read_ledger(bucket))
    with pytest.raises(StorageError, match="is driven by another process now"):
        late.append(b"too late\n")


def test_container_that_is_not_there_is_refused(azure: str) -> None:
    with pytest.raises(ValueError, match="there is no bucket 'nowhere'; make it"):
        BucketFolder.open(azure.replace("studies", "nowhere"))


def test_key_that_is_refused_is_told_at_once_and_not_shown(azure: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", "QUFBQQ==")
    with pytest.raises(ValueError, match=r"is refused: .*Azure Error: .*; check the name of the bucket") as raised:
        BucketFolder.open(azure)
    assert "QUFB" not in str(raised.value)
    assert "\n" not in str(raised.value)


def test_uri_of_a_container_is_one_that_pyarrow_understands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(ACCOUNT, raising=False)
    with pytest.raises(ValueError, match=rf"account must be given as \?account_name=NAME or in {ACCOUNT}, got none"):
        as_pyarrow_has_it("az://studies/digits")
    monkeypatch.setenv(ACCOUNT, "lab")
    for uri in ("az://studies/digits", "az://studies/digits?account_name=lab"):
        assert as_pyarrow_has_it(uri) == "abfs://studies@lab.dfs.core.windows.net/digits"
    _, path = FileSystem.from_uri(as_pyarrow_has_it("az://studies/digits"))
    assert path == "studies/digits"
    assert as_pyarrow_has_it("s3://bucket/x?region=a") == "s3://bucket/x?region=a"
