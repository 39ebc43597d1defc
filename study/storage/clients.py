"""obstore's client of a bucket, for the store that a file system of pyarrow leads to.

The two libraries share the work. pyarrow knows the user's URIs and the folders that Ray writes, with objects of no size
that stand for them, which obstore can't remove. obstore writes under conditions, and reads and writes in one request.
"""

import os
from datetime import timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any

REQUEST_SECONDS, CONNECT_SECONDS = 30.0, 10.0
"""Seconds without an answer after which a client cancels a request or a connection."""
LONGEST_REQUEST = timedelta(minutes=10)
"""Time after which a request is cancelled even if its answer still arrives."""
SLOWEST = 500_000
"""Bytes a second that a connection must carry: a large object is given more time to be sent."""

Options = dict[str, Any]


def options_of(filesystem: Any) -> Options:
    """Return the options of a file system of pyarrow, which it shows only to be pickled."""
    _, (options,) = filesystem.__reduce__()
    return dict(options)


def with_patience(filesystem: Any) -> Any:
    """Return the file system with our timeouts and with credentials of the environment, which a URI can't set."""
    rebuild, (options,) = filesystem.__reduce__()
    match filesystem.type_name:
        case "gcs":
            return rebuild(options | {"retry_time_limit": timedelta(seconds=REQUEST_SECONDS)})
        case "abfs":
            return rebuild(options | {"account_key": os.environ.get("AZURE_STORAGE_ACCOUNT_KEY", "")})
    return rebuild(
        options
        | {"request_timeout": REQUEST_SECONDS, "connect_timeout": CONNECT_SECONDS}
        | {"allow_delayed_open": True, "check_directory_existence_before_creation": True}
    )


class Clients:
    """Clients of one bucket."""

    def __init__(self, filesystem: Any, bucket: str) -> None:
        """Take a file system of pyarrow and the name of a bucket there."""
        self._filesystem = filesystem
        self._bucket = bucket
        self._made = lru_cache(self._make)

    def __call__(self, size: int = 0) -> Any:
        """Return a client that sends objects of up to `size` bytes.

        Raises:
            ValueError: this machine has no credentials for the store.
        """
        return self._made(REQUEST_SECONDS * (1 + int(size / SLOWEST / REQUEST_SECONDS)))

    def _make(self, seconds: float) -> Any:
        from obstore.store import AzureStore, GCSStore, S3Store

        options = options_of(self._filesystem)
        client: Any = {
            "connect_timeout": timedelta(seconds=CONNECT_SECONDS),
            "read_timeout": timedelta(seconds=seconds),
            "timeout": max(LONGEST_REQUEST, timedelta(seconds=seconds)),
        }
        make: Any
        config: Any
        match self._filesystem.type_name:
            case "gcs":
                make, config = GCSStore, _google(options)
            case "abfs":
                make, config = AzureStore, _azure(options)
            case _:
                make, config = S3Store, _amazon(options)
                if options["tls_ca_file_path"]:
                    client["root_certificate"] = Path(options["tls_ca_file_path"]).read_bytes()
        client["allow_http"] = any(str(value).startswith("http://") for value in config.values())
        finds = {"credential_provider": _amazon_credentials()} if make is S3Store and not options["anonymous"] else {}
        # Its own retries leave out lists that are cut off, and writes under a condition whose answer is lost, so all
        # repetition is ours.
        return make(self._bucket, config=config, client_options=client, retry_config={"max_retries": 0}, **finds)


def _amazon(options: Options) -> Options:
    config = {"region": options["region"], "virtual_hosted_style_request": options["force_virtual_addressing"]}
    if options["endpoint_override"]:
        config["endpoint"] = _address(options["scheme"], options["endpoint_override"])
    return config | {"skip_signature": options["anonymous"]}


def _amazon_credentials() -> Any:
    """Return what finds credentials where Amazon's tools look: environment, files, profiles, role of the machine."""
    from obstore.auth.boto3 import Boto3CredentialProvider

    return Boto3CredentialProvider()


def _google(options: Options) -> Options:
    config = {"skip_signature": options["anonymous"]}
    if options["endpoint_override"]:
        config["base_url"] = _address(options["scheme"], options["endpoint_override"])
    return config


def _azure(options: Options) -> Options:
    account, authority = options["account_name"], options["blob_storage_authority"]
    # Of a server of one's own, the account is the first folder.
    place = f"{account}{authority}" if authority.startswith(".") else f"{authority}/{account}"
    return {"account_name": account, "endpoint": _address(options["blob_storage_scheme"], place)}


def _address(scheme: str, place: str) -> str:
    return place if "://" in place else f"{scheme}://{place}"
