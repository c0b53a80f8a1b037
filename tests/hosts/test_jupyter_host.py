"""``JupyterHost`` where there is no kernel, and which host a commander finds."""

from __future__ import annotations

import pytest

from agere.commander.host import MainThreadHost, default_host, main_thread_host
from agere.errors import HostError, NoKernelError
from agere.hosts import JupyterHost
from tests.support.kernel import Kernel
from tests.support.subprocesses import run_python


def test_outside_of_a_kernel_it_says_so() -> None:
    with pytest.raises(NoKernelError, match="leave `host` out") as raised:
        JupyterHost()
    assert isinstance(raised.value, HostError)


def test_without_ipykernel_it_names_the_extra() -> None:
    run_python(
        """
        import sys
        for name in ("ipykernel", "IPython"):
            sys.modules[name] = None
        from agere import run
        assert run(lambda: 3) == 3
        from agere.hosts import JupyterHost
        try:
            JupyterHost()
        except ImportError as error:
            print(error)
        """
    ).check(out="JupyterHost needs the package ipykernel: pip install 'agere[jupyter]'\n")


def test_a_process_that_has_only_imported_ipykernel_is_no_kernel() -> None:
    run_python(
        """
        import sys
        import ipykernel.ipkernel
        from agere.commander.host import default_host, main_thread_host
        assert default_host() is main_thread_host()
        assert "agere.hosts.jupyter" in sys.modules
        """
    ).check()


def test_by_default_it_is_the_main_thread_and_nothing_of_jupyter_is_imported() -> None:
    assert default_host() is main_thread_host()
    run_python(
        """
        import sys
        from agere import run
        from agere.hosts import Host
        assert run(lambda: 3) == 3
        assert not {"IPython", "ipykernel", "agere.hosts.jupyter"} & set(sys.modules)
        """
    ).check()


def test_in_a_kernel_it_is_the_kernels(kernel: Kernel) -> None:
    cell = kernel.ok(
        """
        from agere.commander.host import default_host
        from agere.hosts import JupyterHost
        type(default_host()) is JupyterHost, default_host() is default_host()
        """
    )
    assert cell.value == "(True, True)"
    asked = "def asks(): return current_node().ask('who? ')\n"
    own = "with Commander(host=JupyterHost()) as c: future = c.submit(asks)\nfuture.result()"
    assert kernel.ok(asked + own, "me").value == "'me'"


def test_a_forked_child_of_a_kernel_has_the_main_threads_host(kernel: Kernel) -> None:
    cell = kernel.ok(
        """
        import os
        from agere.commander.host import main_thread_host
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.write(writing, str(default_host() is main_thread_host()).encode())
            os._exit(0)
        os.waitpid(child, 0)
        told = os.read(reading, 10)
        os.close(reading), os.close(writing)
        told
        """
    )
    assert cell.value == "b'True'"


def test_it_is_a_host_of_the_main_thread() -> None:
    assert issubclass(JupyterHost, MainThreadHost)
