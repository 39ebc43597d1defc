"""Shape annotations of tensors: jaxtyping's, which the tests check at run time.

A machine that only trains need not have jaxtyping; there the same annotations mean plain tensors.
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
            """`Float[Tensor, " n"]` is `Tensor`."""

            def __class_getitem__(cls, item: tuple[Any, str]) -> Any:
                return item[0]

        Int = UInt8 = Float
