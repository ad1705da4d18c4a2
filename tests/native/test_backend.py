"""The backend among the others: first wherever it is installed and the bundle has a plan."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from narrow import array, some
from sklearn.datasets import load_digits

from tinsmith_bench import bench
from tinsmith_bench.options import Options
from tinsmith_runtime import (
    BackendError,
    Bundle,
    BundleError,
    installed_backends,
    load,
    read_bundle,
    selftest,
)
from tinsmith_runtime.backends import create_backend
from tinsmith_runtime.bundle import sha256, write_bundle
from tinsmith_runtime.cli import main
from tinsmith_runtime.deploy.install import install
from tinsmith_runtime.probe import process

DATA = Path(__file__).parents[1] / "data"
PLANNED, TINY = DATA / "planned.tin", DATA / "tiny.tin"
OTHERS = ("ai_edge_litert", "tflite_runtime", "onnxruntime")


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The engines that the self-test starts, in order."""
    found: list[str] = []
    ask = vars(process)["make_request"]

    def make_request(spec: Any, *rest: Any) -> Any:
        found.append(spec.name)
        return ask(spec, *rest)

    monkeypatch.setattr(process, "make_request", make_request)
    return found


@pytest.fixture
def changed(tmp_path: Path) -> Callable[..., Path]:
    """Writes the bundle with other model files, whose sizes and hashes are right."""

    def write(**contents: bytes) -> Path:
        bundle = read_bundle(PLANNED)
        files = {name: data for name, data in bundle.files.items() if name != "manifest.json"}
        files |= {f"model.int8.{ending}": data for ending, data in contents.items()}
        variants = tuple(
            replace(one, size_bytes=len(files[one.file]), sha256=sha256(files[one.file]))
            for one in bundle.manifest.variants
        )
        path = tmp_path / "changed.tin"
        write_bundle(path, replace(bundle.manifest, variants=variants), files)
        return path

    return write


def test_pixels_take_no_numpy() -> None:
    """It takes longer to import than all the rest of a start."""
    images = array(read_bundle(PLANNED).golden().inputs)
    script = f"""
import sys
from tinsmith_runtime import load
model = load({str(PLANNED)!r}, "native")
for pixels in {[image.tobytes() for image in images]!r}:
    print(model.classify(memoryview(pixels))[0].label)
assert "numpy" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    with load(PLANNED, "litert") as model:
        assert done.stdout.split() == [model.classify(image)[0].label for image in images]


def test_pixels_of_another_size() -> None:
    backend = create_backend("native", read_bundle(PLANNED).files["model.int8.plan"], 1)
    for size in (63, 65):
        with pytest.raises(ValueError, match="different structures"):
            backend.run_pixels(memoryview(bytes(size)))


def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if no other engine were installed."""
    for name in OTHERS:
        monkeypatch.setitem(sys.modules, name, None)


def test_auto_prefers_it_where_there_is_a_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    assert installed_backends() == ("native", "litert", "onnx")
    golden = read_bundle(PLANNED).golden()
    with load(PLANNED) as model:
        assert (model.backend, model.variant.file) == ("native", "model.int8.plan")
        np.testing.assert_array_equal(model.predict_raw(array(golden.inputs)), golden.outputs_int8)
    with load(TINY) as model:
        assert model.backend == "litert"
    with load(PLANNED, precision="float") as model:
        assert model.backend == "litert"
    monkeypatch.setitem(sys.modules, "tinsmith_native", None)
    with load(PLANNED) as model:
        assert model.backend == "litert"
    with pytest.raises(BackendError, match=r"pip install 'tinsmith-runtime\[native\]'$"):
        load(PLANNED, "native")


def test_the_selftest_begins_with_it(opened: list[str]) -> None:
    results = selftest(PLANNED)
    assert [result.backend for result in results] == opened == ["native", "litert", "onnx"]
    assert {result.mismatch for result in results} == {""}


def test_a_plan_that_is_refused_ends_an_install(
    changed: Callable[..., Path], opened: list[str], tmp_path: Path
) -> None:
    """No other engine sees a file of that bundle."""
    path = changed(plan=b"TINPLAN\0" + bytes(99))
    with pytest.raises(BundleError, match=r"model\.int8\.plan: libtinsmith refuses the plan"):
        install(path, tmp_path / "home")
    assert opened == ["native"]
    assert not (tmp_path / "home").exists()


def test_a_device_with_this_engine_alone_opens_no_other_file(
    changed: Callable[..., Path],
    opened: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = changed(tflite=b"\0\0\0\0TFL3" + bytes(99), onnx=b"\xff" * 99)
    alone(monkeypatch)
    assert install(path, tmp_path / "home").changed
    assert opened == ["native"]
    with load(tmp_path / "home") as model:
        assert model.backend == "native"
    with pytest.raises(BackendError, match="the bundle holds int8 for litert, onnx: that is not"):
        selftest(TINY)


def test_the_arena_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    bundle: Bundle = read_bundle(PLANNED)
    arenas = {variant.file: variant.arena_bytes for variant in bundle.manifest.variants}
    told = some(arenas.pop("model.int8.plan"))
    assert told == int.from_bytes(bundle.files["model.int8.plan"][16:20], "little")
    assert set(arenas.values()) == {None}
    tree = json.loads(bundle.files["manifest.json"])
    assert [variant["file"] for variant in tree["variants"] if "arena_bytes" in variant] == [
        "model.int8.plan"
    ]
    assert main(["inspect", str(PLANNED)]) == 0
    assert f"correct, arena {told:,} bytes\n" in capsys.readouterr().out


def test_it_is_measured_and_profiled(tmp_path: Path) -> None:
    digits = load_digits(n_class=3)
    images = np.rint(digits.images[:60, ..., np.newaxis] * (255 / 16)).astype(np.uint8)
    np.savez(tmp_path / "test.npz", x_test=images, y_test=digits.target[:60])
    options = Options(rounds=2, processes=2, cold_starts=2, batches=(1, 8), profile_calls=20)
    report = bench([PLANNED], data=tmp_path / "test.npz", options=options)
    ids = [one.id for one in report.variants]
    assert ids[0] == "int8-native"
    one, litert = report.variants[0], report.variants[ids.index("int8-tflite")]
    assert one.engine_version.startswith("tinsmith native ")
    assert report.machine.engines["native"] == one.engine_version
    assert some(one.accuracy).correct == some(litert.accuracy).correct
    floats = {each.id: each.speed.latency_us.p50 for each in report.variants if "float" in each.id}
    assert some(one.fidelity).baseline == min(floats, key=lambda name: floats[name])
    assert some(one.cold_start).peak_rss_bytes.value > 1e6
    assert any(words.startswith("int8 on tinsmith native, against ") for words in report.verdict)
    profile = next(each for each in report.profiles if each.variant == one.id)
    assert profile.operators[0].kind.startswith("product (")
    assert sum(some(each.share) for each in profile.operators) == pytest.approx(1)
    assert all(some(each.time_us) > 0 for each in profile.operators)
    (note,) = [text for text in report.notes if "native" in text]
    assert note.startswith("There is no float model for tinsmith native: int8 is compared with the")
