"""Which host a commander gets that is given none. The hosts themselves are imported only where they are used."""

from __future__ import annotations

import sys

from agere.commander.host import Host, choose_default_host_by, main_thread_host


def default_host() -> Host:
    """Any thread. The notebook within a Jupyter kernel; else the main thread and its terminal."""
    if "ipykernel" in sys.modules:
        from agere.hosts import jupyter

        return jupyter.default_host()
    return main_thread_host()


choose_default_host_by(default_host)
