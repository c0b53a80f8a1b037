"""Log records that tell which node has logged them."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, ClassVar

from agere.commander.affinity import current_node
from agere.commander.callback_runner import record_extra


class NodeFilter(logging.Filter):
    """Adds the current node to each record: on the loop, in worker threads, in callbacks and in deliveries.

    The records get ``agere_node_id`` (a number), ``agere_node_name`` and ``agere_node_path`` (the way from the
    commander to the node), which formats can name. Outside of all nodes they are ``"-"``. Records in which Agere
    itself tells of a node are about that one.

    Attach it to a handler (``handler.addFilter(NodeFilter())``): a logger asks its filters only about what is logged
    there, not about what comes from the loggers below it. A handler without the filter needs
    ``logging.Formatter(format, defaults=NodeFilter.DEFAULTS)``, or formats that name these fields fail there.

    Args:
        name: as for ``logging.Filter``: let only records of this logger and those below it pass; all by default.
    """

    DEFAULTS: ClassVar[Mapping[str, str]] = {"agere_node_id": "-", "agere_node_name": "-", "agere_node_path": "-"}
    """What stands in the fields outside of all nodes."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Any thread. Add the fields; called by ``logging``."""
        fields = vars(record)
        if "agere_node_id" not in fields:
            node = current_node()
            if node is not None:
                fields.update(record_extra(node))
        missing: dict[str, Any] = {key: value for key, value in self.DEFAULTS.items() if key not in fields}
        fields.update(missing)
        return bool(super().filter(record))
