"""`qar`, but the driver kills itself at the N-th time that it does something to a file.

python tests/dying_driver.py OPERATION N COMMAND…
"""

import os
import shutil
import signal
import sys
from collections.abc import Callable
from typing import Any

from study.cli import main
from study.ledger import ledger

OPERATIONS = ("torn line", "before fsync", "after fsync", "before replace", "after replace", "during removal")


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def install(operation: str, number: int) -> None:
    """Arranges for the death of this process."""
    left = number

    def is_time() -> bool:
        nonlocal left
        left -= 1
        return left == 0

    def dying(function: Callable[..., Any], moment: str) -> Callable[..., Any]:
        def replacement(*arguments: Any, **options: Any) -> Any:
            time_to_die = is_time()
            if time_to_die and moment == "before":
                die()
            result = function(*arguments, **options)
            if time_to_die:
                die()
            return result

        return replacement

    if operation == "torn line":
        append = ledger.Ledger._append

        def torn(self: ledger.Ledger, line: bytes) -> None:
            if is_time():
                append(self, line[: len(line) // 2])
                die()
            append(self, line)

        ledger.Ledger._append = torn  # type: ignore[method-assign]
        return
    moment, _, name = operation.partition(" ")
    match name:
        case "fsync":
            os.fsync = dying(os.fsync, moment)
        case "replace":
            os.replace = dying(os.replace, moment)
        case "removal":
            shutil.rmtree = dying(shutil.rmtree, "after")  # type: ignore[assignment]


if __name__ == "__main__":
    operation, number, *command = sys.argv[1:]
    install(operation, int(number))
    sys.argv = ["qar", *command]
    main()
