"""The tree as pure data, against a model."""

from __future__ import annotations

import ast
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from agere.commander import TaskNode, tree
from agere.commander.tree import TreeEntry


def entry() -> TreeEntry:
    node: TreeEntry = TaskNode()
    node._phase_ = tree.ACTIVE
    return node


@given(st.lists(st.tuples(st.sampled_from(["attach", "unlink", "move"]), st.integers(0, 10**6), st.integers(0, 10**6))))
def test_against_a_model(moves: list[tuple[str, int, int]]) -> None:
    root = entry()
    parents: dict[TreeEntry, TreeEntry] = {}
    below: dict[TreeEntry, list[TreeEntry]] = {root: []}
    counts = {root: 0}

    def inside(node: TreeEntry, of: TreeEntry) -> bool:
        return node is of or (of in parents and inside(node, parents[of]))

    for move, first, second in moves:
        nodes = list(below)
        place = nodes[first % len(nodes)]
        if move == "attach":
            child = entry()
            tree.attach(place, child)
            parents[child], below[child], counts[child] = place, [], 0
            below[place].append(child)
            counts[place] += 1
        elif place is not root and not below[place]:
            tree.unlink(place)
            parent = parents.pop(place)
            below[parent].remove(place)
            if move == "unlink":
                del below[place], counts[place]
                parent._pending_ -= 1
                counts[parent] -= 1
            else:
                parent._pending_ -= 1
                counts[parent] -= 1
                nodes = [node for node in below if not inside(place, node)]
                target = nodes[second % len(nodes)]
                tree.attach(target, place)
                parents[place] = target
                below[target].append(place)
                counts[target] += 1
        for node, children in below.items():
            assert tree.children(node) == children
            assert node._pending_ == counts[node]
            forward = []
            child = children[0] if children else None
            while child is not None:
                forward.append(child)
                child = child._next_
            assert forward == children
            above = []
            at = node
            while at in parents:
                at = parents[at]
                above.append(at)
            assert list(tree.ancestors(node)) == above
        found = tree.subtree(root)
        assert set(found) == set(below)
        assert len(found) == len(below)
        assert all(found.index(parents[node]) < found.index(node) for node in found if node in parents)
        for node in nodes[:5]:
            if node in below:
                for other in nodes[:5]:
                    if other in below:
                        assert tree.is_ancestor_or_self(node, other) is inside(node, other)


def test_live_ancestor() -> None:
    root, middle, leaf = entry(), entry(), entry()
    tree.attach(root, middle)
    tree.attach(middle, leaf)
    assert tree.live_ancestor(leaf) is leaf
    for phase in (tree.NEW, tree.QUEUED, tree.CLOSING, tree.ENDING, tree.ENDED):
        leaf._phase_ = phase
        assert tree.live_ancestor(leaf) is middle
        middle._phase_ = phase
        assert tree.live_ancestor(leaf) is root
        root._phase_ = phase
        assert tree.live_ancestor(leaf) is root
        middle._phase_ = root._phase_ = tree.ACTIVE


def test_deep_and_wide_without_recursion_or_search() -> None:
    root = entry()
    place = root
    for _ in range(50_000):
        child = entry()
        tree.attach(place, child)
        place = child
    assert len(tree.subtree(root)) == 50_001
    assert sum(1 for _ in tree.ancestors(place)) == 50_000
    assert tree.live_ancestor(place) is place
    wide = entry()
    children = [entry() for _ in range(20_000)]
    for child in children:
        tree.attach(wide, child)
    for child in children[::2] + children[:0:-2]:  # any order
        tree.unlink(child)
    while place is not root:  # 50,000 frames deep would be a recursive deallocation
        parent = place._parent_
        assert parent is not None
        tree.unlink(place)
        place._parent_ = None
        place = parent


def test_is_pure() -> None:
    text = Path(tree.__file__).read_text(encoding="utf-8")
    imported = {
        name.name if isinstance(node, ast.Import) else node.module
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in node.names
    }
    assert imported <= {"__future__", "collections.abc", "typing"}
