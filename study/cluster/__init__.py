"""The Ray cluster: connecting, watching the connection, and counting what fits.

Each public name imports its module when it is first used.
"""

from typing import TYPE_CHECKING

from trainables.lazy import lazy_names

if TYPE_CHECKING:
    from study.cluster.connect import quiet_libraries, start_ray
    from study.cluster.cores import available_cores
else:
    __getattr__ = lazy_names(
        __name__,
        {
            "available_cores": "cores",
            "quiet_libraries": "connect",
            "start_ray": "connect",
        },
    )


__all__ = [
    "available_cores",
    "quiet_libraries",
    "start_ray",
]
