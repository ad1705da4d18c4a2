import json
import re
from pathlib import Path

import pytest

from tinsmith_bench.report import check_writable, write_text
from tinsmith_runtime import UsageError

README = Path(__file__).parents[2] / "benchmarks" / "README.md"


def fields(value, path=""):
    """The paths of a JSON document's fields, as the README writes them."""
    if (
        isinstance(value, dict)
        and value.keys() != {"value", "low", "high"}
        and path != "machine.engines"
    ):
        prefix = f"{path}." if path else ""
        return {found for key in value for found in fields(value[key], prefix + key)}
    if isinstance(value, list):
        return {found for item in value for found in fields(item, f"{path}[]")}
    return {path}


@pytest.fixture
def report(make_report, spec):
    return make_report(spec("litert", "float", 125), spec("litert", "int8", 192))


def test_the_readme_documents_every_field_and_no_other(report):
    documented = re.findall(r"^\| `([^`]+)` \|", README.read_text(), flags=re.MULTILINE)
    assert len(documented) == len(set(documented))
    assert fields(json.loads(report.json())) == set(documented)


def test_json_says_which_version_it_is_and_keeps_the_numbers(report):
    tree = json.loads(report.json())
    assert next(iter(tree)) == "schema_version"
    assert tree["schema_version"] == 1
    assert [row["latency_us"]["p50"] for row in tree["rows"]] == [125, 192]
    assert [(pair["candidate"], pair["baseline"]) for pair in tree["comparisons"]] == [
        ("model.float.tflite", "model.int8.tflite"),
        ("model.int8.tflite", "model.float.tflite"),
    ]
    assert tree["verdict"] == list(report.verdict)


def test_a_file_is_replaced_whole_and_nothing_is_left_beside_it(tmp_path):
    path = tmp_path / "report.json"
    write_text(path, "old")
    write_text(path, "µs")
    assert path.read_text(encoding="utf-8") == "µs"
    assert list(tmp_path.iterdir()) == [path]


def test_a_missing_folder_and_a_folder_in_the_way_are_refused(tmp_path):
    with pytest.raises(UsageError, match="there is no folder"):
        check_writable(tmp_path / "none" / "report.json")
    with pytest.raises(UsageError, match="expected a file, got a folder"):
        check_writable(tmp_path)
    with pytest.raises(UsageError, match="cannot be written: File name too long"):
        check_writable(tmp_path / ("x" * 300))
    with pytest.raises(UsageError, match="cannot be written"):
        write_text(tmp_path, "text")
    assert list(tmp_path.iterdir()) == []
