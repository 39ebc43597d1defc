"""The regularizer families: names, formulas, and whose each part is.

The source of all of them is Malchiodi, Ferraretto, Frasca, "Quantization-Aware Regularizers for Deep
Neural Networks Compression", arXiv 2602.03614, of which we know the names and the parts marked "paper";
parts marked "ours" are this project's reading of what is left open. The implementations are in
`trainables.regularizers.registry`; this module imports nothing, so that a name can be checked without torch.
"""

from dataclasses import dataclass

PLACEMENTS = ("own", "kmeans", "uniform")

QUANTIZE_FIRST = "quantize-first"


@dataclass(frozen=True, kw_only=True)
class Family:
    """One regularizer family.

    Attributes:
        title: what it is, in a few words.
        penalty: the penalty of one weight w of a layer with interval [a, b] and representatives r.
        representatives: where the representatives lie while the network trains.
        trainable: whether the representatives are trained with the weights.
        paper: what the paper gives.
        ours: what this project decided.
        has_proximal_step: whether the proximal step of the penalty is known in closed form.
    """

    title: str
    penalty: str
    representatives: str
    trainable: bool
    paper: str
    ours: str
    has_proximal_step: bool = False

    @property
    def has_penalty(self) -> bool:
        """Whether λ means anything for this family."""
        return self.penalty != "0"

    @property
    def placements(self) -> tuple[str, ...]:
        """Placements that this family allows: `own` needs representatives during training."""
        return PLACEMENTS if self.has_penalty else ("kmeans", "uniform")


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
    """Returns `name` if it is one of `choices` (any iterable of names); raises ValueError naming them if not."""
    known = sorted(choices)  # type: ignore[call-overload]
    if name not in known:
        raise ValueError(f"unknown {kind} {name!r}; choose from {known}")
    return name
