"""Bundles of several inputs and outputs, on an `.npz` file with an array for each input."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from narrow import some
from numpy.typing import NDArray

from tinsmith_bench import Options, bench
from tinsmith_bench.rendering.html import html
from tinsmith_bench.rendering.markdown import markdown
from tinsmith_bench.report_data import Report
from tinsmith_bench.report_data.reading import parse_report
from tinsmith_runtime import InputError, UsageError
from tinsmith_runtime.cli import main

pytestmark = pytest.mark.slow

DATA = Path(__file__).parents[1] / "data"
PAIR, MIXED = DATA / "pair.tin", DATA / "mixed.tin"
QUICK = Options(rounds=4, processes=2, cold_starts=1, batches=(1, 8), rate_hz=1000, profile_calls=5)


@pytest.fixture(scope="session")
def inputs(tiny_samples: Path) -> dict[str, Any]:
    """What both bundles take, and the classes."""
    with np.load(tiny_samples) as arrays:
        pixels, labels = arrays["x_test"], arrays["y_test"]
    sums = pixels.sum(axis=(2, 3), dtype=np.float32) / np.float32(255)
    return {"pixels": pixels, "sums": sums, "y": labels}


@pytest.fixture(scope="session")
def data(inputs: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("several") / "test.npz"
    np.savez(path, **inputs)
    return path


@pytest.fixture(scope="session")
def report(data: Path) -> Report:
    return bench([PAIR], data=data, options=QUICK)


def test_all_but_accuracy_is_measured(report: Report) -> None:
    assert (report.dataset.samples, report.dataset.targets) == (100, "none")
    assert len(report.variants) == len(report.profiles) == 4
    for one in report.variants:
        assert one.speed.latency_us.p50 > 0
        assert one.speed.engine_us.p50 > 0
        assert [entry.batch for entry in one.speed.throughput] == [1, 8]
        assert some(one.speed.paced_us).p50 > 0
        assert some(one.cold_start).peak_rss_bytes.value > 1e7
        assert (one.accuracy, one.regression) == (None, None)
    assert all(profile.operators for profile in report.profiles)
    assert any("The model has several outputs" in note for note in report.notes)
    assert ", at worst: SQNR" in report.verdict[1]


def test_each_output_is_compared_by_itself(report: Report) -> None:
    float_, int8 = report.variants[:2]
    assert float_.fidelity is None
    fidelity = some(int8.fidelity)
    assert [output.name for output in fidelity.outputs] == ["shares", "place"]
    assert fidelity.agreement is None
    assert all(some(output.sqnr_db) > 25 and output.cosine > 0.99 for output in fidelity.outputs)
    worst = min(fidelity.outputs, key=lambda output: some(output.sqnr_db))
    assert (fidelity.sqnr_db, fidelity.mae) == (worst.sqnr_db, worst.mae)
    # The engines give the same integers, so they are as close to float.
    other = report.variants[3].fidelity
    assert [output.mae for output in some(other).outputs] == pytest.approx(
        [output.mae for output in fidelity.outputs], rel=1e-3
    )


def test_every_renderer_shows_them(report: Report) -> None:
    for text in (markdown(report), html(report)):
        assert "int8 on LiteRT: place" in text
    assert parse_report(report.to_json(), "report") == report


def test_classes_of_several_inputs(data: Path) -> None:
    report = bench([MIXED], data=data, options=replace(QUICK, rate_hz=None, profile_calls=0))
    assert report.dataset.targets == "labels"
    float_, int8 = report.variants[:2]
    assert some(float_.accuracy).correct > 85
    assert some(some(int8.fidelity).agreement).value > 0.95
    assert some(int8.fidelity).outputs == ()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sums": None}, "expected arrays pixels, sums, and y where labels are known"),
        ({"sums": np.zeros((100, 7), np.float32)}, r"sums: the bundle takes features float32 \(8,"),
        ({"pixels": np.zeros((100, 8, 8, 1))}, r"pixels: the bundle takes images uint8 \(8, 8, 1"),
        ({"sums": np.zeros((99, 8))}, r"expected as many samples of each input, got \[100, 99\]"),
    ],
)
def test_data_that_does_not_fit(
    inputs: dict[str, Any],
    tmp_path: Path,
    changes: dict[str, NDArray[Any] | None],
    message: str,
) -> None:
    path = tmp_path / "test.npz"
    kept = {name: array for name, array in (inputs | changes).items() if array is not None}
    np.savez(path, **kept)
    with pytest.raises(InputError, match=rf"test\.npz: {message}"):
        bench([PAIR], data=path, options=QUICK)


def test_what_gives_one_input(tmp_path: Path) -> None:
    wanted = "the bundle takes 2 inputs: name an .npz file with --data that has an array for each"
    with pytest.raises(InputError, match=f"digits: {wanted}: pixels, sums"):
        bench([PAIR], dataset="digits", options=QUICK)
    with pytest.raises(InputError, match=wanted):
        bench([PAIR], data=tmp_path, options=QUICK)


def test_what_needs_one_input_and_output(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", str(PAIR), "--data", str(data), "--against", "ort-ptq"]) == 2
    said = capsys.readouterr().err
    assert said == (
        "tinsmith: error: --against: other routes are known for one input and one output alone\n"
    )
    with pytest.raises(UsageError, match="expected bundles with the same classes"):
        bench([PAIR, MIXED], data=data, options=QUICK)
