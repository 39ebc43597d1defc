"""Remedies for errors of the operating system: each fits its error, and no other."""

import errno
import os

import pytest

from study.errors import StorageError, StorageUnwritable, StudyInterrupted, interruption_behind

# Words that must be in the remedy of an error.
REMEDIES = {
    errno.ENOSPC: "free space",
    errno.EDQUOT: "free space there or raise the quota",
    errno.EFBIG: "ulimit -f",
    errno.EACCES: "give the right to write",
    errno.EPERM: "give the right to write",
    errno.EROFS: "mount its file system for writing",
    errno.EIO: "check its disk",
    errno.ESTALE: "mount its file system again",
    errno.ENOTCONN: "mount its file system again",
    errno.ENOENT: "put it back",
    errno.EISDIR: "move away",
    errno.EMFILE: "ulimit -n",
}


@pytest.mark.parametrize(("number", "words"), REMEDIES.items(), ids=[errno.errorcode[number] for number in REMEDIES])
def test_storage_that_cant_be_written_names_the_remedy_of_its_error(number: int, words: str) -> None:
    message = str(StorageUnwritable("studies/digits", OSError(number, os.strerror(number))))
    assert message.startswith(f"storage studies/digits can't be written: {os.strerror(number)}; ")
    assert words in message
    assert message.endswith("go on with: qar resume studies/digits")
    assert ("free space" in message) == (number in (errno.ENOSPC, errno.EDQUOT))


def test_interruption_is_found_behind_the_errors_of_libraries() -> None:
    full = RuntimeError("Tune has failed")
    full.__cause__ = OSError(errno.ENOSPC, "No space left on device")
    assert isinstance(interruption_behind(full, "studies/digits"), StorageUnwritable)
    known = RuntimeError("Tune has failed")
    known.__context__ = StudyInterrupted("the reason")
    assert interruption_behind(known, "studies/digits") is known.__context__
    assert interruption_behind(ValueError("another reason"), "studies/digits") is None
    assert interruption_behind(FileNotFoundError(errno.ENOENT, "No such file"), "studies/digits") is None


def test_failures_of_the_storage_are_interruptions() -> None:
    assert issubclass(StorageUnwritable, StorageError)
    assert issubclass(StorageError, StudyInterrupted)
