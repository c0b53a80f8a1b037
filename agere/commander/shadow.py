"""Attributes of a base class that subclasses and instances may assign over."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar, overload

N = TypeVar("N")
V = TypeVar("V")


class shadowable(Generic[N, V]):  # noqa: N801 - used as a decorator, like property
    """Like ``property``, but an assignment to the instance simply wins (a descriptor without ``__set__``).

    People who subclass a Job store whatever they like under whatever name: ``self.name = ...``, ``self.parent = ...``.
    Nothing inside Agere reads these names, so nothing breaks.
    """

    def __init__(self, getter: Callable[[N], V]) -> None:
        self._getter = getter
        self.__doc__ = getter.__doc__

    @overload
    def __get__(self, instance: None, owner: type[Any]) -> Self: ...
    @overload
    def __get__(self, instance: N, owner: type[Any] | None = None) -> V: ...
    def __get__(self, instance: N | None, owner: type[Any] | None = None) -> V | Self:
        return self if instance is None else self._getter(instance)

    if TYPE_CHECKING:

        def __set__(self, instance: Any, value: Any) -> None:
            """For type checkers alone: anything may be assigned."""
