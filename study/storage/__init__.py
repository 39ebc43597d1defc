"""The places where a study is kept: a local folder, or a bucket of an object store.

Importing this package imports none of its modules: each public name imports its module when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from study.storage.bucket import BucketStorage
    from study.storage.folder import StudyFolder
    from study.storage.lease import Lease
    from study.storage.local import LocalStorage
    from study.storage.object_store import BucketFolder, is_uri
    from study.storage.study_storage import StudyStorage
else:
    _MODULES = {
        "BucketFolder": "object_store",
        "BucketStorage": "bucket",
        "Lease": "lease",
        "LocalStorage": "local",
        "StudyFolder": "folder",
        "StudyStorage": "study_storage",
        "is_uri": "object_store",
    }

    def __getattr__(name):
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)


__all__ = [
    "BucketFolder",
    "BucketStorage",
    "Lease",
    "LocalStorage",
    "StudyFolder",
    "StudyStorage",
    "is_uri",
]
