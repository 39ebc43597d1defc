"""Check that a study's ledger is the one, or an earlier part of the one, that its tables come from."""

from typing import TYPE_CHECKING

from study.ledger.completeness import TableWitness
from study.storage.study_storage import BASELINE, OPTUNA_DB, RAY, RESULTS
from trainables.errors import DamagedFileError, IrregularFileError
from trainables.files.regular import open_regular

if TYPE_CHECKING:
    from study.storage.folder import StudyFolder


def check_ledger(folder: "StudyFolder") -> None:
    """Check the ledger of a study.

    Raises:
        DamagedFileError: it is missing though the study has run, or lacks trials that the tables have.
    """
    witness = TableWitness(folder.trials)  # first: a driver may run
    try:
        with open_regular(folder.ledger) as ledger:
            if not ledger.readline().endswith(b"\n"):
                _refuse_missing_ledger(folder)
            elif contradiction := witness.contradiction(ledger):
                raise DamagedFileError(
                    f"{folder.ledger} {contradiction} {folder.trials.name} was made: its end is lost, or it is an "
                    f"older copy; restore it, or keep what is there with: qar repair {folder}"
                )
    except FileNotFoundError:
        _refuse_missing_ledger(folder)
    except OSError:
        return  # opening the ledger will raise the error
    except IrregularFileError as error:
        raise DamagedFileError(str(error)) from None


def _refuse_missing_ledger(folder: "StudyFolder") -> None:
    present = folder.storage.names()
    left = [name for name in (*RESULTS, OPTUNA_DB, RAY, BASELINE) if name in present]
    if left:
        raise DamagedFileError(
            f"{folder.ledger} must hold what the study has done, but is missing or holds no whole line, "
            f"though {', '.join(left)} are there; restore it from a copy, or launch anew under another --name"
        )
