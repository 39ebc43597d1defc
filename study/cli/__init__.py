"""`qar`: the command. Exit status 0 when done, 1 when the work failed, 2 when the request was wrong."""

from study.cli.app import app, main
from study.cli.errors import os_error_line

__all__ = ["app", "main", "os_error_line"]
