"""The handwritten digits that come with scikit-learn, read without importing it."""

import gzip
from importlib.util import find_spec
from pathlib import Path

import numpy as np

FILE = Path("datasets", "data", "digits.csv.gz")
"""Place of the data in scikit-learn's package: a line of 64 pixels from 0 to 16 and the label for each image."""


def read_digits() -> tuple[np.ndarray, np.ndarray]:
    """Return the images, float64 of shape 1797×8×8 from 0 to 16, and their labels.

    The import of scikit-learn loads SciPy's statistics. It would take every worker of a study a second at its start, so
    it is done only where the file is not in its place.

    Raises:
        ModuleNotFoundError: scikit-learn is not installed.
    """
    package = find_spec("sklearn")
    for folder in (package and package.submodule_search_locations) or ():
        if (file := Path(folder) / FILE).exists():
            with gzip.open(file, "rt", encoding="ascii") as lines:
                table = np.loadtxt(lines, delimiter=",")
            return table[:, :-1].reshape(-1, 8, 8), table[:, -1].astype(np.int64)
    from sklearn.datasets import load_digits

    bunch = load_digits()
    return bunch.images, bunch.target.astype(np.int64)
