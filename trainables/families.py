"""The regularizer families: their names, their formulas, and the origin of each part.

Parts marked "paper" are from Malchiodi, Ferraretto, Frasca, "Quantization-Aware Regularizers for Deep Neural Networks
Compression", arXiv 2602.03614. Parts marked "ours" are this project's choices where the paper leaves something open.
The implementations are in `trainables.regularizers.registry`; this module does not import torch, so that names can be
checked without it.
"""

from dataclasses import dataclass

PLACEMENTS = ("own", "kmeans", "uniform")

QUANTIZE_FIRST = "quantize-first"


@dataclass(frozen=True, kw_only=True)
class Family:
    """One regularizer family.

    Attributes:
        title: short description.
        penalty: formula of the penalty of one weight w, in a layer with interval [a, b] and representatives r.
        forward: formula of the value that the forward pass of the regularize phase uses for a weight w.
        representatives: positions of the representatives during the regularize phase.
        trainable: whether the representatives are trained with the weights.
        paper: parts that are given by the paper.
        ours: parts that this project has chosen.
        has_proximal_step: whether the proximal step of the penalty is known in closed form.
    """

    title: str
    penalty: str
    representatives: str
    trainable: bool
    paper: str
    ours: str
    has_proximal_step: bool = False
    forward: str = "w"

    @property
    def has_penalty(self) -> bool:
        """Whether the family has a penalty, and thus uses λ."""
        return self.penalty != "0"

    @property
    def has_representatives(self) -> bool:
        """Whether the family has representatives in the regularize phase."""
        return self.has_penalty or self.forward != "w"

    @property
    def placements(self) -> tuple[str, ...]:
        """Placements that this family allows; `own` needs representatives during training."""
        return PLACEMENTS if self.has_representatives else ("kmeans", "uniform")

    @property
    def default_placement(self) -> str:
        """Placement of a trial that names none: `own` where the family has representatives, else `kmeans`."""
        return self.placements[0]


FAMILIES = {
    "none": Family(
        title="ordinary training, quantized afterwards",
        penalty="0",
        representatives="none while training; placed afterwards",
        trainable=False,
        paper="the baseline of every comparison",
        ours="nothing",
    ),
    QUANTIZE_FIRST: Family(
        title="quantization at once, then tuning for the epochs of both phases",
        penalty="0",
        representatives="placed before the first epoch; trained from then on",
        trainable=True,
        paper="nothing",
        ours="all: the strongest control, with the same budget as every other family",
    ),
    "RS": Family(
        title="static wells of a sine",
        penalty="|sin(π (K−1)(w−a)/(b−a))|",
        representatives="fixed grid a + j(b−a)/(K−1), j = 0…K−1",
        trainable=False,
        paper="the sine of π (K−1)(w−a)/(b−a), and that there is an interval [a, b]",
        ours="the absolute value (or, by a switch, the square): the raw sine has about K/2 minima, "
        "these have exactly K zeros; [a, b] = mean ± 2.5 standard deviations of the layer when the phase begins "
        "(by a switch its minimum and maximum, or quantiles); outside [a, b] the distance to the nearer end",
    ),
    "RC": Family(
        title="static wells of a cosine",
        penalty="|cos(π K (w−a)/(b−a))|",
        representatives="fixed midpoints a + (2j+1)(b−a)/(2K), j = 0…K−1",
        trainable=False,
        paper="the cosine of π K (w−a)/(b−a), and that there is an interval [a, b]",
        ours="as for RS",
    ),
    "RM": Family(
        title="distance to the nearest trainable representative",
        penalty="min_k |w − r_k|",
        representatives="trainable, one set a layer",
        trainable=True,
        paper="dynamic, with trainable representatives",
        ours="the formula: M read as minimum (the square, by a switch, is the form of MSQE, arXiv 1809.00095)",
        has_proximal_step=True,
    ),
    "RE": Family(
        title="smooth minimum over trainable representatives",
        penalty="−τ log Σ_k exp(−(w − r_k)²/τ)",
        representatives="trainable, one set a layer",
        trainable=True,
        paper="dynamic, with trainable representatives",
        ours="the formula: E read as exponential, tending to the squared distance as τ → 0; τ is tied to the "
        "spacing of the representatives when the phase begins; bounded wells by a switch",
    ),
}


def choose(kind: str, name: str, choices: object) -> str:
    """Return `name` if it is one of the choices.

    Args:
        kind: noun for the error message, such as `dataset`.
        name: the name to check.
        choices: any iterable of names.

    Raises:
        ValueError: `name` is not one of the choices; the message lists them.
    """
    known = sorted(choices)  # type: ignore[call-overload]
    if name not in known:
        raise ValueError(f"unknown {kind} {name!r}; choose from {known}")
    return name
