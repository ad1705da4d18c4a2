"""`--against`: routes of a package made up for the test, through the command and its processes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from narrow import some

from tinsmith_bench import Options, bench
from tinsmith_bench.competitors import (
    Material,
    as_floats,
    check_names,
    competitor_target,
    make_competitors,
)
from tinsmith_runtime import UsageError, read_bundle

pytestmark = pytest.mark.slow

TINY = Path(__file__).parents[1] / "data" / "tiny.tin"
TINSMITH = str(Path(sys.executable).with_name("tinsmith"))
# A distribution as pip would have installed it.
ENTRY_POINTS = """
[tinsmith.competitors]
same = routes:same
broken = routes:broken
crash = routes:crash
own = routes:own
picky = routes:picky

[tinsmith.runners]
toy = routes:Toy
"""
ROUTES = '''
import os
from dataclasses import dataclass
import numpy as np
from tinsmith_runtime.errors import UsageError


@dataclass
class CompetitorModel:
    form: str
    precision: str
    data: bytes
    activated: bool = False
    codes: tuple[float, int] | None = None


def same(*, float_onnx, **_):
    print("a converter that chats")
    return CompetitorModel("onnx", "float", float_onnx)


def broken(*, inputs, labels, grid, **_):
    assert inputs.dtype == np.float32 and 0 <= inputs.min() and inputs.max() <= 1
    assert len(labels) == len(inputs) and grid[1] == -128
    raise RuntimeError("no kernel for this\\nand a long story")


def crash(**_):
    os.abort()


def own(**_):
    return CompetitorModel("toy", "float", b"2")


def picky(**_):
    raise UsageError("it wants a model: name it with --model")


class Toy:
    """Says the class that its file holds, whatever it sees."""

    engine_version = "Toy 1.0"

    def __init__(self, path, low, scale, threads):
        self.answer_always = int(path.read_bytes())

    def encode(self, inputs):
        return inputs

    def run(self, encoded):
        return np.eye(3, dtype=np.float32)[[self.answer_always] * len(encoded)]

    decode = staticmethod(lambda outputs: outputs)

    def predict(self, inputs):
        return self.run(inputs)

    def answer(self, sample):
        return self.answer_always

    def profile(self, encoded):
        return ()

    def close(self):
        pass
'''


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder for PYTHONPATH that holds the made-up package."""
    site = tmp_path / "site"
    info = site / "routes-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: routes\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(ENTRY_POINTS)
    (site / "routes.py").write_text(ROUTES)
    return site


@pytest.fixture
def data(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (60, *read_bundle(TINY).manifest.input.sample_shape), np.uint8)
    labels = np.arange(60) % 3
    path = tmp_path / "data.npz"
    np.savez(path, x_train=images, y_train=labels, x_test=images, y_test=labels)
    return path


def _bench(
    site: Path, data: Path, *words: str, bundle: Path = TINY
) -> subprocess.CompletedProcess[str]:
    line = [TINSMITH, "bench", str(bundle), "--data", str(data), "--quick", "--rounds", "2", *words]
    environment = {**os.environ, "PYTHONPATH": str(site)}
    return subprocess.run(line, capture_output=True, text=True, env=environment, timeout=120)


def test_competitors_are_measured_beside_the_bundle_and_failures_have_a_row(
    site: Path, data: Path, tmp_path: Path
) -> None:
    report = tmp_path / "report.json"
    routes = "same,broken,own,crash"
    done = _bench(site, data, "--against", routes, "--profile", "--json", str(report))
    assert done.returncode == 0, done.stderr
    found = json.loads(report.read_text())
    variants = {one["id"]: one for one in found["variants"]}
    assert list(variants)[-2:] == ["same", "own"]
    same, float_onnx = variants["same"], variants["float-onnx"]
    assert same["accuracy"]["top1"] == float_onnx["accuracy"]["top1"]
    assert same["size_bytes"] == float_onnx["size_bytes"]
    assert same["name"] == "same on ONNX Runtime"
    assert same["cold_start"]["peak_rss_bytes"]["value"] > 1e7
    own = variants["own"]
    assert (own["engine_version"], own["cold_start"]) == ("Toy 1.0", None)
    assert own["accuracy"]["correct"] == 20  # one class of three
    failures = {one["name"]: one["reason"] for one in found["failures"]}
    assert failures["broken"] == "RuntimeError: no kernel for this"
    assert "status -6" in failures["crash"]
    text = " ".join(done.stdout.split())
    assert "Competitors that were not measured" in text
    assert "no kernel for this" in text
    assert "On this machine ship same" not in text
    assert "On this machine ship own" not in text
    assert "Toy 1.0 does not tell which operators it runs" in text


def test_misuse_costs_no_benchmark(site: Path, data: Path) -> None:
    done = _bench(site, data, "--against", "same,picky")
    assert (done.returncode, done.stdout) == (2, "")
    assert "tinsmith: error: --against picky: it wants a model: name it" in done.stderr
    done = _bench(site, data, "--against", "own", "--threads", "1,2")
    assert done.returncode == 2
    assert "--against own: it is measured with one number of --threads" in done.stderr
    done = _bench(site, data, "--against", "sane")
    assert done.returncode == 2
    assert "--against: expected broken, crash" in done.stderr
    assert "got 'sane'" in done.stderr
    twin = data.with_name("same.tin")
    twin.write_bytes(TINY.read_bytes())
    done = _bench(site, data, "--against", "same", bundle=twin)
    assert done.returncode == 2
    assert "--against same: a bundle has this name too: rename" in done.stderr


def test_a_training_set_that_is_not_there_is_none(site: Path, data: Path, tmp_path: Path) -> None:
    with np.load(data) as arrays:
        np.savez(tmp_path / "test.npz", x_test=arrays["x_test"], y_test=arrays["y_test"])
    done = _bench(site, tmp_path / "test.npz", "--against", "ort-ptq")
    assert done.returncode == 2
    assert "--against ort-ptq: training inputs are needed: name a dataset" in done.stderr


def test_names_and_pixels() -> None:
    with pytest.raises(UsageError, match="--against: expected keras, naive, ort-ptq, tflite-dyn"):
        check_names(["keras", "nonsense"])
    floats = as_floats(np.array([0, 51, 255], np.uint8), (0.0, 1.0))
    np.testing.assert_allclose(floats, [0, 0.2, 1], rtol=1e-6)
    features = np.array([-3, 7], np.float64)
    assert as_floats(features, (0.0, 1.0)).tolist() == [-3, 7]


def test_onnx_runtimes_own_route_on_the_bundle(data: Path, tmp_path: Path) -> None:
    """The one real route that needs no TensorFlow."""
    with np.load(data) as arrays:
        inputs, targets = arrays["x_train"], arrays["y_train"]
    stages = []
    competitors, failures = make_competitors(
        ["ort-ptq"],
        TINY,
        Material(None, inputs, targets),
        tmp_path,
        lambda *stage: stages.append(stage),
    )
    assert failures == []
    assert stages == [("competitors", 1, 1)]
    target = competitor_target(competitors[0], read_bundle(TINY).manifest)
    assert target.precision == "int8"
    options = Options(rounds=2, processes=2, cold_starts=1, batches=(1,))
    report = bench([TINY], data=data, options=options, competitors=[target])
    assert [one.id for one in report.variants][-1] == "ort-ptq"
    pair = report.compare("ort-ptq", "float-onnx")
    assert some(pair.agreement) > 0.9
    assert "ort-ptq on ONNX Runtime against int8 on ONNX Runtime" in report.verdict[-1]
