"""Bridges from a study's ledger to the places where a group already looks: TensorBoard, MLflow, W&B, a web hook.

A bridge reads the ledger in a process of its own, so it can neither slow nor end the study. It first asks a tracker
what that holds already, so that after a crash nothing is sent twice and nothing is left out.
"""

from study.trackers.follow import TrackersBusyError, follow, until_not_driven
from study.trackers.registry import TRACKERS, check_trackers, open_trackers, trackers_root
from study.trackers.tracker import Tracker

__all__ = [
    "TRACKERS",
    "Tracker",
    "TrackersBusyError",
    "check_trackers",
    "follow",
    "open_trackers",
    "trackers_root",
    "until_not_driven",
]
