"""Two reports against each other, and the conditions under which a benchmark fails."""

import json
import math
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from narrow import some
from spec import Spec

from tinsmith_bench.gates.compare import METRICS, Move, moves, moves_table
from tinsmith_bench.gates.gate import failures, parse_gate
from tinsmith_bench.report_data import Estimate, Regression, Report
from tinsmith_runtime import UsageError
from tinsmith_runtime.cli import main

Two = Callable[..., tuple[Report, Report]]
Compare = Callable[..., tuple[int, list[str]]]


@pytest.fixture
def two(make_report: Callable[..., Report], spec: type[Spec]) -> Two:
    """Makes the same report twice, the second with changes to its int8 variant."""

    def make(**changes: Any) -> tuple[Report, Report]:
        old = {"p50": 100.0, "correct": 9_940, "size_bytes": 45_000}
        reports = [
            make_report(spec("litert", "float", 120.0), spec("litert", "int8", **fields))
            for fields in (old, {**old, **changes})
        ]
        return reports[0], reports[1]

    return make


def moved(old: Report, new: Report) -> dict[tuple[str, str], Move]:
    found, _ = moves(old, new)
    return {(move.variant, move.metric): move for move in found}


def failed(gates: list[str], old: Report, new: Report) -> list[tuple[str, str | None]]:
    found, _ = moves(old, new)
    return [(f.gate.text, f.variant) for f in failures([parse_gate(g) for g in gates], found)]


def test_a_report_has_not_moved_from_itself(two: Two) -> None:
    old, new = two()
    found, notes = moves(old, new)
    assert notes == []
    assert not any(move.is_real for move in found)
    assert {move.metric for move in found} == METRICS.keys() - {"mae", "map50", "map"}
    assert all(move.ratio.low <= 1 <= move.ratio.high for move in found)


@pytest.mark.parametrize(
    ("slowed", "fails"), [(1.01, False), (1.05, False), (1.15, True), (0.85, False)]
)
def test_an_engine_slowed_by_15_percent_fails_and_one_slowed_by_1_does_not(
    two: Two, slowed: float, fails: bool
) -> None:
    old, new = two(p50=100 * slowed)
    gate = "latency_us_p50 > 1.10x"
    assert failed([gate], old, new) == ([(gate, "int8-tflite")] if fails else [])
    move = moved(old, new)["int8-tflite", "latency_us_p50"]
    assert move.is_real == (abs(slowed - 1) > 0.03)
    assert move.ratio.low <= slowed * 1.005
    assert move.ratio.high >= slowed * 0.995


def test_a_slow_run_that_its_fastest_calls_deny_is_no_regression(two: Two) -> None:
    old, new = two(p50=125, fastest=89.0)
    assert failed(["latency_us_p50 > 1.10x"], old, new) == []


@pytest.fixture
def all_engines(make_report: Callable[..., Report], spec: type[Spec]) -> Callable[..., Report]:
    """Reports on all four variants, the machine and int8 on LiteRT so many times as slow."""

    def make(machine: float = 1.0, slowed: float = 1.0) -> Report:
        levels = {"litert": (100.0, 50.0 * slowed), "onnx": (80.0, 70.0)}
        return make_report(
            *(
                spec(engine, precision, machine * level)
                for engine, pair in levels.items()
                for precision, level in zip(("float", "int8"), pair, strict=True)
            )
        )

    return make


def really_moved(old: Report, new: Report) -> dict[tuple[str, str], float]:
    found = moved(old, new).items()
    return {key: move.ratio.value for key, move in found if move.is_real}


@pytest.mark.parametrize("drift", [0.8, 0.95, 1.0, 1.25, 1.8])
def test_a_machine_that_was_faster_then_is_no_regression(
    all_engines: Callable[..., Report], drift: float
) -> None:
    old, new = all_engines(), all_engines(machine=drift)
    assert really_moved(old, new) == {}
    _, notes = moves(old, new)
    expected = f"What has not changed takes {drift:.2f} times as long now"
    assert [note[: len(expected)] for note in notes] == ([] if drift == 1 else [expected])


@pytest.mark.parametrize("drift", [0.6, 0.95, 1.0, 1.25, 1.8])
def test_a_regression_is_found_whatever_the_machine_does(
    all_engines: Callable[..., Report], drift: float
) -> None:
    """All times of the slowed variant, and of no other, by as much as it was slowed."""
    found = really_moved(all_engines(), all_engines(machine=drift, slowed=1.15))
    assert found.keys() == {
        ("int8-tflite", f"{way}_us_{quantile}")
        for way in ("latency", "engine")
        for quantile in ("p50", "p90")
    }
    assert all(value == pytest.approx(1.15, abs=0.01) for value in found.values())


def test_times_are_not_relative_to_what_may_have_changed(
    all_engines: Callable[..., Report],
) -> None:
    """A new version of tinsmith, Python or the engine, or another bundle, whatever its size."""
    old, new = all_engines(), all_engines(machine=1.25)
    machine = replace(new.machine, python="3.99")
    engines = [replace(one, engine_version="Newer 2.0") for one in new.variants]
    for changed in (
        replace(new, tinsmith="99"),
        replace(new, machine=machine),
        replace(new, variants=tuple(engines)),
        replace(new, bundles=(replace(new.bundles[0], sha256="ef" * 32),)),
    ):
        assert {name for name, _ in really_moved(old, changed)} == {v.id for v in old.variants}


def test_accuracy_fails_by_points_and_only_beyond_chance(two: Two) -> None:
    gate = "accuracy < -0.2pp"
    assert failed([gate], *two(correct=9_900)) == [(gate, "int8-tflite")]
    assert failed([gate], *two(correct=9_925)) == []
    # 0.05 points beyond a limit of 0.01, but five samples can be chance (p = 0.06).
    assert failed(["accuracy < -0.01pp"], *two(correct=9_935)) == []
    assert failed(["accuracy < -0.01pp"], *two(correct=9_934)) == [
        ("accuracy < -0.01pp", "int8-tflite")
    ]


def test_a_fixed_limit_needs_no_baseline(two: Two) -> None:
    report, _ = two()
    assert failed(["size_bytes > 44999"], report, report) == [
        ("size_bytes > 44999", "float-tflite"),
        ("size_bytes > 44999", "int8-tflite"),
    ]
    assert failed(["size_bytes > 45000", "accuracy < 99%"], report, report) == []
    assert failed(["latency_us_p50 > 110"], report, report) == [
        ("latency_us_p50 > 110", "float-tflite")
    ]


def test_memory_and_starts_move_when_their_ranges_lie_apart(two: Two) -> None:
    old, new = two(memory=50e6, start_ms=300)
    found = moved(old, new)
    assert found["int8-tflite", "peak_rss_bytes"].is_real
    assert found["int8-tflite", "start_ms"].is_real
    assert failed(["start_ms > 1.2x", "peak_rss_bytes > 1.5x"], old, new) == [
        ("start_ms > 1.2x", "int8-tflite")
    ]
    old, new = two(memory=41.2e6, start_ms=205)
    assert not moved(old, new)["int8-tflite", "start_ms"].is_real


def test_times_of_two_machines_are_not_compared(two: Two) -> None:
    old, new = two(p50=200, size_bytes=60_000)
    new = replace(new, machine=replace(new.machine, cores=4))
    found, notes = moves(old, new)
    assert {move.metric for move in found} == {"accuracy", "agreement", "size_bytes"}
    assert "two machines (Testbed, 2 cores" in notes[0]
    assert failed(["latency_us_p50 > 1.10x"], old, new) == []
    assert failed(["size_bytes > 1.10x"], old, new) == [("size_bytes > 1.10x", "int8-tflite")]


def test_accuracy_on_two_datasets_is_not_compared(two: Two) -> None:
    old, new = two(correct=9_000)
    new = replace(new, dataset=replace(new.dataset, sha256="ef" * 32))
    found, notes = moves(old, new)
    assert not {"accuracy", "agreement"} & {move.metric for move in found}
    assert "two datasets" in notes[0]


def test_other_software_threads_and_variants_are_mentioned(two: Two) -> None:
    old, new = two()
    machine = replace(new.machine, engines={**new.machine.engines, "litert": "LiteRT 3.0"})
    method = replace(new.method, threads=(2,))
    new = replace(new, machine=machine, method=method, variants=new.variants[1:])
    _, notes = moves(old, new)
    assert any("software differs" in note and "LiteRT 3.0" in note for note in notes)
    assert any("1 before, 2 now" in note for note in notes)
    assert "Only there before: float-tflite." in notes


def test_errors_of_values_are_compared(two: Two) -> None:
    old, new = two()
    for mae, real in ((0.11, False), (0.2, True)):
        sides = []
        for report, value in ((old, 0.1), (new, mae)):
            error = Regression(Estimate(value, value - 0.01, value + 0.01), value)
            sides.append(
                replace(
                    report,
                    variants=tuple(
                        replace(one, accuracy=None, regression=error) for one in report.variants
                    ),
                )
            )
        assert moved(*sides)["int8-tflite", "mae"].is_real == real
        gates = ["mae > 1.05x"]
        assert bool(failed(gates, *sides)) == real


@pytest.mark.parametrize(
    "text",
    [
        *("", "latency_us_p50", "latency_us_p50 >", "latency_us_p50 = 3", "> 3", "speed > 1x"),
        *("latency_us_p50 > 1.1y", "latency_us_p50 > x", "size_bytes < -2pp", "size_bytes > 3%"),
        *("latency_us_p50 > 1e3", "accuracy < nan", "accuracy > inf", "size_bytes > -inf"),
        *("size_bytes > " + "9" * 400, "accuracy < nanpp", "start_ms > 1.0nanx"),
    ],
)
def test_a_condition_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--fail-if"):
        parse_gate(text)


def test_conditions_may_be_written_without_spaces() -> None:
    gate = parse_gate(" accuracy<-0.2pp ")
    assert (gate.metric, gate.is_above, gate.limit, gate.unit) == ("accuracy", False, -0.2, "pp")


def test_the_table_marks_only_what_moved(two: Two) -> None:
    old, new = two(p50=130, correct=9_900, size_bytes=40_000)
    rows = {row[:2]: row[2:] for row in moves_table(moves(old, new)[0]).rows}
    assert rows["int8-tflite", "latency_us_p50"][-1] == "worse"
    assert rows["int8-tflite", "accuracy in %"] == ("99.40", "99", "-0.40 pp", "worse")
    assert rows["int8-tflite", "size_bytes"][-1] == "better"
    assert rows["float-tflite", "latency_us_p50"][-1] == ""
    assert ("float-tflite", "latency_us_p90") not in rows


@pytest.fixture
def files(two: Two, tmp_path: Path) -> tuple[str, str]:
    old, new = two(p50=130)
    (tmp_path / "old.json").write_text(old.to_json())
    (tmp_path / "new.json").write_text(new.to_json())
    return str(tmp_path / "old.json"), str(tmp_path / "new.json")


def test_compare_prints_what_moved_and_keeps_the_gates(
    files: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compare", *files]) == 0
    said = capsys.readouterr().out
    assert "worse" in said
    assert main(["compare", *files, "--fail-if", "latency_us_p50 > 1.10x"]) == 1
    said = " ".join(capsys.readouterr().out.split())
    assert "Failed: latency_us_p50 > 1.10x: int8-tflite: 1.3" in said
    assert main(["compare", *files, "--fail-if", "latency_us_p50 > 1.50x"]) == 0
    assert "No gate of 1 failed." in capsys.readouterr().out
    assert main(["compare", files[0], files[0]]) == 0
    assert "Nothing moved by more than chance explains." in capsys.readouterr().out


def test_compare_speaks_json(files: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", *files, "--json", "--fail-if", "latency_us_p50 > 1.1x"]) == 1
    out, err = capsys.readouterr()
    tree = json.loads(out)
    (worse,) = [
        move
        for move in tree["moves"]
        if (move["metric"], move["variant"]) == ("latency_us_p50", "int8-tflite")
    ]
    assert worse["is_real"] is True
    assert worse["old"] == pytest.approx(100, rel=0.02)
    assert "Failed" in err


@pytest.fixture
def compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Compare:
    """Runs `tinsmith compare` on two reports; gives its status and its lines."""

    def compare(old: Report, new: Report, *gates: str) -> tuple[int, list[str]]:
        for name, report in (("old.json", old), ("new.json", new)):
            (tmp_path / name).write_text(report.to_json())
        words = [word for gate in gates for word in ("--fail-if", gate)]
        found = []
        for json_alone in ([], ["--json"]):
            paths = [str(tmp_path / "old.json"), str(tmp_path / "new.json")]
            status = main(["compare", *paths, *json_alone, *words])
            out, err = capsys.readouterr()
            said = " ".join((err if json_alone else out).split())
            found.append(
                (status, re.findall(r"(?:Not tried|Failed): .*?(?=Not tried|Failed|$)", said))
            )
        assert found[0] == found[1]
        return found[0]

    return compare


def test_a_gate_that_cannot_be_tried_fails(two: Two, compared: Compare) -> None:
    old, new = two()
    gate = "latency_us_p50 > 1.1x"
    other = replace(new, machine=replace(new.machine, model="Another"))
    status, (line,) = compared(old, other, gate, "size_bytes > 2x")
    assert status == 1
    assert line.startswith(f"Not tried: {gate}: latency_us_p50 could not be compared. The reports")
    method = replace(new.method, threads=(2,))
    variants = [
        replace(one, speeds=tuple(replace(s, threads=2) for s in one.speeds))
        for one in new.variants
    ]
    pairs = [
        replace(pair, speeds=tuple(replace(s, threads=2) for s in pair.speeds))
        for pair in new.comparisons
    ]
    threads = replace(new, method=method, variants=tuple(variants), comparisons=tuple(pairs))
    status, (line,) = compared(old, threads, gate)
    assert (status, "The threads differ (1 before, 2 now)" in line) == (1, True)
    data = replace(new, dataset=replace(new.dataset, sha256="ef" * 32))
    status, (line,) = compared(old, data, "accuracy < -0.2pp")
    assert (status, "two datasets" in line) == (1, True)
    status, lines = compared(old, new, "mae > 1.1x", "mae > 5", gate)
    assert status == 1
    assert [line.strip() for line in lines] == [
        "Not tried: mae > 1.1x: mae could not be compared.",
        "Not tried: mae > 5: mae is not in the report.",
    ]


def test_a_gate_on_a_number_needs_no_like_machine_or_data(two: Two, compared: Compare) -> None:
    old, new = two(size_bytes=60_000)
    machine = replace(new.machine, model="Another")
    other = replace(new, machine=machine, dataset=replace(new.dataset, sha256="ef" * 32))
    status, lines = compared(old, other, "latency_us_p50 > 1", "accuracy < 99.7%")
    assert status == 1
    assert [line.split(":")[0] for line in lines] == ["Failed"] * 4
    assert compared(old, other, "latency_us_p50 > 1000", "accuracy < 90%") == (0, [])


def _without(report: Report, gone: str) -> Report:
    return replace(
        report,
        variants=tuple(one for one in report.variants if one.id != gone),
        comparisons=tuple(
            pair for pair in report.comparisons if gone not in (pair.candidate, pair.baseline)
        ),
        bundles=report.bundles,
    )


def test_a_variant_that_vanished_or_is_new_fails_the_gates(two: Two, compared: Compare) -> None:
    old, new = two()
    less = _without(new, "int8-tflite")
    for gate in ("latency_us_p50 > 1.1x", "size_bytes > 50000", "accuracy < -0.2pp"):
        status, (line,) = compared(old, less, gate)
        assert status == 1
        assert line == f"Not tried: {gate}: int8-tflite: {GONE}"
    assert compared(old, less) == (0, [])
    status, (line,) = compared(less, new, "latency_us_p50 > 1.1x")
    assert (status, "int8-tflite: it is not in the baseline" in line) == (1, True)
    # The number itself can be looked at, though; and it is.
    assert compared(less, new, "size_bytes > 50000") == (0, [])
    status, (_, line) = compared(less, new, "size_bytes > 44000")
    assert (status, line.strip()) == (1, "Failed: size_bytes > 44000: int8-tflite: 45000")


GONE = "it is in the baseline alone: it was not measured now"


def test_one_variant_without_the_metric_fails_the_gate(two: Two, compared: Compare) -> None:
    old, new = two()
    float_, int8 = new.variants
    changed = replace(new, variants=(float_, replace(int8, cold_start=None)))
    for gate in ("peak_rss_bytes > 1.5x", "start_ms > 100000"):
        status, (line,) = compared(old, changed, gate)
        assert status == 1
        assert line.startswith(f"Not tried: {gate}: int8-tflite: one of the reports has no")
    # A float model agrees with itself by nature, and what is in no bundle cannot be started.
    assert compared(old, new, "agreement < -0.2pp", "agreement < 50%") == (0, [])
    competitor = replace(int8, bundle="competitor", cold_start=None)
    both = [replace(one, variants=(float_, competitor)) for one in (old, new)]
    assert compared(*both, "start_ms > 1.5x") == (0, [])


def test_few_starts_cannot_pass_a_gate(two: Two, compared: Compare) -> None:
    """Three starts are never called different, so that the gate could not fail."""
    old, new = two(start_ms=900)
    quick = replace(
        new,
        variants=tuple(
            replace(one, cold_start=replace(some(one.cold_start), runs=3)) for one in new.variants
        ),
    )
    status, (line,) = compared(old, quick, "start_ms > 1.2x")
    assert (status, "fewer than 5 cold starts" in line) == (1, True)


def test_nothing_and_no_number_are_beyond_every_limit(two: Two) -> None:
    error = Regression(Estimate(0.0, 0.0, 0.0), 0.0)
    sides = []
    for report, value in zip(two(), (0.0, 5.0), strict=True):
        mae = replace(error, mae=Estimate(value, value, value))
        variants = tuple(replace(one, accuracy=None, regression=mae) for one in report.variants)
        sides.append(replace(report, variants=variants))
    assert len(failed(["mae > 1.05x"], *sides)) == 2
    nan = Move("v", "mae", 1.0, math.nan, Estimate(math.nan, math.nan, math.nan), False)
    for text in ("mae > 1x", "mae < 1x", "mae > 1", "mae < 1"):
        (failure,) = failures([parse_gate(text)], [nan])
        assert failure.reason == "expected a number, got nan (1 before)"


def test_compare_refuses_what_is_no_report(
    tmp_path: Path, files: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "x.json").write_text("{}")
    assert main(["compare", files[0], str(tmp_path / "x.json")]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    with pytest.raises(SystemExit) as stop:
        main(["compare", "--help"])
    assert stop.value.code == 0
