"""Shape annotations of tensors, from jaxtyping; tests check them at run time.

Without jaxtyping, which training does not need, the annotations stand for plain tensors.
"""

from typing import TYPE_CHECKING, Any

__all__ = ["Float", "Int", "UInt8"]

if TYPE_CHECKING:
    from jaxtyping import Float, Int, UInt8
else:
    try:
        from jaxtyping import Float, Int, UInt8
    except ModuleNotFoundError:

        class Float:
            """Stand-in for jaxtyping: `Float[Tensor, " n"]` is `Tensor`."""

            def __class_getitem__(cls, item: tuple[Any, str]) -> Any:
                return item[0]

        Int = UInt8 = Float
