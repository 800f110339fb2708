"""A value that must not be shown."""

from __future__ import annotations

__all__ = ["MASK", "Secret"]

MASK = "********"


class Secret:
    """Holds a secret string; every way of printing it shows a mask. `reveal()` is the one way out.

    >>> str(Secret("hunter2"))
    '********'
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        return self._value

    def __repr__(self) -> str:
        return f"Secret({MASK!r})"

    def __str__(self) -> str:
        return MASK

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash((Secret, self._value))

    def __reduce__(self) -> tuple[object, ...]:
        raise TypeError("a Secret is not pickled")
