"""Edges: which node runs when another has completed. They form pipelines, branches, joins and loops.

An edge belongs to the node from which it starts and outlives its runs: loops through the same node objects work.
It fires when that node's run has COMPLETED (not after a failure or a termination). The next node runs below the same
parent; if it is running already, it runs once more when it has ended. Add edges before the first node is submitted, or
on the loop.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from agere.errors import NotJobError

from .node import TaskNode

Node = TaskNode[Any]


class Edge:
    """One edge, plain: always to the same node."""

    def __init__(self, target: Node, data: Any) -> None:
        self._target = target
        self._data = data

    def follow(self, source: Node, result: Any) -> tuple[Node, Any] | None:
        """Loop only. ``source`` has completed with ``result``: the node to run and its data, or None."""
        del source, result
        return self._target, self._data


class ConditionalEdge(Edge):
    """To the node that stands under the result; nowhere if none does."""

    def __init__(self, targets: Mapping[Any, Node], data: Any) -> None:
        self._targets = dict(targets)
        self._data = data

    def follow(self, source: Node, result: Any) -> tuple[Node, Any] | None:
        """Loop only. See ``Edge.follow``. Raises TypeError if the result cannot be looked up."""
        target = self._targets.get(result)
        return None if target is None else (target, self._data)


class JoinEdge(Edge):
    """To one node, once all sources have completed; then anew."""

    def __init__(self, sources: list[Node], target: Node, data: Any) -> None:
        super().__init__(target, data)
        self._sources = sources
        self._missing = {source._id_ for source in sources}

    def follow(self, source: Node, result: Any) -> tuple[Node, Any] | None:
        """Loop only. See ``Edge.follow``."""
        self._missing.discard(source._id_)
        if self._missing:
            return None
        self._missing = {source._id_ for source in self._sources}
        return super().follow(source, result)


def add_edge(from_node: Node, to_node: Node, data: Any = None) -> None:
    """Run ``to_node`` when ``from_node`` has completed.

    Args:
        from_node: a Job or a handler.
        to_node: a Job or a handler.
        data: bound to ``to_node.data`` before it runs, unless None.

    Raises:
        NotJobError: one of them is neither.
    """
    _check(from_node, to_node)
    _edges_of(from_node).append(Edge(to_node, data))


def add_conditional_edge(from_node: Node, map: Mapping[Any, Node], data: Any = None) -> None:  # noqa: A002 - its public name
    """Run the node that ``map`` names for the result of ``from_node``; no entry: the path ends.

    Args:
        from_node: a Job or a handler.
        map: from results to the nodes that run next.
        data: bound to the next node's ``.data`` before it runs, unless None.

    Raises:
        NotJobError: one of the nodes is neither Job nor handler.
        TypeError: ``map`` is no mapping.
    """
    if not isinstance(map, Mapping):
        raise TypeError(f"a conditional edge takes a mapping from results to nodes, not {map!r}")
    _check(from_node, *map.values())
    _edges_of(from_node).append(ConditionalEdge(map, data))


def add_join_edge(from_nodes: Iterable[Node], to_node: Node, data: Any = None) -> None:
    """Run ``to_node`` once all of ``from_nodes`` have completed.

    Args:
        from_nodes: Jobs or handlers; the next node runs below the parent of the last to complete.
        to_node: a Job or a handler.
        data: bound to ``to_node.data`` before it runs, unless None.

    Raises:
        NotJobError: one of them is neither.
        ValueError: ``from_nodes`` is empty.
    """
    sources = list(from_nodes)
    if not sources:
        raise ValueError("a join needs at least one node to wait for")
    _check(*sources, to_node)
    edge = JoinEdge(sources, to_node, data)
    for source in {source._id_: source for source in sources}.values():
        _edges_of(source).append(edge)


def _edges_of(node: Node) -> list[Edge]:
    more = node._more_()
    if more.edges is None:
        more.edges = []
    return more.edges


def _check(*nodes: object) -> None:
    for node in nodes:
        if not isinstance(node, TaskNode) or node._kind_ not in ("job", "handler"):
            raise NotJobError(f"an edge joins Jobs and handlers, not {node!r}")
        node._check_work_()
