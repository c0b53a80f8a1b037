"""``commander.watch()``: shows the live tree, in a terminal, in a notebook, or as plain lines."""

from .watch import Style, Watch

__all__ = ["Style", "Watch"]
