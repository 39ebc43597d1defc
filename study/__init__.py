"""The search: propose configurations, run them on Ray, stop the hopeless ones, and record what happened.

`launch`, `create` and `Study` are the interface for notebooks and scripts. Importing this package imports nothing
heavy, so that `qar --help` answers at once: each public name imports its module when it is first used.
"""

from typing import TYPE_CHECKING

from trainables.lazy import lazy_names

if TYPE_CHECKING:
    from study.notebook import AskedTrial, Study, create, launch
else:
    __getattr__ = lazy_names(__name__, dict.fromkeys(("AskedTrial", "Study", "create", "launch"), "notebook"))

__all__ = ["AskedTrial", "Study", "create", "launch"]
