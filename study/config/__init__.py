"""Configuration of a study: the schema of study.yaml, its checks, and loading."""

from study.config.loading import changed_by, changes_by, load_study, named_studies, parse_study, parse_written_study
from study.config.rules.constraints import Constraint
from study.config.rules.credentials import redacted, refuse_credentials
from study.config.schema import SEARCHED, StudyConfig
from study.config.sections import GPU_PARTS, Anchors, EarlyStopping, PlannedTrial, Resources, Space

__all__ = [
    "GPU_PARTS",
    "SEARCHED",
    "Anchors",
    "Constraint",
    "EarlyStopping",
    "PlannedTrial",
    "Resources",
    "Space",
    "StudyConfig",
    "changed_by",
    "changes_by",
    "load_study",
    "named_studies",
    "parse_study",
    "parse_written_study",
    "redacted",
    "refuse_credentials",
]
