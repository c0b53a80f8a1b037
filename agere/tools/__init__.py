"""Tools: functions that a model may call.

``definition.py`` makes a ``Tool`` from a function (with ``signature.py``, ``docstring.py`` and ``arguments.py``),
``call.py`` is what the model asks for and what came of it, ``toolbox.py`` makes the calls (with ``running.py``,
``approval.py`` and ``result.py``).
"""

from agere.errors import ToolDefinitionError

from .call import ToolCall, ToolResult
from .definition import NeedsApproval, Tool, tool
from .toolbox import Toolbox

__all__ = [
    "NeedsApproval",
    "Tool",
    "ToolCall",
    "ToolDefinitionError",
    "ToolResult",
    "Toolbox",
    "tool",
]
