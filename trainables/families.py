"""The regularizer families: their names, their formulas, and the origin of each part.

A family is the paper's, a control, a sibling (a published method of the same kind, for comparison), or ours. Parts
marked "given" are from its source. Parts marked "ours" are this project's choices where the source leaves something
open, or where all families have to be alike.
The implementations are in `trainables.regularizers.registry`; this module does not import torch, so that names can be
checked without it.
"""

from dataclasses import dataclass
from typing import Literal

from trainables.choices import choose
from trainables.import_path import IMPORT_PATH_FORM, is_import_path

PLACEMENTS = ("own", "kmeans", "uniform")

QUANTIZE_FIRST = "quantize-first"


PAPER = (
    "Malchiodi, Ferraretto, Frasca, Quantization-Aware Regularizers for Deep Neural Networks Compression, "
    "arXiv 2602.03614"
)
PERIODIC = (
    PAPER + "; periodic penalties: Naumov, Diril, Park, Ray, Jablonski, Tulloch, On Periodic Functions as Regularizers "
    "for Quantization of Neural Networks, arXiv 1811.09862 (2018)"
)


GRID = "grid s z, z = −⌊K/2⌋…⌈K/2⌉−1"


@dataclass(frozen=True, kw_only=True)
class Family:
    """One regularizer family.

    Attributes:
        title: short description.
        kind: `paper`, `control`, `sibling`, `ours` for this project's, or `own` for one that a user has written.
        source: where the given parts are from.
        penalty: formula of the penalty of one weight w, in a layer with interval [a, b] and representatives r.
        forward: formula of the value that the forward pass of the regularize phase uses for a weight w.
        representatives: positions of the representatives during the regularize phase.
        trainable: whether the representatives are trained with the weights.
        given: parts that are from the source.
        ours: parts that this project has chosen.
        has_proximal_step: whether the proximal step of the penalty is known in closed form.
    """

    title: str
    penalty: str
    representatives: str
    trainable: bool
    given: str
    ours: str
    kind: Literal["paper", "control", "sibling", "ours", "own"] = "paper"
    source: str = PAPER
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
        kind="control",
        penalty="0",
        representatives="none while training; placed afterwards",
        trainable=False,
        given="the baseline of every comparison",
        ours="nothing",
    ),
    QUANTIZE_FIRST: Family(
        title="quantization at once, then tuning for the epochs of both phases",
        kind="control",
        source="this project",
        penalty="0",
        representatives="placed before the first epoch; trained from then on",
        trainable=True,
        given="nothing",
        ours="all: the strongest control, with the same budget as every other family",
    ),
    "RS": Family(
        title="static wells of a sine",
        source=PERIODIC,
        penalty="|sin(π (K−1)(w−a)/(b−a))|",
        representatives="fixed grid a + j(b−a)/(K−1), j = 0…K−1",
        trainable=False,
        given="the sine of π (K−1)(w−a)/(b−a), and that there is an interval [a, b]",
        ours="the absolute value (or, by a switch, the square): the raw sine has about K/2 minima, "
        "these have exactly K zeros; [a, b] = mean ± 2.5 standard deviations of the layer when the phase begins "
        "(by a switch its minimum and maximum, or quantiles); outside [a, b] the distance to the nearer end",
    ),
    "RC": Family(
        title="static wells of a cosine",
        source=PERIODIC,
        penalty="|cos(π K (w−a)/(b−a))|",
        representatives="fixed midpoints a + (2j+1)(b−a)/(2K), j = 0…K−1",
        trainable=False,
        given="the cosine of π K (w−a)/(b−a), and that there is an interval [a, b]",
        ours="as for RS",
    ),
    "RM": Family(
        title="distance to the nearest trainable representative",
        penalty="min_k |w − r_k|",
        representatives="trainable, one set a layer",
        trainable=True,
        given="dynamic, with trainable representatives",
        ours="the formula: M read as minimum (the square, by a switch, is the form of MSQE, arXiv 1809.00095)",
        has_proximal_step=True,
    ),
    "RE": Family(
        title="smooth minimum over trainable representatives",
        penalty="−τ log Σ_k exp(−(w − r_k)²/τ)",
        representatives="trainable, one set a layer",
        trainable=True,
        given="dynamic, with trainable representatives",
        ours="the formula: E read as exponential, tending to the squared distance as τ → 0; τ counts in the "
        "squared spacing of the current representatives; bounded wells by a switch",
    ),
    "SinReQ": Family(
        title="wells of a squared sine, symmetric about 0",
        kind="sibling",
        source="Elthakeb, Pilligundla, Esmaeilzadeh, SinReQ: Generalized Sinusoidal Regularization for Low-Bitwidth "
        "Deep Quantized Training, arXiv 1905.01416",
        penalty="sin²(π (K−1)(w+m)/(2m))",
        representatives="fixed grid −m + 2jm/(K−1), j = 0…K−1",
        trainable=False,
        given="the squared sine, with step 2/(K−1) for weights scaled to [−1, 1], K = 2^bits",
        ours="m = the largest |w| of the layer when the phase begins, fixed from then on; any K; without the quantized "
        "forward pass of DoReFa or WRPN, on which the source trains; beyond ±m the squared distance to the nearer end",
    ),
    "MSQE": Family(
        title="squared distance to a grid with a trained step",
        kind="sibling",
        source="Choi, El-Khamy, Lee, Learning Sparse Low-Precision Neural Networks With Learnable Regularization, "
        "arXiv 1809.00095",
        penalty="min_z (w − s z)²",
        representatives=f"{GRID}, one trained step s a layer",
        trainable=True,
        given="the mean squared quantization error as a penalty, with one scale a layer",
        ours="λ is searched like that of every family, not learned; without the quantized forward pass on which the "
        "source trains; the first s fits the weights by least squares; z = ∓1/2 at K = 2",
        has_proximal_step=True,
    ),
    "BinReg": Family(
        title="mean and variance of the weights in each bin of a grid",
        kind="sibling",
        source="Han, Li, Liu, Tian, Shan, Improving Low-Precision Network Quantization via Bin Regularization, "
        "ICCV 2021",
        penalty="(w − s z)²/n_z, n_z weights in the bin of the nearest s z: (mean − s z)² + variance, a bin",
        representatives=f"{GRID}, one trained step s a layer",
        trainable=True,
        given="the two terms of a bin, and the grid of LSQ",
        ours="the penalty alone, without the forward pass of LSQ, on which the source trains; the first s fits the "
        "weights by least squares; times n/K with `scale`; z = ∓1/2 at K = 2",
        has_proximal_step=True,
    ),
    "PARQ": Family(
        title="proximal steps of a piecewise-affine penalty that grows steep",
        kind="sibling",
        source="Jin, Ma, Liu, Gromov, Defazio, Xiao, PARQ: Piecewise-Affine Regularized Quantization, ICML 2025, "
        "arXiv 2503.15748; its implementation in torchao.prototype.parq",
        penalty="0",
        forward="c + (w − c)/ρ, c the middle of the two r_k around w, no farther than these; ρ falls from 1 to 0",
        representatives="means of the weights nearest to them, in every step; begun by k-means",
        trainable=False,
        given="the proximal map, the schedule of ρ (a sigmoid of steepness 10), and that the gradient at the mapped "
        "weights moves the weights themselves",
        ours="representatives of least squared error, instead of sums of scaled signs (LSBQ); ρ falls over the whole "
        "phase. λ is part of the schedule, and not searched",
    ),
    "LSQ": Family(
        title="quantized forward pass on a grid with a trained step",
        kind="sibling",
        source="Esser, McKinstry, Bablani, Appuswamy, Modha, Learned Step Size Quantization, ICLR 2020, "
        "arXiv 1902.08153",
        penalty="0",
        forward="the nearest s z",
        representatives=f"{GRID}, one trained step s a layer",
        trainable=True,
        given="the grid, its first step 2 mean|w|/√Q_P, and both gradients, with rounding as the identity",
        ours="weights alone are quantized, not activations; Adam's step on s, as on all representatives; any K, with "
        "z = ∓1/2 at K = 2",
    ),
    "DKM": Family(
        title="forward pass with soft assignments to the centroids of soft k-means",
        kind="sibling",
        source="Cho, Alizadeh Vahid, Adya, Rastegari, DKM: Differentiable K-Means Clustering Layer for Neural Network "
        "Compression, ICLR 2022, arXiv 2108.12659",
        penalty="0",
        forward="Σ_j a_j c_j, a_j = softmax_j(−|w − c_j|/τ)",
        representatives="centroids c_j ← Σ_w a_j w / Σ_w a_j, iterated in every step; begun by k-means",
        trainable=False,
        given="attention, iterations from the centroids of the step before, and the gradient through all of them",
        ours="τ in mean spacings of the first centroids (`penalty.temperature`), at most 5 iterations a step",
    ),
    "RH": Family(
        title="distance to the nearest trainable representative, and the bits of its level",
        kind="ours",
        source="this project, after entropy-constrained quantization: Chou, Lookabaugh, Gray, Entropy-Constrained "
        "Vector Quantization, IEEE Transactions on Acoustics, Speech, and Signal Processing 37(1), 1989",
        penalty="min_k |w − r_k| + γ u log2(1/p_k), p_k the share of weights nearest to r_k, u half the mean spacing",
        representatives="trainable, one set a layer",
        trainable=True,
        given="the cost of a level, −log2 of its share, added to the distance",
        ours="its use as a penalty of training; the absolute distance of RM (the square, the source's distortion, by a "
        "switch); γ = `penalty.entropy_weight`; shares counted in each step and smoothed, constant in the gradient. "
        "When the phase ends, each weight takes the nearest representative, as in all families",
    ),
}


def family_of(name: str) -> Family:
    """Return the description of a family.

    One that is named by import path is not imported: it counts as a family with a penalty. Launching a study checks
    what it really is.

    Args:
        name: a key of `FAMILIES`, or an import path `module:attribute`.

    Raises:
        ValueError: the name is neither; the message lists the choices.
    """
    if is_import_path(name):
        return Family(
            title="a family by import path",
            penalty=f"shown by: qar families {name}",
            representatives="shown there",
            trainable=True,
            kind="own",
            source="the author of the family",
            given="all",
            ours="nothing",
            has_proximal_step=True,
        )
    return FAMILIES[choose("family", name, [*FAMILIES, IMPORT_PATH_FORM] if name not in FAMILIES else FAMILIES)]


def check_placement(name: str, family: str | None = None) -> str:
    """Return the name of a placement if it is known, or an import path, which is not imported.

    Args:
        name: name of the placement.
        family: name of a family that must support it; None for any.

    Raises:
        ValueError: the placement is unknown, or the family does not support it.
    """
    if is_import_path(name):
        return name
    kind = "placement" if family is None else f"placement for family {family!r}"
    choices = PLACEMENTS if family is None else family_of(family).placements
    return choose(kind, name, [*choices, IMPORT_PATH_FORM] if name not in choices else choices)
