"""Hosts: where the person is. See ``agere.commander.Host`` for what one has to do."""

from agere.commander.host import Host, MainThreadHost

from .scripted import ScriptedHost

__all__ = ["Host", "MainThreadHost", "ScriptedHost"]
