"""The tool turn of ``workloads/turn.py`` in other libraries, each in an environment of its own (see ``peers.py``)."""
