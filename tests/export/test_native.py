"""Plans as a target: what a bundle holds, and what checks a plan where libtinsmith is missing."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import keras
import numpy as np
import pytest
from compiling import compiled, random_inputs, settle
from interpreted import require_same_plan

from tinsmith_export import Exported, Options, Progress, Samples, compile_model
from tinsmith_export.errors import TargetError
from tinsmith_export.summary import summary
from tinsmith_export.targets.native.target import NativeTarget
from tinsmith_export.targets.target import IntegerModel
from tinsmith_runtime import load, read_bundle, selftest
from tinsmith_runtime.cli import main
from tinsmith_runtime.errors import UsageError
from tinsmith_train.models import build_model

L = keras.layers
COUNT = 24
SHAPE = (28, 28, 1)
INSTALLED = find_spec("tinsmith_native") is not None
needs_library = pytest.mark.skipif(not INSTALLED, reason="tinsmith-native is not installed")


def exported(out: Path, targets: tuple[str, ...] | None) -> Exported:
    """The demo's network as a bundle for some targets, or for those that nobody names."""
    inputs = random_inputs(SHAPE, 100), None, random_inputs(SHAPE, COUNT, seed=2), None
    samples = Samples("random", "0" * 64, *inputs, ())
    options = Options(recipe="ptq", max_changed_pp=100.0, targets=targets)
    model = settle(build_model("cnn", SHAPE, 10))
    return compile_model(model, samples, out, options, Progress())


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Exported, Path]:
    """A bundle for all targets, named in another order than theirs."""
    out = tmp_path_factory.mktemp("whole") / "digits.tin"
    return exported(out, ("native", "onnx", "tflite")), out


def hide(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if tinsmith-native were not installed."""
    monkeypatch.setitem(sys.modules, "tinsmith_native", None)


def test_a_bundle_for_all_targets(whole: tuple[Exported, Path]) -> None:
    manifest = whole[0].manifest
    assert [variant.file for variant in manifest.variants] == [
        *("model.int8.tflite", "model.int8.onnx", "model.int8.plan"),
        *("model.float.tflite", "model.float.onnx"),
    ]
    assert [variant.format for variant in manifest.variants][2] == "native"
    assert manifest.quality.reference == "tflite"
    assert [parity.target for parity in manifest.quality.parity] == ["onnx", "native"]
    for target in manifest.quality.parity:
        for parity in (target.evaluation, target.random):
            assert parity.equal == parity.compared
    assert whole[0].kernels["native"] == {"product": len(manifest.layers)}
    told = "\n".join(summary(whole[0]))
    assert "all of 240 TFLite and native outputs equal to the bit" in told


def test_a_bundle_is_for_all_targets_unless_somebody_names_some(
    whole: tuple[Exported, Path], tmp_path: Path
) -> None:
    exported(tmp_path / "digits.tin", None)
    assert (tmp_path / "digits.tin").read_bytes() == whole[1].read_bytes()


def test_a_target_that_cannot_hold_the_model_is_left_out_or_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: NativeTarget, model: IntegerModel) -> bytes:
        raise TargetError("layer `conv`: sums may reach 3,000,000,000, a plan takes 2,147,483,647")

    monkeypatch.setattr(NativeTarget, "emit", refuse)
    found = exported(tmp_path / "digits.tin", None)
    assert [variant.format for variant in found.manifest.variants] == 2 * ["tflite", "onnx"]
    assert found.warnings == (
        "no file for native: layer `conv`: sums may reach 3,000,000,000, a plan takes "
        "2,147,483,647",
    )
    assert max(map(len, summary(found))) <= 100
    out = tmp_path / "named.tin"
    with pytest.raises(TargetError, match="layer `conv`: sums may reach"):
        exported(out, ("tflite", "native"))
    assert not out.exists()


@needs_library
def test_the_backend_runs_the_bundle(
    whole: tuple[Exported, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    pixels = random_inputs(SHAPE, 70, seed=3)
    with load(whole[1], "litert") as one, load(whole[1], "native", threads=2) as other:
        wanted, found = one.predict_raw(pixels), other.predict_raw(pixels)
        np.testing.assert_array_equal(np.asarray(found), np.asarray(wanted))
        with other.clone() as clone:
            np.testing.assert_array_equal(np.asarray(clone.predict_raw(pixels)), wanted)
        assert other.engine_version.startswith("tinsmith native ")
    results = {result.backend: result for result in selftest(whole[1])}
    assert results.keys() == {"litert", "onnx", "native"}
    assert {result.mismatch for result in results.values()} == {""}
    assert main(["inspect", str(whole[1])]) == 0
    assert "native with tflite: 240 of 240 int8 outputs equal" in capsys.readouterr().out


FORK = """
import os, sys
import numpy as np
from tinsmith_runtime import UsageError, load
pixels = np.random.default_rng(0).integers(0, 256, (5, 28, 28, 1), np.uint8)
model = load(sys.argv[1], "native")
wanted = model.predict_raw(pixels)
child = os.fork()
same = all((model.predict_raw(pixels[i:i + 1]) == wanted[i:i + 1]).all() for i in range(5))
if not child:
    os._exit(0 if same else 9)
assert same and os.waitpid(child, 0)[1] == 0
model.close()
try:
    model.predict_raw(pixels)
except UsageError as error:
    print(error)
"""


@needs_library
def test_a_child_of_a_fork_and_a_closed_model(whole: tuple[Exported, Path]) -> None:
    line = [sys.executable, "-W", "error", "-c", FORK, str(whole[1])]
    done = subprocess.run(line, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "the model is closed: load the bundle again\n"


def test_a_bundle_for_the_native_engine_alone(
    whole: tuple[Exported, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is compared with TFLite all the same; without the library, in numpy."""
    hide(monkeypatch)
    out = tmp_path / "digits.tin"
    found = exported(out, ("native",))
    assert [variant.file for variant in found.manifest.variants] == ["model.int8.plan"]
    assert read_bundle(out).files.keys() == {"manifest.json", "model.int8.plan", "golden.npz"}
    assert (
        read_bundle(out).files["model.int8.plan"]
        == (read_bundle(whole[1]).files["model.int8.plan"])
    )
    (target,) = found.manifest.quality.parity
    assert (target.target, found.manifest.quality.reference) == ("native", "tflite")
    assert target.evaluation.equal == target.evaluation.compared == 240
    (warning,) = [text for text in found.warnings if "native" in text]
    assert warning.endswith("computed in numpy: pip install 'tinsmith-runtime[native]'")
    if INSTALLED:
        monkeypatch.undo()
        assert NativeTarget().missing_engine() == ""
        with load(out) as model:
            assert model.backend == "native"
        with load(whole[1]) as model:
            assert model.backend == "native"
            assert model.predict(random_inputs(SHAPE, 3)).shape == (3, 10)


ACTIVATIONS = ("sigmoid", "tanh", "gelu", "elu", "softplus", "selu", "softsign", "exponential")


@pytest.mark.parametrize("function", ACTIVATIONS)
def test_functions_are_tables_of_what_litert_gives(function: str) -> None:
    source = keras.Input((6, 6, 2))
    x = L.Activation(function)(L.Conv2D(4, 3)(source))
    x = L.Activation(function)(L.Dense(5)(L.Flatten()(x)))
    made = compiled(settle(keras.Model(source, L.Dense(3)(x))), count=40)
    require_same_plan(made.integers, made.files["model.int8.tflite"], made.codes)


def test_what_convolutions_pad_by_themselves() -> None:
    source = keras.Input((7, 8, 3))
    x = L.ZeroPadding2D(((1, 2), (0, 3)))(source)
    pair = L.Conv2D(4, 3, strides=2)(x), L.Conv2D(4, 3, strides=2)(x)
    y = L.ZeroPadding2D(1)(L.Add()(pair))
    z = L.Concatenate()([L.MaxPooling2D()(y), L.Conv2D(2, 2, strides=2)(y)])
    made = compiled(settle(keras.Model(source, L.Dense(3)(L.Flatten()(z)))), count=40)
    require_same_plan(made.integers, made.files["model.int8.tflite"], made.codes)


@pytest.mark.parametrize("targets", [(), ("native", "tensorrt")])
def test_targets_that_there_are_not(targets: tuple[str, ...], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="targets: expected some of tflite, onnx, native, got "):
        exported(tmp_path / "digits.tin", targets)


def test_the_command_refuses_them_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = tmp_path / "model.keras"
    model.write_bytes(b"")
    samples = tmp_path / "x.npz"
    np.savez(samples, x=np.zeros((4, 3), np.float32))
    words = ["export", str(model), "--data", str(samples), "--targets", "plan", "--quiet"]
    assert main(words) == 2
    assert "targets: expected some of tflite, onnx, native, got 'plan'" in capsys.readouterr().err
