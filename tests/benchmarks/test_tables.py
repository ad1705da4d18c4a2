"""Reports for people: the terminal's and Markdown."""

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from spec import Spec

from tinsmith_bench.gates.compare import moves, moves_table
from tinsmith_bench.rendering.markdown import markdown
from tinsmith_bench.rendering.tables import tables
from tinsmith_bench.rendering.terminal import open_terminal, print_report, print_table
from tinsmith_bench.report_data import Estimate, Regression, Report
from tinsmith_bench.target import bundle_names
from tinsmith_report.terminal import WIDTH


@pytest.fixture
def report(make_report: Callable[..., Report], spec: type[Spec]) -> Report:
    """Numbers as wide as a slow board and a large model make them."""
    return make_report(
        spec("litert", "float", 8_125, correct=10_000, size_bytes=1_146_000, memory=104e6),
        spec("litert", "int8", 4_192, size_bytes=345_000, memory=101e6),
        spec("onnx", "float", 9_999, size_bytes=1_150_000, memory=155e6),
        spec("onnx", "int8", 3_187, size_bytes=347_000, memory=151e6),
    )


def printed(report: Report) -> str:
    page = io.StringIO()
    print_report(report, open_terminal(page))
    return page.getvalue()


def paced(report: Report) -> Report:
    """The same with three numbers of threads and a fixed rate: the widest table there is."""
    variants = []
    for one in report.variants:
        speed = replace(one.speed, paced_us=one.speed.latency_us, late=0.05)
        variants.append(replace(one, speeds=tuple(replace(speed, threads=n) for n in (1, 2, 4))))
    method = replace(report.method, threads=(1, 2, 4), rate_hz=30.0)
    return replace(report, variants=tuple(variants), method=method)


def test_two_bundles_with_long_names_fit(
    make_report: Callable[..., Report], spec: type[Spec]
) -> None:
    specs = [
        spec(backend, precision, 8_125, bundle=bundle, size_bytes=1_146_000, memory=104e6)
        for bundle in ("keyword-spot-a", "keyword-spot-b")
        for backend in ("litert", "onnx")
        for precision in ("float", "int8")
    ]
    for change in (lambda report: report, paced):
        text = printed(change(make_report(*specs)))
        assert max(map(len, text.splitlines())) <= WIDTH
        assert "…" not in text
    assert bundle_names([Path("x/keyword-spot-a.tin"), Path("keyword-spot-b.tin")]) == [
        *("keyword-spot-a", "keyword-spot-b"),
    ]
    assert bundle_names([Path("a/digits.tin"), Path("b/digits.tin")]) == ["A", "B"]
    assert bundle_names([Path("a.tin"), Path("keyword-spotting.tin")]) == ["A", "B"]


@pytest.mark.parametrize("change", [lambda report: report, paced])
def test_the_terminal_report_fits_and_cuts_nothing_off(
    report: Report, change: Callable[[Report], Report]
) -> None:
    text = printed(change(report))
    assert max(map(len, text.splitlines())) <= WIDTH
    assert "…" not in text
    assert "99.40 [99.23, 99.53]" in text
    assert "int8 on ONNX Runtime" in text
    assert "0.516 [0.511, 0.521]  faster" in text


def test_a_table_of_moves_fits_too(
    report: Report, make_report: Callable[..., Report], spec: type[Spec]
) -> None:
    table = moves_table(moves(report, report)[0], ["start_ms", "peak_rss_bytes"])
    page = io.StringIO()
    print_table(table, open_terminal(page))
    text = page.getvalue()
    assert max(map(len, text.splitlines())) <= WIDTH
    assert "104,000,000" in text


@pytest.mark.parametrize("render", [printed, markdown])
def test_every_report_names_dataset_machine_notes_and_verdict(
    report: Report, render: Callable[[Report], str]
) -> None:
    text = " ".join(render(report).split())
    assert "dataset**: digits" in text or "dataset: digits, 10,000 samples, sha256 abab" in text
    assert "Testbed with NEON, 2 cores, 2 GiB, aarch64, Debian, Linux 6.1" in text
    assert "LiteRT 2.3.0, ONNX Runtime 1.32.0, Python 3.11.7, 1 thread" in text
    assert "clock 1500 before, 1500 MHz after" in text
    assert "governor performance; throttling: none; on mains" in text
    assert "ONNX Runtime is not installed here." in text
    assert "The machine ran on battery." in text
    for paragraph in report.verdict:
        assert paragraph in text


def test_reading_a_file_is_told_where_there_were_files(report: Report) -> None:
    dataset = replace(report.dataset, decode_us=812.4)
    assert "a file is read in 812 µs" in " ".join(printed(replace(report, dataset=dataset)).split())
    assert "a file is read" not in printed(report)


def test_the_verdict_comes_first(report: Report) -> None:
    assert printed(report).startswith("On this machine ship float on LiteRT")
    assert markdown(report).startswith("On this machine ship float on LiteRT")


def test_markdown_tables_have_a_row_a_variant(report: Report) -> None:
    overview = markdown(report).split("### Overview\n\n")[1].split("\n\n")[0].splitlines()
    assert len(overview) == 2 + len(report.variants)
    assert len({line.count("|") for line in overview}) == 1
    assert overview[2].startswith("| float on LiteRT | 100.00 [99.96, 100.00] | 812")


def test_without_a_float_model_nothing_is_compared(
    make_report: Callable[..., Report], spec: type[Spec]
) -> None:
    report = make_report(spec("litert", "int8", 90))
    assert "Close to float" not in markdown(report)
    assert "| - |" in markdown(report)


def test_without_labels_there_is_agreement_alone(
    make_report: Callable[..., Report], spec: type[Spec]
) -> None:
    report = make_report(
        spec("litert", "float", 100, labelled=False, correct=9_945),
        spec("litert", "int8", 50, labelled=False, correct=9_940),
    )
    text = printed(report)
    assert "10,000 samples, without targets" in text
    assert "Without labels only agreement can be told: 99.95 %" in " ".join(text.split())
    assert "Accuracy of each class" not in text
    assert "McNemar p =" not in text


def test_values_have_errors_instead_of_accuracy(
    make_report: Callable[..., Report], spec: type[Spec]
) -> None:
    report = make_report(spec("litert", "float", 100), spec("litert", "int8", 50))
    regression = Regression(Estimate(0.123, 0.12, 0.13), 0.2)
    variants = tuple(replace(one, accuracy=None, regression=regression) for one in report.variants)
    dataset = replace(report.dataset, targets="values", labels=())
    text = printed(replace(report, variants=variants, dataset=dataset))
    assert "error (MAE)" in text
    assert "0.123 [0.12, 0.13]" in text


def test_changes_of_a_class_stand_in_brackets(
    make_report: Callable[..., Report], spec: type[Spec]
) -> None:
    report = make_report(
        spec("litert", "float", 100, correct=10_000), spec("litert", "int8", 50, correct=9_900)
    )
    (table,) = [table for table in tables(report) if table.title.startswith("Accuracy of each")]
    assert table.rows[0] == ("zero", "3,334", "100.00", "97.00 (-3.00)")
    assert table.rows[1] == ("one", "3,333", "100.00", "100.00")


def test_two_bundles_share_a_table_and_only_real_differences_are_marked(
    make_report: Callable[..., Report], spec: type[Spec]
) -> None:
    report = make_report(
        spec("litert", "float", 100, bundle="a"),
        spec("litert", "int8", 50, bundle="a", size_bytes=45_000),
        spec("litert", "float", 101, bundle="b"),
        spec("litert", "int8", 40, bundle="b", size_bytes=44_000, correct=9_900),
    )
    overview = next(tables(report))
    marks = {row[0]: row[4] for row in overview.rows}
    assert marks == {
        "a: float on LiteRT": "",
        "a: int8 on LiteRT": "faster",
        "b: float on LiteRT": "same",
        "b: int8 on LiteRT": "faster",
    }
    assert report.verdict[-2] == "b: float on LiteRT against a: float on LiteRT: no difference."
    last = report.verdict[-1]
    assert "b: int8 on LiteRT against a: int8 on LiteRT: it takes 0.80 of its time" in last
    assert "-0.40 points of accuracy" in last
    assert "44.0 kB, not 45.0" in last
    assert "memory" not in last
