"""Names, types, meaning and rules of every metric, and the schema of a study's two tables. Standard library only.

`study.records.recorder` writes the tables; `trainables.files.tables` reads and checks them for `analysis` and `study`.
"""

import math
from dataclasses import dataclass
from enum import StrEnum

SCHEMA_VERSION = 6
"""Version of the tables' schema, stored in their Parquet metadata.

It increases with every column that is added; columns are never removed.
"""

SCHEMA_VERSION_KEY = "qar_schema_version"

SEARCHED_KEY = "qar_searched"
"""Key of the types of further searched fields in the metadata of the table of trials, by dotted name, as JSON.

Each has a column of that name: `recipe.learning_rate`.
"""


ALLOCATED = "auto_"
"""Beginning of the names of groups of layers whose K was chosen from measured costs."""

MIXED = "mixed"
"""Text in place of K where each layer has its own, chosen from measured costs."""


class TrialState(StrEnum):
    """State of a trial, in the ledger, in the tables and on the screen.

    Attributes:
        COMPLETE: trained for the full budget; only such trials can be on a front.
        PRUNED: stopped early by the scheduler.
        FAIL: ended by an error or by a loss that is not finite; the column `failure` holds the reason.
        RUNNING: created and not ended yet; absent from the tables of a finished study.
    """

    COMPLETE = "COMPLETE"
    PRUNED = "PRUNED"
    FAIL = "FAIL"
    RUNNING = "RUNNING"


END_STATES = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)
"""States of a trial that has ended."""

REGULARIZE = "regularize"
FINETUNE = "finetune"

STATISTICS = {
    "_kept": "with the statistics of batch normalization as training left them",
    "_recalibrated": "with re-estimated statistics of batch normalization; null where there is nothing to re-estimate",
}
"""Suffixes of an accuracy that tell its statistics of batch normalization; without one it is a study's objective."""
VALIDATION_ACCURACIES = tuple(f"val_accuracy{suffix}" for suffix in ("", *STATISTICS))
TEST_ACCURACIES = tuple(f"test_accuracy{suffix}" for suffix in ("", *STATISTICS))


def pre_tuning_name(name: str) -> str:
    """Return the column of an accuracy before tuning: `val_accuracy_kept` → `val_accuracy_pre_tuning_kept`."""
    return name.replace("_accuracy", "_accuracy_pre_tuning")


PRE_TUNING = tuple(pre_tuning_name(name) for name in VALIDATION_ACCURACIES + TEST_ACCURACIES)


@dataclass(frozen=True)
class Range:
    """Finite numbers from `low` to `high`; `low` itself is excluded if `above` is true."""

    low: float
    high: float = math.inf
    above: bool = False

    def __str__(self) -> str:
        if self.high < math.inf:
            return f"between {self.low:g} and {self.high:g}"
        return f"above {self.low:g}" if self.above else f"of at least {self.low:g}"


@dataclass(frozen=True)
class Column:
    """One column of a table, and the rules for its values.

    Attributes:
        name: name of the column in the Parquet file.
        type: `int`, `float`, `bool` or `str`.
        meaning: one line for readers of the file's metadata.
        since: schema version that added the column; in older tables it is read as nulls.
        range: allowed numbers; None for any, including infinite ones.
        choices: allowed texts; empty for any.
        required: whether nulls are refused.
    """

    name: str
    type: str
    meaning: str
    since: int = 1
    range: Range | None = None
    choices: tuple[str, ...] = ()
    required: bool = False


ACCURACY = Range(0.0, 1.0)
NOT_NEGATIVE = Range(0.0)

BITS_COLUMNS = (
    Column(
        "bits_per_weight",
        "float",
        "bits of the compressed network over its number of parameters",
        range=Range(0.0, above=True),
    ),
    Column(
        "index_bits_per_weight",
        "float",
        "mean of ⌈log2 K⌉ over the layers; 32 where they are float",
        range=NOT_NEGATIVE,
    ),
    Column(
        "entropy_bits_per_weight",
        "float",
        "entropy of the levels of a quantized weight: a lower bound",
        range=NOT_NEGATIVE,
    ),
    Column(
        "conv_bits_per_weight",
        "float",
        "codebooks, code tables and levels of convolutions, over their weights",
        range=NOT_NEGATIVE,
    ),
    Column(
        "linear_bits_per_weight",
        "float",
        "the same of fully connected layers; null where there are none",
        range=NOT_NEGATIVE,
    ),
)


def _by_statistics(name: str) -> tuple[Column, ...]:
    """The columns of an accuracy by its statistics of batch normalization."""
    return tuple(
        Column(name + suffix, "float", meaning, since=4, range=ACCURACY) for suffix, meaning in STATISTICS.items()
    )


EPOCH_COLUMNS = (
    Column("trial_id", "str", "the trial's name, unique over studies", required=True),
    Column("number", "int", "the trial's place in its study, from 0", range=NOT_NEGATIVE, required=True),
    Column("epoch", "int", "counted across both phases, from 1", range=Range(1), required=True),
    Column("phase", "str", "regularize or finetune", choices=(REGULARIZE, FINETUNE), required=True),
    Column("train_loss", "float", "mean cross-entropy over the epoch's batches, nats"),
    Column("penalty", "float", "sum of the layers' penalties after the epoch, before λ; null in finetune"),
    Column(
        "quantization_error",
        "float",
        "‖w − Q(w)‖² / ‖w‖² of the float weights after the epoch; null in finetune",
        since=4,
        range=NOT_NEGATIVE,
    ),
    Column("val_accuracy", "float", "of the hard-quantized network on the validation split, in [0, 1]", range=ACCURACY),
    *_by_statistics("val_accuracy"),
    Column(
        "float_val_accuracy", "float", "of the network before quantization; the last one in finetune", range=ACCURACY
    ),
    *BITS_COLUMNS,
    Column("train_seconds", "float", "seconds of this epoch, evaluation included"),
    Column(
        "session",
        "int",
        "number, from 1, of the driver's session that trained the epoch; study.json describes each session",
        since=3,
        range=NOT_NEGATIVE,
    ),
)

TRIAL_COLUMNS = (
    Column("trial_id", "str", "the trial's name, unique over studies", required=True),
    Column("number", "int", "the trial's place in its study, from 0", range=NOT_NEGATIVE, required=True),
    Column(
        "state",
        "str",
        "COMPLETE, PRUNED or FAIL (RUNNING while a study runs)",
        choices=tuple(state.value for state in TrialState),
        required=True,
    ),
    Column("anchor", "bool", "enqueued first and never stopped early"),
    Column(
        "space_version",
        "int",
        "version of the study's space and early stopping that proposed it, from 1",
        since=6,
        range=Range(1),
    ),
    Column("enqueued", "bool", "asked for by a user, with qar enqueue", since=6),
    Column("stopped_by", "str", "user who ended the trial, with qar stop; null otherwise", since=6),
    Column("family", "str", "regularizer family", required=True),
    Column("num_levels", "int", "K; null for the float baseline", range=Range(2)),
    Column("lam", "float", "λ; null where the family has none", range=NOT_NEGATIVE),
    Column("placement", "str", "of the final representatives; null for the float baseline"),
    Column("seed", "int", "of split, weights and order", range=NOT_NEGATIVE),
    Column("model", "str", "network"),
    Column("dataset", "str", "data set"),
    Column("epochs", "int", "epochs trained", range=NOT_NEGATIVE),
    Column(
        "val_accuracy_pre_tuning",
        "float",
        "val_accuracy of the hard-quantized network after the last regularize epoch (quantize-first: already tuned for "
        "as many epochs); null if not reached",
        range=ACCURACY,
    ),
    *_by_statistics("val_accuracy_pre_tuning"),
    Column(
        "val_accuracy",
        "float",
        "of the hard-quantized network on the validation split, after the last epoch",
        range=ACCURACY,
    ),
    *_by_statistics("val_accuracy"),
    Column(
        "float_val_accuracy", "float", "of the network before quantization, on the validation split", range=ACCURACY
    ),
    Column(
        "test_accuracy_pre_tuning",
        "float",
        "as val_accuracy_pre_tuning, on the test split; null except for confirmed trials",
        since=2,
        range=ACCURACY,
    ),
    *_by_statistics("test_accuracy_pre_tuning"),
    Column("test_accuracy", "float", "null except for confirmed trials", range=ACCURACY),
    *_by_statistics("test_accuracy"),
    *BITS_COLUMNS,
    Column("artifact_bytes", "int", "payload of the compressed file, bytes", range=NOT_NEGATIVE),
    Column(
        "weight_bops",
        "int",
        "weight-only bit operations for one image: Σ MACs · ⌈log2 K⌉ · 32; layers left float count with 32 bits",
        since=5,
        range=NOT_NEGATIVE,
    ),
    Column("train_seconds", "float", "seconds of all epochs, evaluation included"),
    Column("device", "str", "name of the training device"),
    Column("hostname", "str", "host that trained the last epoch"),
    Column("config_hash", "str", "hash of the configuration without its seed"),
    Column("failure", "str", "why the trial failed; null otherwise"),
    Column(
        "groups",
        "str",
        "K of each group of layers, with the patterns that name these; null without groups",
        since=6,
    ),
    Column("checkpoint", "str", "the newest, relative to the study's folder; null without one", since=3),
)


def searched_column(name: str, kind: str) -> Column:
    """Return the column of a further searched field of a trial.

    Args:
        name: dotted name of the field.
        kind: type of its values, as in `Column`.
    """
    return Column(name, kind, "searched field of the trial's configuration")


TRIAL_KEYS = (("trial_id",), ("number",))
"""Columns of the table of trials that name a row, each by itself."""

EPOCH_KEYS = (("number", "epoch"),)
"""Columns of the table of epochs that name a row together."""
