"""Errors that several modules raise, and that callers show to users as one line."""


class DamagedFileError(Exception):
    """A file of a study cannot be read; the message is one line and names the file."""


class NonFiniteLossError(Exception):
    """Training diverged: a batch's cross-entropy, a weight or the penalty is not finite."""


class IrregularFileError(ValueError):
    """A path is not a regular file, or the file is too large to read; the message is one line."""


def message_of(error: BaseException) -> str:
    """Return the message of an error in one line, or the name of its type if it has none."""
    return " ".join(str(error).split()) or type(error).__name__
