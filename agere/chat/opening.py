"""A model that is opened when it is first needed, and closed when nobody needs it any more."""

from __future__ import annotations

import atexit
import logging
import threading
import weakref
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Self

from agere.errors import ChatClosedError

from .model import ChatModel

logger = logging.getLogger("agere.chat")


class LazyModel:
    """Opens a model at most once and closes it at most once. Any thread may use it.

    Args:
        make: gives the context manager in which the model lives.
    """

    def __init__(self, make: Callable[[], AbstractContextManager[ChatModel]]) -> None:
        self._make = make
        self._lock = threading.Lock()  # held while the model is being opened, which may take minutes
        self._scope: AbstractContextManager[ChatModel] | None = None
        self._model: ChatModel | None = None
        self._closed = False
        _unclosed.add(self)

    @classmethod
    def given(cls, model: ChatModel) -> Self:
        """Any thread. A model that is open, and that somebody else closes."""
        lazy = cls(lambda: nullcontext(model))
        lazy._model = model
        return lazy

    @property
    def opened(self) -> ChatModel | None:
        """The model, if it is open."""
        return self._model

    def open(self) -> ChatModel:
        """A thread that may block. The model, opened now if need be.

        Raises:
            ChatClosedError: it has been closed, or is closed meanwhile.
            NoModelError: none can be had.
        """
        with self._lock:
            if self._model is None and not self._closed:
                scope = self._make()
                self._model = scope.__enter__()
                self._scope = scope
            model = self._model
        if self._closed:
            self._let_go()
            model = None
        if model is None:
            raise ChatClosedError("this Chat has been closed; make another one")
        return model

    def close(self) -> None:
        """A thread that may block. End the model; one that is just being opened is ended by who opens it."""
        self._closed = True
        _unclosed.discard(self)
        self._let_go()

    def close_elsewhere(self) -> None:
        """Any thread, never blocks: a finalizer may run anywhere."""
        if self._scope is None and not self._lock.locked():  # there is nothing that could block
            self.close()
            return
        try:
            threading.Thread(target=self.close, name="agere-closing", daemon=True).start()
        except RuntimeError:  # no threads to be had, or not any more: the process is ending
            self.close()

    def _let_go(self) -> None:
        if self._lock.acquire(blocking=False):
            try:
                scope, self._scope, self._model = self._scope, None, None
            finally:
                self._lock.release()
            if scope is not None:
                scope.__exit__(None, None, None)


_unclosed: weakref.WeakSet[LazyModel] = weakref.WeakSet()


def _close_all() -> None:
    for model in list(_unclosed):
        try:
            model.close()
        except Exception:  # the others are to be closed as well
            logger.exception("a model could not be closed")


atexit.register(_close_all)
