import json
import os
from collections.abc import Callable
from pathlib import Path

import jsonschema
import pytest
from spec import Spec

from tinsmith_bench import parse_report, read_report
from tinsmith_bench.command.output import check_writable, write_text
from tinsmith_bench.report_data import SCHEMA_VERSION, Report
from tinsmith_bench.report_data.schema import report_schema
from tinsmith_runtime import InputError, TinsmithError, UsageError

SCHEMA = Path(__file__).parents[2] / "docs" / "report.schema.json"


@pytest.fixture
def report(make_report: Callable[..., Report], spec: type[Spec]) -> Report:
    return make_report(
        spec("litert", "float", 125, correct=9_945), spec("litert", "int8", 192, correct=9_940)
    )


def test_the_schema_in_the_docs_is_that_of_the_code_and_describes_every_field() -> None:
    assert json.loads(SCHEMA.read_text()) == report_schema()
    jsonschema.Draft202012Validator.check_schema(report_schema())


def test_a_report_follows_the_schema(report: Report) -> None:
    tree = json.loads(report.to_json())
    jsonschema.validate(tree, json.loads(SCHEMA.read_text()))
    for wrong in ({**tree, "extra": 1}, {**tree, "schema_version": 1}, {"schema_version": 2}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(wrong, report_schema())


def test_json_says_which_version_it_is_and_keeps_the_numbers(report: Report) -> None:
    text = report.to_json()
    assert text.count("\n") < 600  # lists of numbers take a line
    tree = json.loads(text)
    assert next(iter(tree)) == "schema_version"
    assert tree["schema_version"] == SCHEMA_VERSION
    assert [(v["id"], v["size_bytes"]) for v in tree["variants"]] == [
        ("float-tflite", 45_000),
        ("int8-tflite", 45_000),
    ]
    (pair,) = tree["comparisons"]
    assert (pair["candidate"], pair["baseline"]) == ("int8-tflite", "float-tflite")
    assert tree["verdict"] == list(report.verdict)


def test_what_is_written_is_read_again(report: Report, tmp_path: Path) -> None:
    assert parse_report(report.to_json()) == report
    path = tmp_path / "report.json"
    write_text(path, report.to_json())
    assert read_report(path) == report


def test_a_comparison_can_be_had_in_either_direction(report: Report) -> None:
    there = report.compare("int8-tflite", "float-tflite")
    back = report.compare("float-tflite", "int8-tflite")
    assert there.speed.latency.value == pytest.approx(192 / 125)
    assert back.speed.latency.low == pytest.approx(1 / there.speed.latency.high)
    assert (there.lost, there.won) == (back.won, back.lost) == (5, 0)
    assert back.inverse().speed.fastest == pytest.approx(there.speed.fastest)
    with pytest.raises(KeyError):
        report.compare("int8-tflite", "none")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "report: Expecting"),
        ("[1]", "expected a report of `tinsmith bench --json`"),
        ("{}", "expected a report of `tinsmith bench --json`"),
        ('{"schema_version": 1}', "schema_version: expected 2, got 1: measure again"),
        ('{"schema_version": 2}', "tinsmith: missing"),
        ("[" * 100_000, "report: "),
    ],
)
def test_what_is_no_report_is_refused(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_report(text)


def test_a_field_of_a_wrong_kind_is_named_with_its_path(report: Report) -> None:
    tree = json.loads(report.to_json())
    tree["variants"][1]["speeds"][0]["latency_us"]["p50"] = "fast"
    with pytest.raises(InputError, match=r"variants\[1\]\.speeds\[0\]\.latency_us\.p50"):
        parse_report(json.dumps(tree), "old.json")


def test_a_missing_report_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"none\.json: cannot be read"):
        read_report(tmp_path / "none.json")


def test_a_file_is_replaced_whole_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    write_text(path, "old")
    write_text(path, "µs")
    assert path.read_text(encoding="utf-8") == "µs"
    assert list(tmp_path.iterdir()) == [path]


def test_a_missing_folder_and_a_folder_in_the_way_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no folder"):
        check_writable(tmp_path / "none" / "report.json")
    with pytest.raises(UsageError, match="expected a file, got a folder"):
        check_writable(tmp_path)
    with pytest.raises(UsageError, match="cannot be written: File name too long"):
        check_writable(tmp_path / ("x" * 300))
    with pytest.raises(TinsmithError, match="cannot be written"):
        write_text(tmp_path, "text")
    assert list(tmp_path.iterdir()) == []


def test_a_report_that_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.json")
    with pytest.raises(UsageError, match="cannot be read: expected a file, found a pipe"):
        read_report(tmp_path / "pipe.json")
    with (tmp_path / "hole.json").open("wb") as stream:
        stream.truncate(300_000_000)
    with pytest.raises(UsageError, match="cannot be read: expected at most 16777216 bytes"):
        read_report(tmp_path / "hole.json")
