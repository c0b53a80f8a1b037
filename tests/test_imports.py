"""Imports point one way, and ``import agere`` is light."""

from __future__ import annotations

import ast
import functools
import importlib
import pkgutil
from pathlib import Path

import pytest

import agere
from tests.support.subprocesses import run_python

ROOT = Path(agere.__file__).parent

# facade -> session -> scheduler -> node -> tree; a module imports nothing that stands above it.
LAYERS = ["facade", "session", "scheduler", "node", "tree"]


def modules() -> dict[str, Path]:
    found = {}
    for path in sorted(ROOT.rglob("*.py")):
        parts = ["agere", *path.relative_to(ROOT).with_suffix("").parts]
        if parts[-1] == "__init__":
            parts.pop()
        found[".".join(parts)] = path
    return found


MODULES = modules()


@functools.cache
def imports(name: str, at_run_time_only: bool = True, top_level_only: bool = True) -> frozenset[str]:
    """The modules that a module imports when it is imported."""
    tree = ast.parse(MODULES[name].read_text(encoding="utf-8"))
    package = name if MODULES[name].name == "__init__.py" else name.rpartition(".")[0]
    found: set[str] = set()

    def visit(node: ast.AST) -> None:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test) and at_run_time_only:
            for other in node.orelse:
                visit(other)
            return
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) and top_level_only:
            return
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, *([node.module] if node.module else [])])
            for alias in node.names:
                whole = f"{base}.{alias.name}"
                found.add(whole if whole in MODULES else base)
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(tree)
    return frozenset(found)


@functools.cache
def reached(name: str) -> frozenset[str]:
    """All modules of agere that importing this one imports, packages' ``__init__`` left out."""
    seen: set[str] = set()
    stack = [name]
    while stack:
        for other in imports(stack.pop()):
            if other in MODULES and other not in seen and MODULES[other].name != "__init__.py":
                seen.add(other)
                stack.append(other)
    return frozenset(seen)


@pytest.mark.parametrize("above", range(len(LAYERS) - 1))
def test_the_layers_of_the_core(above: int) -> None:
    upper = f"agere.commander.{LAYERS[above]}"
    for lower in LAYERS[above + 1 :]:
        assert upper not in reached(f"agere.commander.{lower}"), f"{lower} imports {upper}"
    assert f"agere.commander.{LAYERS[above + 1]}" in reached(upper)


def test_there_are_no_cycles_at_import() -> None:
    for name in MODULES:
        if MODULES[name].name != "__init__.py":
            assert name not in reached(name), f"{name} imports itself, by way of others"


def test_the_core_knows_nothing_above_it() -> None:
    for name in MODULES:
        if name.startswith("agere.commander"):
            for other in imports(name, top_level_only=False, at_run_time_only=False):
                assert not other.startswith(
                    ("agere.utils", "agere.hosts", "agere.addons", "agere.cli", "agere.chat", "agere.tools")
                ), f"{name} imports {other}"
                assert other != "agere"
                assert other != "agere.running"


def test_the_core_reaches_for_pictures_only_when_they_are_wanted() -> None:
    """``commander.watch()`` and the representations are methods of the core; what they show is loaded at the call."""
    for name in MODULES:
        if name.startswith("agere.commander"):
            for other in imports(name):
                assert not other.startswith(("agere.watch", "agere.rendering")), f"{name} imports {other}"


def test_what_stands_on_the_core_uses_its_public_names() -> None:
    """Hosts, utils and addons import public names; utils may use the core's private modules for attaching streams."""
    for name in MODULES:
        if name.startswith(("agere.hosts", "agere.addons", "agere.cli", "agere.chat", "agere.tools")):
            tree = ast.parse(MODULES[name].read_text(encoding="utf-8"))
            for node in ast.walk(tree):
                if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("agere.commander"):
                    assert not [alias.name for alias in node.names if alias.name.startswith("_")], name


def test_janus_has_one_door() -> None:
    users = [
        name
        for name in MODULES
        if any(other.split(".")[0] == "janus" for other in imports(name, top_level_only=False, at_run_time_only=False))
    ]
    assert users == ["agere.commander.mailbox"]


def test_the_facade_is_synchronous() -> None:
    tree = ast.parse(MODULES["agere.commander.facade"].read_text(encoding="utf-8"))
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.AsyncFunctionDef | ast.Await)]


def test_tree_is_pure() -> None:
    assert not imports("agere.commander.tree") & {"asyncio", "threading", "janus", "concurrent.futures", "contextvars"}


def test_importing_agere_is_light() -> None:
    heavy = "openai httpx httpx2 pydantic tkinter IPython ipykernel PySide6 textual rich xllamacpp tqdm multiprocessing"
    run_python(
        f"""
        import sys
        import agere, agere.commander, agere.commander.edge, agere.errors
        loaded = [name for name in {heavy.split()!r} if name in sys.modules]
        assert not loaded, loaded
        assert not [name for name in sys.modules if name.startswith(("agere.hosts", "agere.addons", "agere.cli"))]
        import threading
        assert threading.active_count() == 1
        import agere.utils.dispatcher, agere.utils.llm_async_converters
        assert "openai" not in sys.modules
        """
    ).check()


@pytest.mark.parametrize("package", ["agere", "agere.commander"])
def test_public_names_exist(package: str) -> None:
    module = importlib.import_module(package)
    assert len(set(module.__all__)) == len(module.__all__)
    for name in module.__all__:
        assert hasattr(module, name), name
    missing = {
        info.name
        for info in pkgutil.iter_modules(module.__path__)
        if info.name in module.__all__ and info.name != "handler"
    }
    assert not missing, "a module hides behind a public name"


@pytest.mark.parametrize(
    "statement",
    [
        "from agere.commander import PASS_WORD, Job, tasker",
        "from agere.commander import PASS_WORD, handler",
        "from agere.commander import CommanderAsync, Commander, BasicJob, TaskNode, HandlerCoroutine",
        "from agere.commander import Callback, CallbackDict",
        "from agere.commander.edge import add_edge, add_conditional_edge, add_join_edge",
        "from agere.utils.dispatcher import async_dispatcher_tools_call_for_openai",
        "from agere.utils.llm_async_converters import LLMAsyncAdapter, CallbackDict",
        "from agere import Commander, run, stream, current_node",
        "from agere.hosts import ScriptedHost",
    ],
)
def test_the_tutorials_import_paths(statement: str) -> None:
    exec(statement, {})


def test_its_packages_are_there_without_further_imports() -> None:
    run_python(
        """
        import agere, sys
        for name in ("addons", "chat", "hosts", "testing", "tools", "utils"):
            assert getattr(agere, name).__name__ == "agere." + name
            assert name in dir(agere)
        assert not hasattr(agere, "nothing")
        """
    ).check()
