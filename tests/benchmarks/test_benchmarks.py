"""Each workload runs and tells what is promised. Nothing here looks at a time."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from benchmarks import __main__ as command
from benchmarks.measure import Case, Pairs, interleave, lone, quartiles
from benchmarks.table import as_table, read_records
from benchmarks.workload import FULL, QUICK, TINY
from benchmarks.workloads import WORKLOADS

RECORD_FIELDS = {"workload", "about", "beside", "size", "seconds", "python", "system", "cores", "load", "cases"}
CASE_FIELDS = {"case", "figure", "unit", "goal", "met", "low", "high", "ours", "beside", "per", "pairs", "notes"}
ROWS = "submit round_trip tree chain memory stream stream_latency streams dispatcher turn chat_turn import_time"


def test_there_is_a_workload_for_each_row_of_the_goals():
    assert list(WORKLOADS) == ROWS.split()
    for workload in WORKLOADS.values():
        assert set(workload.sizes) == {FULL, QUICK, TINY}


@pytest.mark.parametrize("name", WORKLOADS)
def test_a_workload_runs_and_gives_its_figures(name, capsys):
    assert command.main(["--here", "--size", TINY, name]) == 0
    (record,) = read_records(capsys.readouterr().out.splitlines())
    assert set(record) == RECORD_FIELDS
    assert record["workload"] == name
    assert record["cases"]
    for case in record["cases"]:
        assert set(case) == CASE_FIELDS
        assert math.isfinite(case["figure"])
        assert case["low"] <= case["figure"] <= case["high"]
        assert case["pairs"] >= 1
        assert case["met"] in ((True, False) if case["goal"] else (None,))
    table = as_table([record])
    assert name in table
    assert all(case["case"] in table for case in record["cases"])


def test_the_command_measures_in_a_fresh_process_and_prints_a_line_for_each_workload(capfd):
    assert command.main(["--json", "--size", TINY, "stream", "round_trip"]) == 0
    lines = capfd.readouterr().out.splitlines()
    assert [json.loads(line)["workload"] for line in lines] == ["stream", "round_trip"]


def test_an_unknown_workload_is_refused(capsys):
    with pytest.raises(SystemExit) as refused:
        command.main(["no_such_workload"])
    assert refused.value.code == 2
    assert "no_such_workload" in capsys.readouterr().err


def test_pairs_are_interleaved_in_changing_order():
    calls: list[str] = []

    def probe(name: str, seconds: float):
        return lambda: calls.append(name) or seconds

    pairs = interleave(probe("ours", 3.0), probe("beside", 2.0), 4, warm_up=False)
    assert calls == ["ours", "beside", "beside", "ours"] * 2
    assert pairs == Pairs([3.0] * 4, [2.0] * 4)


def test_a_ratio_is_the_median_of_the_pairs_ratios():
    case = Pairs([2.0, 8.0, 3.0], [1.0, 2.0, 1.0]).ratio("name", 3.0, 1e6, "us")
    assert (case.figure, case.low, case.high, case.unit) == (3.0, 2.0, 4.0, "x")
    assert (case.ours, case.beside, case.pairs, case.met) == (3e6, 1e6, 3, True)


def test_a_difference_is_told_in_its_unit():
    case = Pairs([0.005, 0.007, 0.006], [0.001, 0.001, 0.001]).difference("name", 3.0, 1e3, "ms")
    assert round(case.figure, 9) == 5.0
    assert case.unit == "ms"
    assert case.met is False


@pytest.mark.parametrize(("figure", "met"), [(1.1, True), (1.104, True), (1.106, False)])
def test_a_goal_is_reached_in_the_digits_that_are_shown(figure, met):
    assert lone("name", [figure], "x", 1.1).met is met
    assert lone("name", [figure], "x", None).met is None


def test_quartiles():
    assert quartiles([1.0]) == (1.0, 1.0)
    assert quartiles([3.0, 1.0, 2.0]) == (1.0, 3.0)
    assert quartiles([1.0, 2.0, 3.0, 4.0, 5.0]) == (2.0, 4.0)


def test_the_table_says_when_others_were_at_work(capsys):
    case = Case("case", 1.0, "x", 2.0, 1.0, 1.0, 1.0, 1.0, "us", 1, {"a_note": "kept"}).as_json()
    where = {"python": "3", "system": "any", "cores": 2, "cases": [case], "workload": "w"}
    assert "may be off" not in as_table([{**where, "load": 0.4}])
    busy = as_table([{**where, "load": 9.0}])
    assert "may be off" in busy
    assert "a note kept" in busy


def test_the_picture_is_drawn(tmp_path):
    pytest.importorskip("matplotlib")
    from benchmarks import picture

    case = Case("case", 1.0, "x", 2.0, 0.9, 1.1, 1.0, 1.0, "us", 3).as_json()
    results = tmp_path / "results.jsonl"
    results.write_text(json.dumps({"workload": "w", "python": "3", "system": "any", "cores": 2, "cases": [case]}))
    picture.main([str(results), str(tmp_path / "made" / "picture.svg")])
    assert "<svg" in (tmp_path / "made" / "picture.svg").read_text()


def test_peers_are_measured_only_by_name(capsys):
    from benchmarks import peers

    with pytest.raises(SystemExit) as refused:
        peers.main([])
    assert refused.value.code == 2
    assert "PEER" in capsys.readouterr().err
    for peer in peers.PEERS.values():
        assert (Path(peers.__file__).parent / "peer_turns" / f"{peer.module}.py").is_file()
