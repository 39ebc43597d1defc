"""Folders of a bucket, `s3://` or `gs://`, whose objects are read and written as a whole.

An object appears complete or not at all, even if its upload is cut off. Operations that fail temporarily (status 500 or
503, a lost connection, no answer) are repeated for up to `PATIENCE` seconds.
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
"""Seconds for which an outage of the store may last before it ends a study."""
FIRST_PATIENCE = min(10.0, PATIENCE)
"""Seconds for which an outage may last at the start of a command, when a mistyped address is more likely."""
REQUEST_SECONDS, CONNECT_SECONDS = 30.0, 10.0
"""Seconds without an answer after which the store's client cancels a request or a connection."""
LONGEST_PAUSE = 10.0
"""Most seconds between two attempts."""

_REFUSED = re.compile(
    r"ACCESS_DENIED|NO_SUCH_BUCKET|INVALID_ACCESS_KEY|SIGNATURE|INVALID_CLIENT_TOKEN|MISSING_AUTHENTICATION|"
    r"UNRECOGNIZED_CLIENT|EXPIRED_TOKEN|PERMISSION_DENIED|UNAUTHENTICATED|access token|HTTP status 40[13]|"
    r"Bucket '\S+' not found|NOT_FOUND"
)
"""Texts in the clients' messages which show that the store has refused the request for good."""

_Answer = TypeVar("_Answer")


def is_uri(address: str) -> bool:
    """Whether an address names a place on an object store, rather than a path."""
    return "://" in address


def below(uri: str, name: str) -> str:
    """Return the URI of `name` in a folder; options such as `?endpoint_override=…` stay at the end."""
    parts = urlsplit(uri)
    return urlunsplit(parts._replace(path=f"{parts.path.rstrip('/')}/{name}"))


def above(uri: str) -> str:
    """Return the URI of the folder that contains a folder; the inverse of `below`."""
    parts = urlsplit(uri)
    return urlunsplit(parts._replace(path=parts.path.rstrip("/").rpartition("/")[0]))


@dataclass(frozen=True)
class BucketFolder:
    """A folder of a bucket.

    Attributes:
        uri: URI as given by the user.
        filesystem: pyarrow's file system of the store.
        path: path of the folder in this file system, which starts with the bucket.
    """

    uri: str
    filesystem: Any
    path: str

    @classmethod
    def open(cls, uri: str) -> "BucketFolder":
        """Return the folder of a URI, without writing anything; the bucket must exist, but the folder need not.

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
            bucket_info = _patiently(lambda: folder.filesystem.get_file_info(bucket), uri, FIRST_PATIENCE)
        except (pa.ArrowException, ValueError) as error:
            raise ValueError(
                f"storage must be a URI that pyarrow understands, got {uri!r}: {error}; correct it"
            ) from None
        except RefusedError as refusal:
            raise ValueError(
                f"storage {uri} is refused: {refusal}; check the name of the bucket, and the credentials and rights "
                "of this machine"
            ) from None
        if bucket_info.type == FileType.NotFound:
            raise ValueError(f"storage {uri}: there is no bucket {bucket!r}; make it, or correct the URI")
        return folder

    def __str__(self) -> str:
        """Return the URI, quoted for a shell."""
        return shlex.quote(self.uri)

    def __truediv__(self, name: str) -> "BucketFolder":
        """Return the folder with this name in the folder."""
        return BucketFolder(below(self.uri, name), self.filesystem, f"{self.path}/{name}")

    @property
    def full_uri(self) -> str:
        """URI with the options that this machine takes from environment variables, except credentials."""
        _, (options,) = self.filesystem.__reduce__()
        added = {name: options[name] for name in ("region", "scheme", "endpoint_override") if options.get(name)}
        parts = urlsplit(self.uri)
        return urlunsplit(parts._replace(query=urlencode(dict(parse_qsl(parts.query)) | added)))

    def read(self, name: str) -> bytes | None:
        """Return the content of an object; None if it doesn't exist. Raises StorageError."""
        from pyarrow.fs import FileType

        def read() -> bytes:
            try:
                with self.filesystem.open_input_file(f"{self.path}/{name}") as file:
                    size, content = file.size(), file.read()
            except OSError:
                # For an object removed after it was opened, the client reports the error of a missing bucket.
                if self.filesystem.get_file_info(f"{self.path}/{name}").type == FileType.NotFound:
                    raise FileNotFoundError(name) from None
                raise
            # pyarrow requests the size first. If the object was replaced since, the content has another length.
            if self.filesystem.get_file_info(f"{self.path}/{name}").size != size:
                raise OSError(f"{name} was replaced while it was read")
            return content

        try:
            return self._patiently(read)
        except FileNotFoundError:
            return None

    def write(self, name: str, content: bytes) -> None:
        """Create or replace an object. Raises StorageError; the old object is then unchanged."""

        def write() -> None:
            # No `with`: closing the stream creates the object, which must not happen after an error.
            stream = self.filesystem.open_output_stream(f"{self.path}/{name}", compression=None)
            stream.write(content)
            stream.close()

        self._patiently(write)

    def names(self, folder: str = "") -> list[str]:
        """Return the sorted names of all objects below a folder, relative to this folder. Raises StorageError."""
        return list(self.sizes(folder))

    def sizes(self, folder: str = "") -> dict[str, int]:
        """Return the sizes in bytes of all objects below a folder, in order of their names. Raises StorageError."""
        from pyarrow.fs import FileSelector

        selector = FileSelector(f"{self.path}/{folder}".rstrip("/"), allow_not_found=True, recursive=True)
        entries = self._patiently(lambda: self.filesystem.get_file_info(selector))
        sizes = {entry.path.removeprefix(f"{self.path}/"): entry.size for entry in entries if entry.is_file}
        return dict(sorted(sizes.items()))

    def remove(self, name: str) -> None:
        """Remove an object if it exists. Raises StorageError."""
        self._remove(lambda: self.filesystem.delete_file(f"{self.path}/{name}"))

    def remove_folder(self, name: str) -> None:
        """Remove all objects in a folder below this one. Raises StorageError."""
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
    """The store has refused a request for good; the message is the store's, in one line."""


def _check(uri: str) -> None:
    parts = urlsplit(uri)
    if parts.scheme not in SCHEMES or not parts.netloc:
        raise ValueError(
            "storage must be a folder, or one of a bucket as s3://BUCKET/FOLDER or gs://BUCKET/FOLDER, "
            f"got {redacted(uri)!r}; correct it"
        )
    refuse_credentials("storage", uri, "put them where the store's own tools look for them, as into ~/.aws/credentials")


def _with_patience(filesystem: Any) -> Any:
    """Return the file system with our timeouts, which a URI can't set."""
    rebuild, (options,) = filesystem.__reduce__()
    if filesystem.type_name == "gcs":
        return rebuild(options | {"retry_time_limit": timedelta(seconds=REQUEST_SECONDS)})
    return rebuild(
        options
        | {"request_timeout": REQUEST_SECONDS, "connect_timeout": CONNECT_SECONDS}
        | {"allow_delayed_open": True, "check_directory_existence_before_creation": True}
    )


def _patiently(operation: Callable[[], _Answer], uri: str, patience: float) -> _Answer:
    """Return the result of an operation, repeating it after temporary failures.

    Args:
        operation: function to call.
        uri: URI for messages.
        patience: seconds after which failures are no longer repeated.

    Raises:
        FileNotFoundError: the object does not exist.
        RefusedError: the store has refused the operation for good.
        StorageError: the store could not be reached for `patience` seconds.
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
