import io
from dataclasses import replace

import pytest
from rich.console import Console

from tinsmith_bench.table import WIDTH, markdown, print_report


@pytest.fixture
def report(make_report, spec):
    """Numbers as wide as a slow board and a large model make them."""
    return make_report(
        spec("litert", "float", 8_125, correct=10_000, size_bytes=1_146_000, memory=104e6),
        spec("litert", "int8", 4_192, size_bytes=345_000, memory=101e6),
        spec("onnx", "float", 9_999, size_bytes=1_150_000, memory=155e6),
        spec("onnx", "int8", 3_187, size_bytes=347_000, memory=151e6),
    )


def printed(report):
    console = Console(file=io.StringIO(), width=WIDTH)
    print_report(report, console)
    return console.file.getvalue()


def test_the_terminal_report_fits_and_cuts_nothing_off(report):
    text = printed(report)
    assert max(map(len, text.splitlines())) <= WIDTH
    assert "…" not in text
    assert "99.40 [99.23, 99.53]" in text
    assert "ONNX Runtime int8" in text


@pytest.mark.parametrize("render", [printed, markdown])
def test_every_report_names_dataset_machine_notes_and_verdict(report, render):
    text = " ".join(render(report).split())
    assert "dataset: digits, 10,000 test images, sha256 abababababab" in text
    assert "machine: Testbed, 2 cores, x86_64, Debian, load average 0.1" in text
    assert "software: LiteRT 2.3.0, ONNX Runtime 1.32.0, Python 3.11.7, 1 thread" in text
    assert "ONNX Runtime is not installed here." in text
    for paragraph in report.verdict:
        assert paragraph in text


def test_markdown_is_one_table_with_a_row_a_variant(report):
    lines = [line for line in markdown(report).splitlines() if line.startswith("|")]
    assert len(lines) == 2 + len(report.rows)
    assert {line.count("|") for line in lines} == {14}
    assert lines[2].startswith("| LiteRT | float | 100.00 [99.96, 100.00] | 99.95 | 8125 |")


def test_without_a_float_model_agreement_is_left_open(make_report, spec):
    report = make_report(spec("litert", "int8", 90))
    alone = replace(report, rows=[replace(report.rows[0], agreement=None)])
    assert "| - |" in markdown(alone)
