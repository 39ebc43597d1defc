"""Folders of a bucket, `s3://` or `gs://`, whose objects are read and written whole.

An object appears with its last byte or not at all, whatever cuts its upload. What a store refuses in passing (an error
500 or 503, a lost connection, silence) is tried again until `PATIENCE` is at its end.
"""

import os
import re
import shlex
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from study.config.credentials import redacted, refuse_credentials
from study.errors import StorageError

SCHEMES = ("s3", "gs")

PATIENCE = float(os.environ.get("QAR_STORAGE_PATIENCE", "120"))
"""Seconds that an outage of the store may last before it ends a study."""
FIRST_PATIENCE = min(10.0, PATIENCE)
"""The same when a command begins: then a store that doesn't answer is more likely a mistyped one."""
REQUEST_SECONDS, CONNECT_SECONDS = 30.0, 10.0
"""Of silence after which the store's own client gives a request up, to begin it anew."""
LONGEST_PAUSE = 10.0

_REFUSED = re.compile(
    r"ACCESS_DENIED|NO_SUCH_BUCKET|INVALID_ACCESS_KEY|SIGNATURE|INVALID_CLIENT_TOKEN|MISSING_AUTHENTICATION|"
    r"UNRECOGNIZED_CLIENT|EXPIRED_TOKEN|PERMISSION_DENIED|UNAUTHENTICATED|access token|HTTP status 40[13]|"
    r"Bucket '\S+' not found|NOT_FOUND"
)
"""In messages of the clients: that the store has answered, and that asking again won't change the answer."""

_Answer = TypeVar("_Answer")


def is_uri(address: str) -> bool:
    """Whether an address names a place on an object store, rather than a path."""
    return "://" in address


def below(uri: str, name: str) -> str:
    """The URI of what is called `name` in a folder; options such as `?endpoint_override=…` stay at the end."""
    parts = urlsplit(uri)
    return urlunsplit(parts._replace(path=f"{parts.path.rstrip('/')}/{name}"))


def above(uri: str) -> str:
    """The URI of the folder that a folder lies in; the inverse of `below`."""
    parts = urlsplit(uri)
    return urlunsplit(parts._replace(path=parts.path.rstrip("/").rpartition("/")[0]))


@dataclass(frozen=True)
class BucketFolder:
    """A folder of a bucket.

    Attributes:
        uri: as it was given.
        filesystem: pyarrow's, of the store.
        path: of the folder there, beginning with the bucket.
    """

    uri: str
    filesystem: Any
    path: str

    @classmethod
    def open(cls, uri: str) -> "BucketFolder":
        """The folder that a URI names; nothing is written, and it need not exist yet, but its bucket must.

        Raises:
            ValueError: the URI is none of an object store, holds a secret, or the store refuses to show the bucket.
            StorageError: the store can't be reached.
        """
        import pyarrow as pa
        from pyarrow.fs import FileSystem, FileType

        _check(uri)
        try:
            filesystem, path = _patiently(lambda: FileSystem.from_uri(uri), uri, FIRST_PATIENCE)
            folder = cls(uri, _with_patience(filesystem), path.rstrip("/"))
            bucket = folder.path.partition("/")[0]
            found = _patiently(lambda: folder.filesystem.get_file_info(bucket), uri, FIRST_PATIENCE)
        except (pa.ArrowException, ValueError) as error:
            raise ValueError(
                f"storage must be a URI that pyarrow understands, got {uri!r}: {error}; correct it"
            ) from None
        except RefusedError as refusal:
            raise ValueError(
                f"storage {uri} is refused: {refusal}; check the name of the bucket, and the credentials and rights "
                "of this machine"
            ) from None
        if found.type == FileType.NotFound:
            raise ValueError(f"storage {uri}: there is no bucket {bucket!r}; make it, or correct the URI")
        return folder

    def __str__(self) -> str:
        """The URI as a shell takes it."""
        return shlex.quote(self.uri)

    def __truediv__(self, name: str) -> "BucketFolder":
        return BucketFolder(below(self.uri, name), self.filesystem, f"{self.path}/{name}")

    @property
    def full_uri(self) -> str:
        """The URI with all that a machine needs which lacks this one's environment variables, but for credentials."""
        _, (options,) = self.filesystem.__reduce__()
        told = {name: options[name] for name in ("region", "scheme", "endpoint_override") if options.get(name)}
        parts = urlsplit(self.uri)
        return urlunsplit(parts._replace(query=urlencode(dict(parse_qsl(parts.query)) | told)))

    def read(self, name: str) -> bytes | None:
        """An object's content; None if there is none of that name. Raises StorageError."""

        from pyarrow.fs import FileType

        def read() -> bytes:
            try:
                with self.filesystem.open_input_file(f"{self.path}/{name}") as file:
                    size, content = file.size(), file.read()
            except OSError:
                # Removed after it was opened, it makes the client say what it says of a bucket that isn't there.
                if self.filesystem.get_file_info(f"{self.path}/{name}").type == FileType.NotFound:
                    raise FileNotFoundError(name) from None
                raise
            # pyarrow asks for the size first: of an object that was replaced since then, it returns a part, or more.
            if self.filesystem.get_file_info(f"{self.path}/{name}").size != size:
                raise OSError(f"{name} was replaced while it was read")
            return content

        try:
            return self._patiently(read)
        except FileNotFoundError:
            return None

    def write(self, name: str, content: bytes) -> None:
        """Makes or replaces an object. Raises StorageError; then the old one is there as before."""

        def write() -> None:
            # Not `with`: closing the stream is what makes the object, and an error must not.
            stream = self.filesystem.open_output_stream(f"{self.path}/{name}", compression=None)
            stream.write(content)
            stream.close()

        self._patiently(write)

    def names(self, folder: str = "") -> list[str]:
        """Names, relative to this folder, of all objects in it or in a folder of it, sorted. Raises StorageError."""
        from pyarrow.fs import FileSelector

        selector = FileSelector(f"{self.path}/{folder}".rstrip("/"), allow_not_found=True, recursive=True)
        found = self._patiently(lambda: self.filesystem.get_file_info(selector))
        return sorted(entry.path.removeprefix(f"{self.path}/") for entry in found if entry.is_file)

    def remove(self, name: str) -> None:
        """Removes an object, if it is there. Raises StorageError."""
        self._remove(lambda: self.filesystem.delete_file(f"{self.path}/{name}"))

    def remove_folder(self, name: str) -> None:
        """Removes all objects in a folder of this one. Raises StorageError."""
        self._remove(lambda: self.filesystem.delete_dir(f"{self.path}/{name}"))

    def _remove(self, operation: Callable[[], None]) -> None:
        try:
            self._patiently(operation)
        except FileNotFoundError:
            return

    def _patiently(self, operation: Callable[[], _Answer]) -> _Answer:
        try:
            return _patiently(operation, self.uri, PATIENCE)
        except RefusedError as refusal:
            raise StorageError(
                f"storage {self.uri} is refused: {refusal}; check the credentials and rights of this machine, then go "
                f"on with: qar resume {self}"
            ) from None


class RefusedError(Exception):
    """The store has answered, and asking again won't change the answer; the message is the store's, in one line."""


def _check(uri: str) -> None:
    parts = urlsplit(uri)
    if parts.scheme not in SCHEMES or not parts.netloc:
        raise ValueError(
            "storage must be a folder, or one of a bucket as s3://BUCKET/FOLDER or gs://BUCKET/FOLDER, "
            f"got {redacted(uri)!r}; correct it"
        )
    refuse_credentials("storage", uri, "put them where the store's own tools look for them, as into ~/.aws/credentials")


def _with_patience(filesystem: Any) -> Any:
    """The same file system, which waits longer for answers (S3) or gives up in time (Google); no URI can ask so."""
    rebuild, (options,) = filesystem.__reduce__()
    if filesystem.type_name == "gcs":
        return rebuild(options | {"retry_time_limit": timedelta(seconds=REQUEST_SECONDS)})
    return rebuild(
        options
        | {"request_timeout": REQUEST_SECONDS, "connect_timeout": CONNECT_SECONDS}
        | {"allow_delayed_open": True, "check_directory_existence_before_creation": True}
    )


def _patiently(operation: Callable[[], _Answer], uri: str, patience: float) -> _Answer:
    """What an operation returns, repeated as long as it may yet succeed.

    Raises:
        FileNotFoundError: there is no such object.
        RefusedError: asking again is of no use.
        StorageError: the store was out of reach for `patience` seconds.
    """
    began, pause = time.monotonic(), 0.25
    while True:
        try:
            return operation()
        except FileNotFoundError:
            raise
        except OSError as error:
            reason = _one_line(error)
            if _REFUSED.search(reason):
                raise RefusedError(reason) from None
            if time.monotonic() - began + pause > patience:
                raise StorageError(
                    f"storage {uri} can't be reached: {reason}; once it can, go on with: qar resume {shlex.quote(uri)}"
                ) from None
        time.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE)


def _one_line(error: OSError) -> str:
    text = re.sub(r" \(Request ID: \S+\)| error_info=.*", "", " ".join(str(error).split()))
    return re.sub(r"^When .*?: (?=AWS Error)", "", text)
