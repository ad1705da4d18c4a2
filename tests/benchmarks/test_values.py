"""Models whose inputs are features and whose outputs are values: errors instead of accuracy."""

import io
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from narrow import array, some
from numpy.typing import NDArray

from tinsmith_bench import Options, bench
from tinsmith_bench.rendering.html import html
from tinsmith_bench.rendering.markdown import markdown
from tinsmith_bench.report_data import Report
from tinsmith_runtime import Manifest, UsageError, read_bundle, write_bundle
from tinsmith_runtime.bundle import sha256
from tinsmith_runtime.record import parse_record

pytestmark = pytest.mark.slow

QUICK = Options(rounds=4, processes=2, cold_starts=1, batches=(1,))


@pytest.fixture(scope="session")
def values(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model as a regressor: it takes what its pixels stand for, and gives three values."""
    bundle = read_bundle(tiny)
    golden, buffer = bundle.golden(), io.BytesIO()
    np.savez(
        buffer,
        inputs=array(golden.inputs) / np.float32(255),
        outputs_int8=golden.outputs_int8,
        outputs_float=golden.outputs_float,
    )
    files = {variant.file: bundle.files[variant.file] for variant in bundle.manifest.variants}
    files[bundle.manifest.golden.file] = buffer.getvalue()
    tree = asdict(bundle.manifest)
    tree["inputs"][0].update(kind="features", dtype="float32", layout=None, preprocessing=None)
    tree["outputs"][0].update(kind="values", labels=[], activation="none")
    tree["golden"].update(size_bytes=len(buffer.getvalue()), sha256=sha256(buffer.getvalue()))
    path = tmp_path_factory.mktemp("values") / "values.tin"
    write_bundle(path, parse_record(Manifest, jsonable(tree)), files)
    return path


def jsonable(tree: Any) -> Any:
    if isinstance(tree, dict):
        return {key: jsonable(value) for key, value in tree.items()}
    return [jsonable(item) for item in tree] if isinstance(tree, tuple | list) else tree


@pytest.fixture(scope="session")
def inputs(tiny_samples: Path) -> NDArray[np.float32]:
    with np.load(tiny_samples) as arrays:
        return array(arrays["x_test"] / np.float32(255))


@pytest.fixture(scope="session")
def report(
    values: Path, inputs: NDArray[np.float32], tmp_path_factory: pytest.TempPathFactory
) -> Report:
    path = tmp_path_factory.mktemp("data") / "test.npz"
    targets = np.zeros((len(inputs), 3), np.float32)
    np.savez(path, x=inputs, y=targets)
    return bench([values], data=path, options=QUICK)


def test_errors_against_targets_are_compared_with_floats(report: Report) -> None:
    assert report.dataset.targets == "values"
    float_, int8 = report.variants[:2]
    assert float_.accuracy is None
    assert some(int8.regression).mae.value == pytest.approx(
        some(float_.regression).mae.value, rel=0.05
    )
    assert some(int8.fidelity).agreement is None
    assert some(some(int8.fidelity).sqnr_db) > 20
    assert some(int8.fidelity).cosine > 0.99
    pair = report.compare(int8.id, float_.id)
    assert some(pair.mae_ratio).low <= some(pair.mae_ratio).value <= some(pair.mae_ratio).high
    assert (pair.agreement, pair.lost, pair.mcnemar_p) == (None, None, None)
    assert "mean absolute error" in report.verdict[1]


def test_every_renderer_shows_them(report: Report) -> None:
    assert "error (MAE)" in markdown(report)
    assert "Mean absolute error against latency" in html(report)


def test_without_targets_only_closeness_to_float_is_told(
    values: Path, inputs: NDArray[np.float32], tmp_path: Path
) -> None:
    path = tmp_path / "test.npz"
    # Labels mean nothing to a model that gives values.
    np.savez(path, x=inputs, y=np.arange(len(inputs)) % 3)
    report = bench([values], data=path, options=QUICK)
    assert report.dataset.targets == "none"
    assert {one.regression for one in report.variants} == {None}
    assert "SQNR" in report.verdict[1]
    np.savez(path, x=inputs, y=np.zeros((len(inputs), 2), np.float32))
    with pytest.raises(UsageError, match=r"expected targets \(100, 3\), got \(100, 2\)"):
        bench([values], data=path, options=QUICK)
