"""The fault matrix: what a hostile user could do, each combination in a process of its own, with a verdict.

``python -m tests.faults`` prints the table. The scenarios are generated, in one module per class of faults:
``callbacks``, ``bodies``, ``misuse``, ``lifecycle``, ``streams``, ``dispatcher``, ``process``, ``scale``, ``waiting``.
``runner`` and ``zygote`` give each one a process and a hard limit, ``child`` runs it there, ``ledger`` keeps accounts.
``python -m tests.faults.soak`` is the randomized companion.
"""
