"""The task tree as pure data: links, counts and phases. No asyncio, no threads, no callbacks.

Completion is counted: a node's ``_pending_`` is one for its own body plus one for each live child (plus one for
each successor that waits to be started below it). Whoever brings a count to zero completes that node, with a
worklist, never by recursion. Siblings form a doubly linked list, so that they leave in any order at the same cost.

Slots are named ``_so_`` because people subclass nodes: neither public names nor their own private ones can
collide with them. All functions here belong to the loop thread.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

NEW: Final = 0  # never submitted
QUEUED: Final = 1  # accepted: in the mailbox or in a lane
ACTIVE: Final = 2  # the body, the tail or a descendant is alive
CLOSING: Final = 3  # terminated, and unwinding: takes no children
ENDING: Final = 4  # counted down to zero: the end callbacks run, the outcome is frozen
ENDED: Final = 5

IDLE_PHASES: Final = (NEW, ENDED)
LIVE_PHASES: Final = (QUEUED, ACTIVE, CLOSING)


class TreeEntry:
    """One place in the tree."""

    __slots__ = ("__weakref__", "_last_", "_next_", "_parent_", "_pending_", "_phase_", "_prev_")

    _parent_: TreeEntry | None
    _prev_: TreeEntry | None
    _next_: TreeEntry | None
    _last_: TreeEntry | None
    _pending_: int
    _phase_: int


def attach(parent: TreeEntry, child: TreeEntry) -> None:
    """Loop only. Make ``child`` the youngest child of ``parent`` and count it there."""
    child._parent_ = parent
    last = parent._last_
    child._prev_ = last
    child._next_ = None
    if last is not None:
        last._next_ = child
    parent._last_ = child
    parent._pending_ += 1


def unlink(child: TreeEntry) -> None:
    """Loop only. Take ``child`` out of its siblings. The parent's count is the caller's to settle."""
    before, after = child._prev_, child._next_
    if after is not None:
        after._prev_ = before
        child._next_ = None
    elif child._parent_ is not None and child._parent_._last_ is child:
        child._parent_._last_ = before
    if before is not None:
        before._next_ = after
        child._prev_ = None


def children(entry: TreeEntry) -> list[TreeEntry]:
    """The direct children, oldest first. Exact on the loop; elsewhere a picture of about now."""
    found: list[TreeEntry] = []
    child = entry._last_
    while child is not None:
        found.append(child)
        child = child._prev_
    found.reverse()
    return found


def ancestors(entry: TreeEntry) -> Iterator[TreeEntry]:
    """The parent first, the root last. Any thread."""
    above = entry._parent_
    while above is not None:
        yield above
        above = above._parent_


def subtree(entry: TreeEntry) -> list[TreeEntry]:
    """Loop only. The entry and all of its descendants, each parent before its children."""
    found = [entry]
    for above in found:  # the list grows while it is read: a worklist, breadth first
        child = above._last_
        while child is not None:
            found.append(child)
            child = child._prev_
    return found


def live_ancestor(entry: TreeEntry) -> TreeEntry:
    """Loop only. The nearest ancestor that still takes children; the root if there is none."""
    above = entry
    while above._phase_ != ACTIVE and above._parent_ is not None:
        above = above._parent_
    return above


def is_ancestor_or_self(entry: TreeEntry, of: TreeEntry) -> bool:
    """Any thread. Whether ``entry`` is ``of`` or stands above it."""
    place: TreeEntry | None = of
    while place is not None:
        if place is entry:
            return True
        place = place._parent_
    return False
