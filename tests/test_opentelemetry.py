"""The page about OpenTelemetry is run as it stands, with the SDK's exporter that keeps spans in memory."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from agere import Commander, Job, current_node, handler, tasker
from agere.commander import BasicJob, NodeTerminatedError
from agere.commander.edge import add_edge
from tests.support.order import Gate

PAGE = (Path(__file__).parents[1] / "docs" / "opentelemetry.md").read_text()
RECIPE, USE = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


class Traced:
    """A commander with the page's subscriber, and the spans that came out."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.tracer = provider.get_tracer("tests")
        space: dict[str, Any] = {"__name__": "recipe"}
        exec(RECIPE, space)
        self.subscriber = space["NodeSpans"](self.tracer)
        self.commander: Commander[Any] = Commander()
        self.commander.subscribe(self.subscriber, in_context=True)

    @property
    def spans(self) -> dict[str, ReadableSpan]:
        return {span.name: span for span in self.exporter.get_finished_spans()}

    def parent(self, name: str) -> str | None:
        parent = self.spans[name].parent
        if parent is None:
            return None
        return next(span.name for span in self.spans.values() if span.context.span_id == parent.span_id)


@pytest.fixture
def traced() -> Iterator[Traced]:
    traced = Traced()
    with traced.commander:
        yield traced
    assert not traced.subscriber.spans


def test_the_page_as_it_stands(capsys: pytest.CaptureFixture[str]) -> None:
    space: dict[str, Any] = {"__name__": "page"}
    exec(RECIPE + USE, space)
    assert capsys.readouterr().out == "It is 22 degrees in Rome.\n"
    spans = {span.context.span_id: span for span in space["exporter"].get_finished_spans()}
    parents = {span.name: spans[span.parent.span_id].name for span in spans.values() if span.parent is not None}
    assert parents == {
        "answer": "question",
        "look_up": "answer",
        "http request": "look_up",
        "wording": "answer",
    }
    shown = re.search(r"```\n(question.*?)```", PAGE, re.DOTALL)
    assert shown is not None
    assert set(re.findall(r"[a-z_]+(?: [a-z]+)?", shown.group(1))) == {"question", *parents}


def test_jobs_handlers_tails_and_worker_threads(traced: Traced) -> None:
    tracer = traced.tracer

    @handler
    def in_worker(self_handler: Any) -> None:
        with tracer.start_as_current_span("own in worker"):
            time.sleep(0.02)

    @handler
    async def tail(self_handler: Any) -> None:
        with tracer.start_as_current_span("own in tail"):
            await self_handler.call_handler(in_worker())
            await asyncio.to_thread(tracer.start_span("own in a thread").end)

    class Asks(Job[None]):
        @tasker
        async def task(self) -> Any:
            with tracer.start_as_current_span("own in job"):
                return tail()

    class Plain(Job[None]):
        @tasker
        def task(self) -> None:
            with tracer.start_as_current_span("own in def job"):
                current_node().submit(in_worker()).result()

    traced.commander.submit(Asks()).result(10)
    assert {name: traced.parent(name) for name in traced.spans} == {
        "Asks": None,
        "own in job": "Asks",
        "tail": "Asks",
        "own in tail": "tail",
        "in_worker": "tail",
        "own in worker": "in_worker",
        "own in a thread": "own in tail",
    }
    span = traced.spans["in_worker"]
    assert span.attributes is not None
    assert (span.attributes["agere.node.kind"], span.attributes["agere.node.state"]) == ("handler", "COMPLETED")
    assert span.start_time is not None
    assert span.end_time is not None
    assert 0.02 <= (span.end_time - span.start_time) / 1e9 < 10
    assert abs(span.start_time / 1e9 - time.time()) < 60
    traced.exporter.clear()
    traced.commander.submit(Plain()).result(10)
    assert traced.parent("in_worker") == "Plain"
    assert traced.parent("own in def job") == "Plain"


def test_failures_and_terminations(traced: Traced, caplog: pytest.LogCaptureFixture) -> None:
    def fails() -> None:
        raise ValueError("no")

    async def outer() -> None:
        await current_node().submit(fails)

    job = BasicJob(lambda: 1, name="with a bad callback")
    job.add_callback_functions("at_job_end", {"function": lambda: {}[1]})
    assert isinstance(traced.commander.submit(outer).exception(10), ValueError)
    traced.commander.submit(job).result(10)
    endless = traced.commander.submit(asyncio.Event().wait)
    while not endless.running():
        pass
    endless.cancel()
    with pytest.raises(NodeTerminatedError):
        endless.result(10)
    for name in ("fails", "outer"):
        span = traced.spans[name]
        assert span.status.status_code is StatusCode.ERROR
        assert span.events[0].name == "exception"
        assert span.events[0].attributes is not None
        assert span.events[0].attributes["exception.message"] == "no"
    span = traced.spans["with a bad callback"]
    assert span.status.status_code is StatusCode.UNSET
    assert [event.name for event in span.events] == ["exception"]
    span = traced.spans["wait"]
    assert span.attributes is not None
    assert span.attributes["agere.node.state"] == "TERMINATED"
    assert span.status.status_code is StatusCode.UNSET


def test_edges_stand_side_by_side_below_what_they_were_submitted_in(traced: Traced) -> None:
    ended = Gate()
    first, second = BasicJob(lambda: 1, name="first"), BasicJob(lambda: 2, name="second")
    second.add_callback_functions("at_job_end", {"function": ended.open})
    add_edge(first, second)
    with traced.tracer.start_as_current_span("outside"):
        traced.commander.submit(first).result(10)
        ended.wait()
        traced.commander.submit(asyncio.sleep, 0).result(10)  # by now the second one has left
    assert traced.parent("first") == "outside"
    assert traced.parent("second") == "outside"
