"""URIs of object stores, as users write them and as pyarrow has them."""

import os
from urllib.parse import parse_qs, urlencode, urlsplit, urlunsplit

SCHEMES = ("s3", "gs", "az")
"""Beginnings of the URIs of buckets: Amazon's or a server that speaks like it, Google's, and Azure's containers."""
ACCOUNT = "AZURE_STORAGE_ACCOUNT_NAME"
"""Environment variable with the storage account of `az://`."""


def as_pyarrow_has_it(uri: str) -> str:
    """Return a URI that `pyarrow.fs.FileSystem.from_uri` understands.

    `az://CONTAINER/PATH?account_name=NAME` becomes `abfs://`, other URIs stay as they are. The account may also be in
    the environment; `endpoint_override` and `scheme` lead to a server of one's own.

    Raises:
        ValueError: the storage account is not given.
    """
    parts = urlsplit(uri)
    if parts.scheme != "az":
        return uri
    options = {name: values[-1] for name, values in parse_qs(parts.query).items()}
    account = options.pop("account_name", None) or os.environ.get(ACCOUNT)
    if not account:
        raise ValueError(f"the storage account must be given as ?account_name=NAME or in {ACCOUNT}, got none")
    scheme, server = options.pop("scheme", "https"), options.pop("endpoint_override", None)
    if server is None:
        place, path = f"{parts.netloc}@{account}.dfs.core.windows.net", parts.path
    else:
        place, path = f"{account}@{server}", f"/{parts.netloc}{parts.path}"
    if scheme == "http":
        options["enable_tls"] = "false"
    return urlunsplit(("abfs", place, path, urlencode(options), ""))
