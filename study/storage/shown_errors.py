"""Errors that name a study as its user does."""

from collections.abc import Iterator
from contextlib import contextmanager

from study.storage.folder import StudyFolder


@contextmanager
def shown_errors(folder: StudyFolder) -> Iterator[None]:
    """Replace the path of a study's working copy by the URI of the study in the text of every error."""
    try:
        yield
    except Exception as error:
        shown = folder.storage.as_shown
        error.args = tuple(shown(part) if isinstance(part, str) else part for part in error.args)
        if isinstance(error, OSError) and isinstance(error.filename, str):
            error.filename = shown(error.filename)
        raise
