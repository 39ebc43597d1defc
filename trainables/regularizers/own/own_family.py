"""Families that users write: a plain function of weights and representatives, or a class of the `Regularizer` protocol.

Example::

    @family(formula="min_k (w − r_k)²", source="this notebook", trained=True)
    def nearest(weights, representatives):
        return (weights[:, None] - representatives).square().amin(1)
"""

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from torch import Tensor

from trainables.config import PenaltyForm
from trainables.families import Family
from trainables.import_path import PartError, reason_of, resolve
from trainables.regularizers.own.function_penalty import FunctionPenalty
from trainables.regularizers.protocol import LayerQuantizer, ProximalRegularizer, Regularizer
from trainables.shapes import Float

_Part = TypeVar("_Part", bound=Callable[..., Any])
_DECLARED = "_qar_family"

_DECORATE = "decorate it with @trainables.regularizers.family(formula=…, source=…, trained=…)"

QuantizerFactory = Callable[[Float[Tensor, " n"], int, PenaltyForm], LayerQuantizer]
"""Makes the quantizer of a layer from its flat weights, (n,), K and the switches."""


def family(*, formula: str, source: str, trained: bool, title: str = "") -> Callable[[_Part], _Part]:
    """Declare a function or a class as a family.

    A function has the arguments `weights`, (n,), and `representatives`, (K,), and returns the penalty of each weight,
    (n,). Autograd differentiates it in chunks. A class has the arguments (weights, K, `PenaltyForm`) and follows the
    `Regularizer` protocol.

    Args:
        formula: penalty of one weight w, with representatives r.
        source: where the formula comes from.
        trained: whether the representatives are trained with the weights. If not, those of a function are a grid on
            the layer's interval.
        title: short description; the name of the function or class if empty.
    """

    def declare(part: _Part) -> _Part:
        declared = Family(
            title=title or part.__name__.replace("_", " "),
            penalty=formula,
            representatives="trainable, one set a layer" if trained else "fixed while training",
            trainable=trained,
            kind="own",
            source=source,
            given="all",
            ours="nothing",
            has_proximal_step=inspect.isclass(part) and hasattr(part, "shrink"),
        )
        setattr(part, _DECLARED, declared)
        return part

    return declare


def is_declared(part: object) -> bool:
    """Return whether a function or class is declared as a family."""
    return isinstance(getattr(part, _DECLARED, None), Family)


def declared_family(name: str) -> Family:
    """Return the description of a family named by import path.

    Raises:
        PartError: it can't be imported, or is not declared as a family; one line.
    """
    return _declared(name)[1]


def _declared(name: str) -> tuple[Callable[..., Any], Family]:
    """Return what an import path names, and its description as a family; raises as `declared_family` does."""
    part = resolve("family", name)
    if not callable(part):
        raise PartError(f"family {name!r} must be a function or a class, got {type(part).__name__}; correct the name")
    declared = getattr(part, _DECLARED, None)
    if not isinstance(declared, Family):
        raise PartError(f"family {name!r} must be declared as a family, got a plain {_kind(part)}; {_DECORATE}")
    return part, declared


def _kind(part: Any) -> str:
    return "class" if inspect.isclass(part) else "function"


def own_quantizer(name: str) -> QuantizerFactory:
    """Return the function that makes the regularizer of a layer, for a family named by import path.

    Raises:
        PartError: the family can't be imported, is not declared, or has another signature; one line.
    """
    part, declared = _declared(name)
    arguments = ("weights", "num_levels", "form") if inspect.isclass(part) else ("weights", "representatives")
    try:
        inspect.signature(part).bind(*arguments)
    except TypeError as error:
        raise PartError(
            f"family {name!r} must be callable with ({', '.join(arguments)}), got a {_kind(part)} with the signature "
            f"{inspect.signature(part)}: {error}; correct it"
        ) from None
    if inspect.isclass(part):
        make: QuantizerFactory = part  # type: ignore[assignment]  # `check_own_family` looks at what it makes
        return make
    return partial(FunctionPenalty, part, declared.trainable)


def check_own_family(name: str, weights: Float[Tensor, " n"], form: PenaltyForm, *, proximal: bool) -> None:
    """Make a family's regularizer of a layer and ask it for one gradient.

    Args:
        name: import path of the family.
        weights: (n,), weights of the layer.
        form: switches of the penalty.
        proximal: whether the study takes proximal steps.

    Raises:
        PartError: it fails, or its results have the wrong type, shape or value; one line.
    """
    make = own_quantizer(name)
    try:
        regularizer = make(weights, 3, form)
        if not isinstance(regularizer, Regularizer):
            missing = [part for part in _PROTOCOL if not hasattr(regularizer, part)]
            raise ValueError(f"it lacks {', '.join(missing)} of the Regularizer protocol")
        gradient = weights.new_zeros(len(weights))
        regularizer.progress(0.0)
        regularizer.add_gradient(weights, gradient, 1.0)
        if not gradient.isfinite().all():
            raise ValueError("its gradient is not finite")
    except Exception as error:  # code of users may raise anything
        reason = str(error) if isinstance(error, ValueError) else reason_of(error)
        raise PartError(f"family {name!r} must give a finite gradient for a layer, got: {reason}; mend it") from None
    if proximal and not isinstance(regularizer, ProximalRegularizer):
        raise PartError(
            f"penalty_application must be 'decoupled' or 'coupled' for family {name!r}, which has no method shrink, "
            "got 'proximal'; choose one of them, or write a class with shrink"
        )


_PROTOCOL = ("state", "representatives", "progress", "half_spacing", "steepest", "add_gradient", "value")
