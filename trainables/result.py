"""Names, types and meaning of every metric, and the schema of a study's two tables. Standard library only.

`study.records.recorder` writes the tables and `analysis.load` reads them; this module is all that the two share.
"""

from dataclasses import dataclass

SCHEMA_VERSION = 3
"""Of the tables, in their Parquet metadata. It grows with every column that is added; none is ever taken away."""

SCHEMA_VERSION_KEY = "qar_schema_version"

RUNNING = "RUNNING"
"""Not in the tables of a finished study: asked for, and neither finished nor given up."""
COMPLETE = "COMPLETE"
"""Trained for the full budget. Only these reach a front."""
PRUNED = "PRUNED"
"""Stopped early by the scheduler."""
FAIL = "FAIL"
"""Ended by an error or a loss that is not finite; `failure` says which."""

STATES = (COMPLETE, PRUNED, FAIL, RUNNING)

REGULARIZE = "regularize"
FINETUNE = "finetune"


@dataclass(frozen=True)
class Column:
    """One column: `type` is `int`, `float`, `bool` or `str`; every column may hold nulls.

    `since` is the schema version that added it; tables of older ones are read as if it held nulls.
    """

    name: str
    type: str
    meaning: str
    since: int = 1


BITS_COLUMNS = (
    Column("bits_per_weight", "float", "bits of the compressed network over its number of parameters"),
    Column("index_bits_per_weight", "float", "⌈log2 K⌉; 32 for the float baseline"),
    Column("entropy_bits_per_weight", "float", "entropy of the levels of a quantized weight: a lower bound"),
    Column("conv_bits_per_weight", "float", "codebooks, code tables and levels of convolutions, over their weights"),
    Column("linear_bits_per_weight", "float", "the same of fully connected layers; null where there are none"),
)

EPOCH_COLUMNS = (
    Column("trial_id", "str", "the trial's name, unique over studies"),
    Column("number", "int", "the trial's place in its study, from 0"),
    Column("epoch", "int", "counted across both phases, from 1"),
    Column("phase", "str", "regularize or finetune"),
    Column("train_loss", "float", "mean cross-entropy over the epoch's batches, nats"),
    Column("penalty", "float", "sum of the layers' penalties after the epoch, before λ; null in finetune"),
    Column("val_accuracy", "float", "of the hard-quantized network on the validation split, in [0, 1]"),
    Column("float_val_accuracy", "float", "of the network before quantization; the last one in finetune"),
    *BITS_COLUMNS,
    Column("train_seconds", "float", "seconds of this epoch, evaluation included"),
    Column("session", "int", "the driver's session that trained it; study.json tells of each, from 1", since=3),
)

TRIAL_COLUMNS = (
    Column("trial_id", "str", "the trial's name, unique over studies"),
    Column("number", "int", "the trial's place in its study, from 0"),
    Column("state", "str", "COMPLETE, PRUNED or FAIL (RUNNING while a study runs)"),
    Column("anchor", "bool", "enqueued first and never stopped early"),
    Column("family", "str", "regularizer family"),
    Column("num_levels", "int", "K; null for the float baseline"),
    Column("lam", "float", "λ; null where the family has none"),
    Column("placement", "str", "of the final representatives; null for the float baseline"),
    Column("seed", "int", "of split, weights and order"),
    Column("model", "str", "network"),
    Column("dataset", "str", "data set"),
    Column("epochs", "int", "epochs trained"),
    Column("val_accuracy_pre_tuning", "float", "val_accuracy right after quantization; null if not reached"),
    Column("val_accuracy", "float", "of the hard-quantized network on the validation split, after the last epoch"),
    Column("float_val_accuracy", "float", "of the network before quantization, on the validation split"),
    Column("test_accuracy_pre_tuning", "float", "val_accuracy_pre_tuning's, on the test split; as below", since=2),
    Column("test_accuracy", "float", "null but for confirmed trials"),
    *BITS_COLUMNS,
    Column("artifact_bytes", "int", "payload of the compressed file, bytes"),
    Column("train_seconds", "float", "seconds of all epochs, evaluation included"),
    Column("device", "str", "what it was trained on"),
    Column("hostname", "str", "where it was trained last"),
    Column("config_hash", "str", "names the configuration without its seed"),
    Column("failure", "str", "why the trial failed; null otherwise"),
    Column("checkpoint", "str", "the newest, relative to the study's folder; null without one", since=3),
)


class DamagedFileError(Exception):
    """A file of a study can't be read; the message names it in one line."""
