"""Tools of MCP servers: real ones, in processes of their own, over stdio and over HTTP."""

from __future__ import annotations

import contextlib
import logging
import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import pytest

from agere import Commander, HandlerCoroutine, handler
from agere.errors import MCPServerError, NodeTerminatedError, ToolDefinitionError
from agere.hosts import ScriptedHost
from agere.tools import Tool, Toolbox, ToolCall, ToolResult
from agere.tools.mcp import MCPResult, MCPTools
from agere.tools.schema import without_to_user
from tests.support.subprocesses import run_python

PATIENCE = 30

ROOT = Path(__file__).parents[2]
SERVER = [sys.executable, "-m", "tests.support.mcp_server"]
OLD = [sys.executable, "-m", "tests.support.old_mcp_server"]


def stdio(*options: str, **more: Any) -> MCPTools:
    return MCPTools([*SERVER, "stdio", *options], cwd=ROOT, **more)


def old(*habits: str, **more: Any) -> MCPTools:
    return MCPTools([*OLD, *habits], cwd=ROOT, **more)


def http_server(**env: str) -> tuple[subprocess.Popen[str], str]:
    process = subprocess.Popen(
        [*SERVER, "http"], cwd=ROOT, env={**os.environ, **env}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    return process, process.stdout.readline().strip()


def end(process: subprocess.Popen[str]) -> None:
    with process:
        process.kill()


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    process, url = http_server()
    yield url
    end(process)


@handler
async def using(self: HandlerCoroutine[Any], work: Callable[..., Any], *tools: Any) -> Any:
    """Run ``work(node, toolbox)`` with opened tools."""
    return await work(self, await Toolbox(tools).opened(self))


@handler
async def calling(self: HandlerCoroutine[Any], tools: Any, *calls: tuple[str, dict[str, Any]]) -> list[ToolResult]:
    """Make calls one after the other, each with the tools as they are then."""
    results = []
    for name, arguments in calls:
        toolbox = await Toolbox([tools]).opened(self)
        results.append(await toolbox.run(self, ToolCall("c", name, arguments)))
    return results


@handler
async def listing(self: HandlerCoroutine[Any], *tools: Any) -> list[str]:
    return [tool.name for tool in await Toolbox(tools).opened(self)]


def call(commander: Commander[Any], tools: Any, name: str, /, **arguments: Any) -> ToolResult:
    (result,) = commander.submit(calling(tools, (name, arguments))).result()
    return result


def pid_of(commander: Commander[Any], tools: Any) -> int:
    pid: int = call(commander, tools, "whoami").value.structured["pid"]
    return pid


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    with contextlib.suppress(OSError):
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    return False


def wait_gone(pid: int, seconds: float = PATIENCE) -> bool:
    """Somebody else's child is reaped by somebody else, in their own time."""
    ends = monotonic() + seconds
    while is_alive(pid) and monotonic() < ends:
        sleep(0.02)
    return not is_alive(pid)


# What tools give


def test_results_of_every_kind_over_stdio() -> None:
    results_of_every_kind(stdio())


def test_results_of_every_kind_over_http(url: str) -> None:
    results_of_every_kind(MCPTools(url=url))


def results_of_every_kind(tools: MCPTools) -> None:
    with Commander() as commander:
        added = call(commander, tools, "add", a=1, b=2)
        assert (added.content, added.failed) == ("3", False)
        assert isinstance(added.value, MCPResult)
        assert added.value.structured == {"result": 3}
        assert pickle.loads(pickle.dumps(added.value)).structured == {"result": 3}
        parts = call(commander, tools, "parts")
        assert parts.content.splitlines() == [
            "One.",
            "[image: image/png, 5 bytes]",
            "Two.",
            "[resource b: file:///b.txt] The second.",
        ]
        assert len(parts.value.content) == 4
        assert call(commander, tools, "only_structured").content == '{"degrees": 22}'
        assert call(commander, tools, "picture").content == "[image: image/png, 3 bytes]"
        failed = call(commander, tools, "fail")
        assert failed.failed
        assert failed.content.startswith('{"error": "Error executing tool fail')
        wrong = call(commander, tools, "add", a=1)
        assert wrong.failed
        assert "b: required, and missing" in wrong.content
        assert "there is no tool named 'nothing'" in call(commander, tools, "nothing").content
        assert call(commander, tools, "a_dotted_name").content == "dotted"


def test_what_a_model_is_told() -> None:
    async def look(node: Any, toolbox: Toolbox) -> Any:
        return toolbox.get("add"), [tool.name for tool in toolbox], toolbox is await Toolbox([tools]).opened(node)

    def here() -> str:
        return "here"

    tools = stdio(prefix="x-", only=["add", "fail"], to_user=True)
    with Commander() as commander:
        names = commander.submit(listing(here, tools, Tool.from_schema("last", "", {}, print))).result()
        assert names == ["here", "x-add", "x-fail", "last"]
        add, names, _ = commander.submit(using(look, stdio())).result()
    assert isinstance(add, Tool)
    assert add.description == "Add two numbers."
    assert add.parameters["required"] == ["a", "b"]
    assert names[-1] == "a_dotted_name"


def test_to_user_never_reaches_the_server() -> None:
    with Commander() as commander:
        assert call(commander, stdio(to_user=True), "add", to_user="I add.", a=1, b=2).content == "3"


@pytest.mark.parametrize("option", [False, True])
def test_a_parameter_of_the_servers_own_named_to_user(option: bool) -> None:
    async def look(_: Any, toolbox: Toolbox) -> Any:
        return toolbox.get("send_message")

    tools = stdio(to_user=option)
    said = {"to_user": "I send it."} if option else {}
    with Commander() as commander:
        made = commander.submit(using(look, tools)).result()
        assert list(made.parameters["properties"]) == [*said, "to_user_", "text"]
        assert made.parameters["required"] == [*said, "to_user_"]
        assert call(commander, tools, "send_message", **said, to_user_="Bob").content == "sent to Bob: Hello"
        assert "to_user_: required, and missing" in call(commander, tools, "send_message", **said).content


def test_a_name_that_is_free() -> None:
    shown, own = without_to_user(
        {
            "properties": {"to_user": {"type": "object", "required": ["to_user"]}, "to_user_": {}},
            "required": ["to_user_", "to_user"],
            "dependentRequired": {"to_user": ["to_user_"], "to_user_": ["to_user"]},
            "dependentSchemas": {"to_user": {"required": ["to_user"]}},
            "anyOf": [{"required": ["to_user"]}, True],
            "not": {"properties": {"to_user": {"const": "me"}}},
        }
    )
    assert own == "to_user__"
    assert shown == {
        "properties": {"to_user__": {"type": "object", "required": ["to_user"]}, "to_user_": {}},
        "required": ["to_user_", "to_user__"],
        "dependentRequired": {"to_user__": ["to_user_"], "to_user_": ["to_user__"]},
        "dependentSchemas": {"to_user__": {"required": ["to_user__"]}},
        "anyOf": [{"required": ["to_user__"]}, True],
        "not": {"properties": {"to_user__": {"const": "me"}}},
    }
    odd: dict[str, Any] = {"properties": 7, "required": "to_user", "anyOf": None, "dependentRequired": []}
    assert without_to_user(odd) == (odd, None)


def test_the_same_tools_are_the_same_toolbox() -> None:
    tools = old()

    async def look(node: Any, _: Toolbox) -> bool:
        toolbox = Toolbox([tools])
        return await toolbox.opened(node) is await toolbox.opened(node)

    with Commander() as commander:
        assert commander.submit(using(look, tools)).result()


def test_two_servers_with_tools_of_one_name() -> None:
    with Commander() as commander:
        with pytest.raises(ToolDefinitionError, match=r"'greet'.*prefix="):
            commander.submit(listing(old(), old())).result()
        names = commander.submit(listing(old(prefix="a_"), old(prefix="b_"))).result()
    assert names == ["a_greet", "a_grow", "a_odd", "b_greet", "b_grow", "b_odd"]


def test_the_person_is_asked() -> None:
    host = ScriptedHost(["no", "yes"])
    tools = old(needs_approval=["greet"])
    with Commander(host=host) as commander:
        assert call(commander, tools, "grow").content == "grow!"
        assert call(commander, tools, "greet").failed
        assert call(commander, tools, "greet").content == "greet!"
    assert len(host.asked) == 2


# Lists of tools


@pytest.mark.parametrize("habits", [(), ("pages",), ("garbage",)])
def test_a_server_of_the_older_protocol(habits: tuple[str, ...], caplog: pytest.LogCaptureFixture) -> None:
    tools = old(*habits)
    with Commander() as commander:
        assert commander.submit(listing(tools)).result() == ["greet", "grow", "odd"]
        assert "goes without it: the parameters of the tool 'bad' are a JSON schema of type 'object'" in caplog.text
        grown = commander.submit(calling(tools, ("grow", {}), ("grown", {}), ("greet", {}))).result()
        assert [result.content for result in grown] == ["grow!", "grown!", "greet!"]


@pytest.mark.parametrize("how", ["stdio", "http"])
def test_a_list_that_changes(how: str, url: str) -> None:
    tools = stdio() if how == "stdio" else MCPTools(url=url)
    with Commander() as commander:
        for name in (f"{how}_1", f"{how}_2", f"{how}_3"):
            assert name not in commander.submit(listing(tools)).result()
            assert call(commander, tools, "learn", name=name).content == "learnt"
            ends = monotonic() + PATIENCE
            while name not in commander.submit(listing(tools)).result():  # the news may come after the result
                assert monotonic() < ends
            assert call(commander, tools, name).content == f"I am {name}"


def test_lists_that_cannot_be_had() -> None:
    with Commander() as commander:
        with pytest.raises(MCPServerError, match="does not list its tools: no list today"):
            commander.submit(listing(old("listless"))).result()
        with pytest.raises(MCPServerError, match="does not list its tools: no answer within 3 s"):
            commander.submit(listing(old("tools/list", open_timeout=3))).result()  # in which it must get ready, too
        with pytest.raises(MCPServerError, match="more than 100 pages"):
            commander.submit(listing(old("endless", "pages"))).result()


@pytest.mark.parametrize("option", ["only", "needs_approval"])
@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("nothing", "it has: bad, greet, grow, odd"),
        ("my_greet", "name it as the server does: 'greet'"),
        ("", "it has: bad, greet, grow, odd"),
    ],
)
def test_options_that_name_tools_which_are_not_there(option: str, name: str, advice: str) -> None:
    tools = old(prefix="my_", **{option: ["greet", name]})
    with Commander() as commander:
        for _ in range(2):
            with pytest.raises(MCPServerError) as caught:
                commander.submit(listing(tools)).result()
            assert str(caught.value).endswith(f"has no tool {name!r} ({option}=...); {advice}")


def test_the_name_that_models_use_is_not_the_servers() -> None:
    with Commander() as commander, pytest.raises(MCPServerError, match=r"as the server does: 'a\.dotted/name'"):
        commander.submit(listing(stdio(needs_approval=["a_dotted_name"]))).result()


@pytest.mark.parametrize(("approval", "asked"), [(["greet"], 1), ([], 0), (False, 0), (True, 2)])
def test_a_tool_that_comes_later_needs_approval_where_names_were_given(approval: Any, asked: int) -> None:
    host = ScriptedHost(["y"] * asked)
    with Commander(host=host) as commander:
        commander.submit(calling(old(needs_approval=approval), ("grow", {}), ("grown", {}))).result()
    assert [prompt.split()[1] for prompt in host.asked] == ["grow()?", "grown()?"][2 - asked :]


def test_a_tool_that_needed_approval_and_is_gone_for_a_while() -> None:
    host = ScriptedHost(["y", "y"])
    calls: list[tuple[str, dict[str, Any]]] = [("greet", {}), ("hide", {}), ("greet", {}), ("show", {}), ("greet", {})]
    with Commander(host=host) as commander:
        results = commander.submit(calling(old("hides", needs_approval=["greet"]), *calls)).result()
    assert [result.content[:6] for result in results] == ["greet!", "hide!", '{"erro', "show!", "greet!"]
    assert len(host.asked) == 2


# Servers that do not come up


@pytest.mark.parametrize(
    ("command", "problem"),
    [
        (["/no/such/server", "--port", "1"], r"the MCP server /no/such/server --port 1 could not be started: FileNotF"),
        ([sys.executable, "-c", "print('Hello')"], r"ended before it was ready \(exit code 0\)"),
        (
            [sys.executable, "-c", "import sys; sys.exit('the key is missing')"],
            r"(?s)ended before it was ready \(exit code 1\).*wrote to stderr:\nthe key is missing",
        ),
    ],
)
def test_commands_that_are_no_servers(command: list[str], problem: str) -> None:
    with Commander() as commander:
        for _ in range(2):
            with pytest.raises(MCPServerError, match=problem):
                commander.submit(listing(MCPTools(command))).result()


def test_a_directory_that_is_not_there(tmp_path: Path) -> None:
    with Commander() as commander, pytest.raises(MCPServerError, match="could not be started"):
        commander.submit(listing(MCPTools([*OLD], cwd=tmp_path / "nothing"))).result()


def test_a_server_that_does_not_get_ready() -> None:
    tools = old("mute", open_timeout=0.5)
    with Commander() as commander:
        began = monotonic()
        with pytest.raises(MCPServerError, match=r"did not get ready within 0\.5 s"):
            commander.submit(listing(tools)).result()
        assert monotonic() - began < PATIENCE


def test_addresses_where_nobody_is(url: str) -> None:
    with Commander() as commander:
        with pytest.raises(MCPServerError, match=r"the MCP server at http://127\.0\.0\.1:1/mcp cannot be reached"):
            commander.submit(listing(MCPTools(url="http://127.0.0.1:1/mcp?key=secret"))).result()
        with pytest.raises(MCPServerError, match="cannot be reached"):
            commander.submit(listing(MCPTools(url=url.replace("/mcp", "/elsewhere")))).result()


def test_headers_are_sent() -> None:
    process, url = http_server(EXPECTED_KEY="s3cret")
    try:
        with Commander() as commander:
            with pytest.raises(MCPServerError, match="cannot be reached"):
                commander.submit(listing(MCPTools(url=url))).result()
            tools = MCPTools(url=url, headers={"Authorization": "Bearer s3cret"})
            assert call(commander, tools, "add", a=1, b=1).content == "2"
            assert "s3cret" not in repr(tools)
    finally:
        end(process)


# Servers that go wrong


def test_a_server_that_dies_in_a_call_is_started_again(caplog: pytest.LogCaptureFixture) -> None:
    tools = stdio()
    with Commander() as commander:
        first = pid_of(commander, tools)
        died = call(commander, tools, "die")
        assert died.content == '{"error": "the MCP server ended during the call (exit code 3)"}'
        assert "these are my last words" in caplog.text
        assert pid_of(commander, tools) != first


def test_a_server_that_is_killed_between_calls_is_started_again() -> None:
    tools = stdio()
    with Commander() as commander:
        first = pid_of(commander, tools)
        os.kill(first, signal.SIGKILL)
        wait_gone(first)
        assert pid_of(commander, tools) != first


def test_a_server_over_http_that_goes_and_comes_back() -> None:
    process, url = http_server()
    tools = MCPTools(url=url)
    try:
        with Commander() as commander:
            assert call(commander, tools, "add", a=1, b=2).content == "3"
            end(process)
            for _ in range(2):
                gone = call(commander, tools, "add", a=1, b=2)
                assert gone.failed
                assert "the MCP server" in gone.content
            process, _ = http_server(PORT=url.split(":")[2].split("/")[0])
            assert call(commander, tools, "add", a=2, b=2).content == "4"
    finally:
        end(process)


@pytest.mark.parametrize("how", ["stdio", "http"])
def test_a_call_that_never_ends(how: str, url: str) -> None:
    tools = stdio(timeout=0.5) if how == "stdio" else MCPTools(url=url, timeout=0.5)
    with Commander() as commander:
        hung = call(commander, tools, "hang")
        assert hung.content == '{"error": "the tool hang timed out after 0.5 s"}'
        ends = monotonic() + PATIENCE
        while (added := call(commander, tools, "add", a=1, b=2)).failed and monotonic() < ends:
            assert "timed out" in added.content  # half a second may be short on a busy machine
        assert added.content == "3"


def test_a_flood_on_stderr_holds_nothing_up() -> None:
    tools = stdio("noise")
    with Commander() as commander:
        assert call(commander, tools, "flood", lines=20_000).content == "flooded"
        assert call(commander, tools, "add", a=1, b=2).content == "3"


def test_calls_side_by_side() -> None:
    tools = stdio()

    async def work(node: Any, toolbox: Toolbox) -> list[str]:
        results = await toolbox.run_all(node, [ToolCall(str(n), "add", {"a": n, "b": n}) for n in range(30)])
        return [result.content for result in results]

    with Commander() as commander:
        futures = [commander.submit(using(work, tools)) for _ in range(4)]
        for future in futures:
            assert future.result() == [str(2 * n) for n in range(30)]


# The end


def test_one_object_serves_commanders_one_after_another_and_side_by_side() -> None:
    tools = stdio()
    seen = set()
    for _ in range(2):
        with Commander() as commander:
            seen |= {pid_of(commander, tools), pid_of(commander, tools)}
    assert len(seen) == 2
    with Commander() as one, Commander() as other:
        seen |= {pid_of(one, tools), pid_of(other, tools)}
    assert len(seen) == 4
    assert not any(map(is_alive, seen))
    commander = Commander()
    for _ in range(2):
        with commander:
            seen.add(pid_of(commander, tools))
    assert len(seen) == 6
    assert tools._connections == {}


def test_a_polite_server_may_take_its_leave(tmp_path: Path) -> None:
    bye = tmp_path / "bye"
    program = f"""
import atexit, pathlib, sys
atexit.register(lambda: pathlib.Path({str(bye)!r}).write_text("bye"))
from tests.support.old_mcp_server import main
main()
"""
    with Commander() as commander:
        assert call(commander, MCPTools([sys.executable, "-c", program], cwd=ROOT), "greet").content == "greet!"
    assert bye.read_text() == "bye"


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_a_server_that_will_not_go_is_killed_with_its_children() -> None:
    with Commander() as commander:
        pid = pid_of(commander, stdio("deaf", "child"))
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        assert children
        began = monotonic()
    assert monotonic() - began < PATIENCE
    assert not is_alive(pid)
    assert all(wait_gone(int(child)) for child in children)


def test_a_commander_without_patience(caplog: pytest.LogCaptureFixture) -> None:
    with Commander(grace=0.3) as commander:
        pid = pid_of(commander, stdio("deaf"))
        began = monotonic()
    assert monotonic() - began < PATIENCE
    assert wait_gone(pid)
    assert "an at_commander_end callback did not end within 0.3 s" in caplog.text


def test_exit_in_the_middle_of_a_call() -> None:
    tools = stdio()
    commander = Commander().start()
    pid = pid_of(commander, tools)
    hanging = commander.submit(calling(tools, ("hang", {})))
    while "hang" not in str(commander.tree()):
        sleep(0.01)
    commander.exit()
    assert hanging.cancelled()
    with pytest.raises(NodeTerminatedError):
        hanging.result()
    assert not is_alive(pid)


def test_exit_while_the_server_starts() -> None:
    commander = Commander().start()
    starting = commander.submit(listing(old("mute")))
    while "open_mcp_server" not in str(commander.tree()):
        sleep(0.01)
    began = monotonic()
    commander.exit()
    assert starting.cancelled()
    assert monotonic() - began < PATIENCE


def test_a_turn_that_is_cancelled_leaves_the_server_to_the_next() -> None:
    tools = stdio()
    with Commander() as commander:
        first = commander.submit(listing(tools))
        while "open_mcp_server" not in str(commander.tree()):
            sleep(0.01)
        assert first.cancel()
        assert call(commander, tools, "add", a=1, b=2).content == "3"


PROGRAM = """
    import os, signal, sys, threading, time
    from agere import Commander, handler
    from agere.tools import Toolbox, ToolCall
    from agere.tools.mcp import MCPTools

    tools = MCPTools([sys.executable, "-m", "tests.support.mcp_server", "stdio", *sys.argv[2:]], cwd=sys.argv[1])

    @handler
    async def go(self, name):
        toolbox = await Toolbox([tools]).opened(self)
        print((await toolbox.run(self, ToolCall("c", "whoami", {}))).value.structured["pid"], flush=True)
        return await toolbox.run(self, ToolCall("c", name, {}))
"""


@pytest.mark.parametrize("options", [(), ("deaf",)], ids=["polite", "deaf"])
@pytest.mark.parametrize("name", ["add", "hang"])
def test_a_forgotten_commander(name: str, options: tuple[str, ...]) -> None:
    program = (
        PROGRAM
        + f"""
    commander = Commander(stall=60).start()
    job = commander.submit(go({name!r}))
    if {name!r} == "hang":
        while "hang" not in str(commander.tree()):
            time.sleep(0.01)
    else:
        job.result()
    """
    )
    outcome = run_python(program, str(ROOT), *options)
    outcome.check()
    assert outcome.err == ""
    assert wait_gone(int(outcome.out))


def test_ctrl_c() -> None:
    program = (
        PROGRAM
        + """
    def interrupt():
        while "hang" not in str(commander.tree()):
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    commander = Commander(stall=60)
    threading.Thread(target=interrupt).start()
    try:
        with commander:
            commander.submit(go("hang")).result()
    except KeyboardInterrupt:
        print("interrupted")
    """
    )
    outcome = run_python(program, str(ROOT))
    outcome.check()
    pid, told = outcome.out.split()
    assert told == "interrupted"
    assert not is_alive(int(pid))


# Wrong use


@pytest.mark.parametrize(
    ("arguments", "kind", "problem"),
    [
        ({}, TypeError, "either a command to start, or the url"),
        ({"command": ["a"], "url": "http://a"}, TypeError, "either a command to start, or the url"),
        ({"command": "python server.py"}, TypeError, "a list, the program and its arguments"),
        ({"command": []}, ValueError, "command is empty"),
        ({"command": ["a", 1]}, TypeError, "1 is none"),
        ({"command": ["a"], "headers": {}}, TypeError, "headers go with a url"),
        ({"url": "http://a", "env": {}}, TypeError, "go with a command"),
        ({"url": "http://a", "cwd": "."}, TypeError, "go with a command"),
        ({"url": "localhost:80/mcp"}, ValueError, "the address of a server"),
        ({"url": "http://a:b/"}, ValueError, "the address of a server"),
        ({"url": 7}, TypeError, "url is a str"),
        ({"command": ["a"], "env": {"A": 1}}, TypeError, "env is a dict of strings; 'A' is not"),
        ({"command": ["a"], "env": ["A"]}, TypeError, "env is a dict of strings"),
        ({"url": "http://a", "headers": {1: "a"}}, TypeError, "headers is a dict"),
        ({"command": ["a"], "prefix": "a."}, ValueError, "prefix takes"),
        ({"command": ["a"], "only": "add"}, TypeError, "only is a list of names"),
        ({"command": ["a"], "only": [1]}, TypeError, "only is a list of names"),
        ({"command": ["a"], "needs_approval": "add"}, TypeError, "needs_approval is a list"),
        ({"command": ["a"], "timeout": 0}, ValueError, "timeout is a number of seconds above 0"),
        ({"command": ["a"], "timeout": float("inf")}, ValueError, "timeout is a number"),
        ({"command": ["a"], "open_timeout": None}, ValueError, "open_timeout is a number"),
        ({"command": ["a"], "to_user": "x"}, TypeError, "to_user is True or False"),
    ],
)
def test_wrong_arguments(arguments: dict[str, Any], kind: type[Exception], problem: str) -> None:
    with pytest.raises(kind, match=problem):
        MCPTools(**arguments)


def test_a_missing_package_is_named() -> None:
    run_python(
        """
        import sys
        sys.modules["mcp"] = None
        from agere.tools.mcp import MCPTools
        try:
            MCPTools(["a"])
        except ImportError as error:
            assert "pip install 'agere[mcp]'" in str(error), error
        else:
            raise SystemExit("no error")
        """
    ).check()


def test_making_one_imports_nothing_heavy() -> None:
    run_python(
        """
        import sys
        import agere
        from agere.tools.mcp import MCPTools
        assert agere.MCPTools is MCPTools
        MCPTools(["a"])
        assert not {"mcp", "mcp_types", "anyio", "pydantic", "httpx2"} & set(sys.modules)
        """
    ).check()


def test_env_is_what_the_server_gets_beside_harmless_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEY", "not for you")
    with Commander() as commander:
        told = call(commander, stdio(env={"MARK": "here"}), "whoami").value.structured
    assert (told["mark"], told["key"], told["cwd"]) == ("here", None, str(ROOT))


def test_commands_may_be_long_and_errors_are_not() -> None:
    assert len(repr(MCPTools(["python", "x" * 10_000]))) < 400
    assert logging.getLogger("agere.tools.mcp").level == logging.NOTSET
