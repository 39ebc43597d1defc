"""Growing arrays in pages: growing neither copies what is there nor leaves holes in the memory of the process.

A page whose values are all the same is kept as one of them.
"""

from array import array
from collections.abc import Iterator
from typing import Any

import numpy as np

PAGE = 4096
"""Values in a page."""


class PagedArray:
    """Growing array of numbers of one type."""

    def __init__(self, code: str) -> None:
        """Create an empty array; `code` is a type code of the module `array`."""
        self._code = code
        self._pages: list[array[Any]] = [array(code)]

    def __len__(self) -> int:
        """Return the number of values."""
        return PAGE * (len(self._pages) - 1) + len(self._pages[-1])

    def __getitem__(self, place: int) -> int | float:
        """Return the value at a place, from 0."""
        index = place // PAGE
        value: int | float = self._pages[index][0 if self._is_one_value(index) else place % PAGE]
        return value

    def __setitem__(self, place: int, value: float) -> None:
        """Replace the value at a place."""
        index = place // PAGE
        if self._is_one_value(index):
            self._pages[index] = self._pages[index] * PAGE
        self._pages[index][place % PAGE] = value

    def __iter__(self) -> Iterator[int | float]:
        """Iterate over the values."""
        return (self[place] for place in range(len(self)))

    def __eq__(self, other: object) -> bool:
        """Whether another array has the same values."""
        return isinstance(other, PagedArray) and np.array_equal(self.numpy(), other.numpy())

    __hash__ = None  # type: ignore[assignment]  # it grows

    def append(self, value: float) -> None:
        """Append a value."""
        if len(self._pages[-1]) == PAGE:
            self._begin_page()
        self._pages[-1].append(value)

    def extend(self, values: np.ndarray) -> None:
        """Append the values of an array of the same type, shape (n,)."""
        while len(values):
            if len(self._pages[-1]) == PAGE:
                self._begin_page()
            room = PAGE - len(self._pages[-1])
            self._pages[-1].frombytes(values[:room].tobytes())
            values = values[room:]

    def latest(self, count: int) -> np.ndarray:
        """Return the last values, at most `count`, as an array."""
        return self.numpy(max(0, len(self) - count) // PAGE)[-count:]

    def take(self, places: np.ndarray) -> np.ndarray:
        """Return the values at some places as an array, shape (places,); quick if they lie close together."""
        if not len(places):
            return np.empty(0, self._code)
        first = int(places.min()) // PAGE
        return self.numpy(first, int(places.max()) // PAGE - first + 1)[places - first * PAGE]

    def numpy(self, first: int = 0, pages: int | None = None) -> np.ndarray:
        """Return a copy of the values as an array, shape (n,).

        Args:
            first: page to begin with.
            pages: number of pages; None for all that follow.
        """
        last = len(self._pages) - 1
        chosen = range(len(self._pages))[first : None if pages is None else first + pages]
        values = [np.frombuffer(self._pages[index], self._code) for index in chosen]
        return np.concatenate(
            [page if index == last else np.broadcast_to(page, PAGE) for index, page in zip(chosen, values, strict=True)]
        )

    def _is_one_value(self, index: int) -> bool:
        """Whether a page is kept as one value."""
        return 0 <= index < len(self._pages) - 1 and len(self._pages[index]) == 1

    def _begin_page(self) -> None:
        """Add an empty page after a full one."""
        full = self._pages[-1]
        if full.tobytes() == full[:1].tobytes() * PAGE:
            self._pages[-1] = full[:1]
        self._pages.append(array(self._code))
