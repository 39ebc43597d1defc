"""The places where a study is kept: a local folder, or a bucket of an object store.

Importing this package imports none of its modules: each public name imports its module when it is first used.
"""

from typing import TYPE_CHECKING

from trainables.lazy import lazy_names

if TYPE_CHECKING:
    from study.storage.bucket import BucketStorage
    from study.storage.folder import StudyFolder
    from study.storage.lease import Lease
    from study.storage.local import LocalStorage
    from study.storage.object_store import BucketFolder, is_uri
    from study.storage.study_storage import StudyStorage
else:
    __getattr__ = lazy_names(
        __name__,
        {
            "BucketFolder": "object_store",
            "BucketStorage": "bucket",
            "Lease": "lease",
            "LocalStorage": "local",
            "StudyFolder": "folder",
            "StudyStorage": "study_storage",
            "is_uri": "object_store",
        },
    )


__all__ = [
    "BucketFolder",
    "BucketStorage",
    "Lease",
    "LocalStorage",
    "StudyFolder",
    "StudyStorage",
    "is_uri",
]
