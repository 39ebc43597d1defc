"""Studies from Python: the functions of the command line as calls, with DataFrames and networks as results.

A study that trains with Ray has a driver in a process of its own, which runs the command line. So a notebook never
imports Ray, an interrupted cell interrupts no study, and a study outlives the kernel.
"""

from study.notebook.asked_trial import AskedTrial
from study.notebook.launching import create, launch
from study.notebook.study import Study

__all__ = ["AskedTrial", "Study", "create", "launch"]
