"""Damaged files: no traceback, no hang, no changed result. A new kind of file is a `Target` in `TARGETS`."""

import random
from pathlib import Path

import pytest

from tests.fuzz.binary_targets import (
    ArtifactTarget,
    CheckpointTarget,
    CompactArtifactTarget,
    EntropyCodedArtifactTarget,
    PreparedTarget,
    SealedArtifactTarget,
    SealedBaselineTarget,
    SealedCheckpointTarget,
    SealedCompactArtifactTarget,
    SealedEntropyCodedArtifactTarget,
    StreamTarget,
    UnrecordedCheckpointTarget,
)
from tests.fuzz.table_targets import DerivedTarget, EpochsTarget, TrialsTarget
from tests.fuzz.target import Target
from tests.fuzz.text_targets import (
    EarlierLedgerTarget,
    LedgerTarget,
    SealedSnapshotTarget,
    SnapshotTarget,
    StudyYamlTarget,
)

TARGETS: dict[str, Target] = {
    "ledger": LedgerTarget(),
    "ledger of an earlier version": EarlierLedgerTarget(),
    "snapshot": SnapshotTarget(),
    "sealed snapshot": SealedSnapshotTarget(),
    "study.yaml": StudyYamlTarget(),
    "trials.parquet": TrialsTarget(),
    "epochs.parquet": EpochsTarget(),
    "derived.json": DerivedTarget(),
    "checkpoint": CheckpointTarget(),
    "sealed checkpoint": SealedCheckpointTarget(),
    "sealed float network": SealedBaselineTarget(),
    "unrecorded checkpoint": UnrecordedCheckpointTarget(),
    "artifact": ArtifactTarget(),
    "sealed artifact": SealedArtifactTarget(),
    "entropy-coded artifact": EntropyCodedArtifactTarget(),
    "sealed entropy-coded artifact": SealedEntropyCodedArtifactTarget(),
    "compact artifact": CompactArtifactTarget(),
    "sealed compact artifact": SealedCompactArtifactTarget(),
    "stream of levels": StreamTarget(),
    "npz": PreparedTarget(),
}


@pytest.mark.fuzz
@pytest.mark.parametrize("name", TARGETS)
def test_damaged_file_is_refused_in_one_line_or_read_unchanged(
    name: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    target = TARGETS[name]
    path = target.write(tmp_path / "study")
    content, sound = path.read_bytes(), target.read(path)
    defects = []
    for case in range(-(-request.config.getoption("--fuzz-cases") // len(TARGETS))):
        rng = random.Random(f"{request.config.getoption('--fuzz-seed')} {name} {case}")
        damage = rng.choice(sorted(target.damages))
        path.write_bytes(target.damages[damage](content, rng))
        try:
            accepted = target.accepts(damage, sound, target.read(path))
        except target.errors as error:
            if "\n" in str(error) or not str(error):
                defects.append(f"case {case}, {damage}: not one line: {error!r}")
        except Exception as error:
            defects.append(f"case {case}, {damage}: {error!r}")
        else:
            if not accepted:
                defects.append(f"case {case}, {damage}: the result has changed")
    assert not defects, f"{len(defects)} defects, at first:\n" + "\n".join(defects[:20])
