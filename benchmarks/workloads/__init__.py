"""The workloads, one for each row of the table of goals, in its order."""

from __future__ import annotations

from benchmarks.workload import AnyWorkload
from benchmarks.workloads import (
    chain,
    chat_turn,
    dispatcher,
    import_time,
    memory,
    round_trip,
    stream,
    stream_latency,
    streams,
    submit,
    tree,
    turn,
)

WORKLOADS: dict[str, AnyWorkload] = {
    module.WORKLOAD.name: module.WORKLOAD
    for module in (
        submit,
        round_trip,
        tree,
        chain,
        memory,
        stream,
        stream_latency,
        streams,
        dispatcher,
        turn,
        chat_turn,
        import_time,
    )
}
