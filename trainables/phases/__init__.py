"""The two phases of a trial, and what each trains.

`trainables.training` and `trainables.packed.training` run the epochs of a phase and call its `step` after each backward
pass.
"""

from trainables.phases.finetune import FinetunePhase
from trainables.phases.protocol import Phase
from trainables.phases.regularize import RegularizePhase

__all__ = ["FinetunePhase", "Phase", "RegularizePhase"]
