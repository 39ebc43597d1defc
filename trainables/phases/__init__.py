"""The two phases of a trial, and what each trains.

`trainables.run` goes through the phases and calls `step` after each backward pass.
"""

from trainables.phases.finetune import FinetunePhase
from trainables.phases.protocol import Phase
from trainables.phases.regularize import RegularizePhase

__all__ = ["FinetunePhase", "Phase", "RegularizePhase"]
