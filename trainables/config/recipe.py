"""The recipe: how a network is trained, whatever the family."""

import math
from dataclasses import dataclass

from trainables.choices import choose
from trainables.config.rules import require, require_positive


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Settings of training that do not depend on the family.

    Attributes:
        batch_size: images in a batch, at least 2: batch normalization can't train on a single image.
        penalty_application: how the penalty moves the weights. `decoupled`: after the optimizer's step, each weight is
            drawn along the penalty's slope, never past its representative; `proximal`: the same by the penalty's
            proximal step (RM, MSQE, BinReg); `coupled`: the penalty's gradient is added to the loss's and goes through
            the optimizer, where Adam divides it by its second moment, so that one λ means something else in each layer.
        lam_unit: what λ counts. `half_spacings`: how many half-spacings of a layer's representatives a weight at the
            steepest slope is drawn over the whole phase, whatever the learning rate, the number of epochs, K and the
            layer (not with `coupled`); `gradient`: λ multiplies the penalty's gradient.
        optimizer: `adam` (with decoupled weight decay, AdamW) or `sgd` (Nesterov momentum 0.9), for the weights.
        learning_rate: the highest of the regularize phase.
        finetune_learning_rate: the highest of the finetune phase, for biases and normalization; None for that of the
            regularize phase.
        representative_learning_rate: step of Adam on the representatives of a layer, in units of their mean
            spacing when the phase begins, so that one value serves every K and every layer.
        schedule: how learning rates fall over a phase: along a `cosine` to 0, or in a `step` to a tenth at half and
            to a hundredth at three quarters.
        warmup_epochs: over which the learning rates of the regularize phase rise from 0, linearly.
        lam_warmup_epochs: over which λ rises from 0, linearly.
        weight_decay: of the regularize phase, on the weights of convolutions, linear layers and attention. Biases,
            normalization, embeddings, position tables, class tokens and layer scales are never decayed.
        decay_quantized: whether weights that are to be quantized are decayed too. On, one rule holds for every family
            and for the float network, so that `none` is quantized from a network trained exactly like the float one,
            and a family differs from it by its penalty alone. Off is the rule of earlier versions, in which the float
            network was decayed and a network to be quantized was not.
        augmentation: `none`, or `crop_flip`: random crops of images padded by 4 pixels, and horizontal flips.
        recalibration_batches: batches of training images from which the statistics of batch normalization are
            re-estimated for each evaluation of the quantized network; 0 leaves that out.
        statistics: which accuracy of the quantized network is `val_accuracy`, the objective: that with `recalibrated`
            statistics of batch normalization, or that with those `kept` from training. Both are reported.
        coding: how levels are coded in files, and their bits counted: `compact`, each layer in the smallest of words of
            fixed length, Huffman's words and an asymmetric numeral system with a table of a byte a level or a shorter
            one; `entropy`, without the shorter tables; `huffman`, without asymmetric numeral systems.
        compile: run the network through `torch.compile`: faster on GPUs after minutes of compiling.
    """

    batch_size: int = 64
    penalty_application: str = "decoupled"
    lam_unit: str = "half_spacings"
    optimizer: str = "adam"
    learning_rate: float = 3e-3
    finetune_learning_rate: float | None = None
    representative_learning_rate: float = 0.02
    schedule: str = "cosine"
    warmup_epochs: float = 0.0
    lam_warmup_epochs: float = 0.0
    weight_decay: float = 0.0
    decay_quantized: bool = True
    augmentation: str = "none"
    recalibration_batches: int = 20
    statistics: str = "recalibrated"
    coding: str = "compact"
    compile: bool = False

    def __post_init__(self) -> None:
        choose("penalty_application", self.penalty_application, ("decoupled", "coupled", "proximal"))
        choose("lam_unit", self.lam_unit, ("half_spacings", "gradient"))
        choose("statistics", self.statistics, ("recalibrated", "kept"))
        require(
            self.lam_unit == "gradient" or self.penalty_application != "coupled",
            "lam_unit",
            "'gradient' where penalty_application is 'coupled'",
            self.lam_unit,
            "set lam_unit to 'gradient', or penalty_application to 'decoupled'",
        )
        choose("coding", self.coding, ("compact", "entropy", "huffman"))
        choose("optimizer", self.optimizer, ("adam", "sgd"))
        choose("schedule", self.schedule, ("cosine", "step"))
        choose("augmentation", self.augmentation, ("none", "crop_flip"))
        require(self.batch_size >= 2, "batch_size", "at least 2", self.batch_size, "raise it")
        require_positive(self, "learning_rate", "representative_learning_rate")
        if self.finetune_learning_rate is not None:
            require_positive(self, "finetune_learning_rate")
        for name in ("warmup_epochs", "lam_warmup_epochs", "weight_decay", "recalibration_batches"):
            value = getattr(self, name)
            require(math.isfinite(value) and value >= 0, name, "finite and at least 0", value, "use 0 for none")
