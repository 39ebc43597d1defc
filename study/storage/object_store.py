"""Folders of a bucket, `s3://`, `gs://` or `az://`, whose objects are read and written as a whole.

An object appears complete or not at all, even if its upload is cut off. Operations that fail temporarily (status 500 or
503, a lost connection, no answer) are repeated for up to `PATIENCE` seconds.
"""

import shlex
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from study.config.rules.credentials import redacted, refuse_credentials
from study.errors import StorageError
from study.storage import patience
from study.storage.clients import Clients, options_of, with_patience
from study.storage.patience import RefusedError, patiently
from trainables.files.object_stores import SCHEMES, as_pyarrow_has_it

Version = dict[str, str]
"""The ETag or generation of an object, which changes with its content; as obstore has it."""

_Answer = TypeVar("_Answer")


class Stored(NamedTuple):
    """An object as it was read."""

    content: bytes
    version: Version


class ConditionError(Exception):
    """An object is not in the state that a write requires, so nothing was written."""


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
        client: returns obstore's client of the bucket, given the size of an object to send in bytes.
    """

    uri: str
    filesystem: Any
    path: str
    client: Callable[[int], Any] = field(compare=False, repr=False)

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
            known = as_pyarrow_has_it(uri)
            filesystem, path = patiently(lambda: FileSystem.from_uri(known), uri, patience.FIRST_PATIENCE)
            filesystem, bucket = with_patience(filesystem), path.partition("/")[0]
            info = patiently(lambda: filesystem.get_file_info(bucket), uri, patience.FIRST_PATIENCE)
        except (pa.ArrowException, ValueError) as error:
            raise ValueError(
                f"storage must be a URI that pyarrow understands, got {uri!r}: {error}; correct it"
            ) from None
        except RefusedError as refusal:
            raise ValueError(
                f"storage {uri} is refused: {refusal}; check the name of the bucket, and the credentials and rights "
                "of this machine"
            ) from None
        if info.type == FileType.NotFound:
            raise ValueError(f"storage {uri}: there is no bucket {bucket!r}; make it, or correct the URI")
        return cls(uri, filesystem, path.rstrip("/"), Clients(filesystem, bucket))

    def __str__(self) -> str:
        """Return the URI, quoted for a shell."""
        return shlex.quote(self.uri)

    def __truediv__(self, name: str) -> "BucketFolder":
        """Return the folder with this name in the folder."""
        return BucketFolder(below(self.uri, name), self.filesystem, f"{self.path}/{name}", self.client)

    @property
    def full_uri(self) -> str:
        """URI as pyarrow has it, with the options that this machine takes from its environment, but no credentials."""
        options = options_of(self.filesystem)
        added = {name: options[name] for name in ("region", "scheme", "endpoint_override") if options.get(name)}
        parts = urlsplit(as_pyarrow_has_it(self.uri))
        return urlunsplit(parts._replace(query=urlencode(dict(parse_qsl(parts.query)) | added)))

    def read(self, name: str) -> bytes | None:
        """Return the content of an object; None if it doesn't exist. Raises StorageError."""
        stored = self.read_stored(name)
        return None if stored is None else stored.content

    def read_stored(self, name: str) -> Stored | None:
        """Return an object with its version; None if it doesn't exist. Raises StorageError."""
        import obstore

        def read() -> Stored:
            answer = obstore.get(self.client(0), self._key(name))
            return Stored(bytes(answer.bytes()), _version(answer.meta))

        try:
            return self._patiently(read)
        except FileNotFoundError:
            return None

    def write(self, name: str, content: bytes) -> None:
        """Create or replace an object. Raises StorageError; the old object is then unchanged."""
        self._put(name, content, "overwrite")

    def create(self, name: str, content: bytes) -> Version:
        """Create an object and return its version. Raises ConditionError if there is one, StorageError."""
        return self._put(name, content, "create")

    def replace(self, name: str, content: bytes, version: Version) -> Version:
        """Replace this version of an object. Raises ConditionError if there is another or none, StorageError."""
        return self._put(name, content, version)

    def _put(self, name: str, content: bytes, condition: Any) -> Version:
        import obstore
        from obstore.exceptions import AlreadyExistsError, BaseError, PreconditionError

        unsure = False  # whether an earlier attempt may have written the object without our seeing the answer

        def put() -> Version:
            nonlocal unsure
            client = self.client(len(content))
            try:
                return _version(obstore.put(client, self._key(name), content, mode=condition, use_multipart=False))
            except (AlreadyExistsError, PreconditionError):
                stored = self.read_stored(name) if unsure else None
                if stored is not None and stored.content == content:
                    return stored.version
                raise ConditionError(name) from None
            except FileNotFoundError as error:
                raise RefusedError(f"NoSuchBucket, {str(error).partition(': ')[0]}") from None
            except BaseError:
                unsure = True
                raise

        return self._patiently(put)

    def check_conditions(self, name: str, version: Version) -> None:
        """Check, by an object that exists and nobody else writes, that the store minds the conditions of writes.

        Raises:
            ValueError: it replaces the object though it must not.
            StorageError: the store can't be reached.
        """
        stored = self.read_stored(name)
        content = b"\n" if stored is None else stored.content + b"\n"  # unlike what is there, and read the same
        outdated = {part: f'"{"0" * 32}"' if part == "e_tag" else "1" for part in version}
        for condition, header in (("create", "If-None-Match"), (outdated, "If-Match")):
            try:
                self._put(name, content, condition)
            except ConditionError:
                continue
            raise ValueError(
                f"storage {self.uri} must write under conditions ({header}), got one that disregards them, so that "
                "two drivers can't be kept apart; update the store, or keep the study in a folder that all nodes share"
            )

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

    def remove(self, *names: str) -> None:
        """Remove those of these objects that exist. Raises StorageError."""
        import obstore

        with suppress(FileNotFoundError):
            self._patiently(lambda: obstore.delete(self.client(0), [self._key(name) for name in names]))

    def remove_folder(self, name: str) -> None:
        """Remove all objects in a folder below this one. Raises StorageError."""
        with suppress(FileNotFoundError):
            self._patiently(lambda: self.filesystem.delete_dir(f"{self.path}/{name}"))

    def _key(self, name: str) -> str:
        return f"{self.path}/{name}".partition("/")[2]

    def _patiently(self, operation: Callable[[], _Answer]) -> _Answer:
        try:
            return patiently(operation, self.uri, patience.PATIENCE)
        except RefusedError as refusal:
            raise StorageError(
                f"storage {self.uri} is refused: {refusal}; check the credentials and rights of this machine, then go "
                f"on with: qar resume {self}"
            ) from None


def _version(answer: Any) -> Version:
    return {part: answer[part] for part in ("e_tag", "version") if answer[part]}


def _check(uri: str) -> None:
    parts = urlsplit(uri)
    if parts.scheme not in SCHEMES or not parts.netloc:
        raise ValueError(
            "storage must be a folder, or one of a bucket as s3://BUCKET/FOLDER, gs://BUCKET/FOLDER or "
            f"az://CONTAINER/FOLDER, got {redacted(uri)!r}; correct it"
        )
    refuse_credentials("storage", uri, "put them where the store's own tools look for them, as into ~/.aws/credentials")
