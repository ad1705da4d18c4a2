"""`tinsmith export`: the same bundle twice, nothing half-done, and one line for what is wrong."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from compiling import settle
from narrow import some

from tinsmith_data import Dataset
from tinsmith_export import Options, Progress, Samples, compile_model, export, from_dataset
from tinsmith_export.frontend.load import prepared
from tinsmith_export.targets.registry import TARGETS
from tinsmith_runtime import read_bundle
from tinsmith_runtime.cli import main
from tinsmith_runtime.errors import TinsmithError

L = keras.layers
IMAGE = (28, 28, 1)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with random weights: that int8 keeps its accuracy is another test's matter."""
    keras.utils.set_random_seed(11)
    model = keras.Sequential(
        [
            keras.Input(IMAGE, name="pixels"),
            L.Conv2D(6, 5, strides=3, use_bias=False),
            L.BatchNormalization(),
            L.ReLU(),
            L.Flatten(),
            L.Dropout(0.2),
            L.Dense(10, activation="softmax"),
        ]
    )
    path = tmp_path_factory.mktemp("tiny") / "tiny.keras"
    model.save(path)
    return path


def options(**changes: Any) -> Options:
    return Options(**{"recipe": "ptq", "max_drop_pp": 100.0, "max_changed_pp": 100.0, **changes})


@pytest.mark.parametrize("recipe", ["ptq", "qat"])
def test_the_same_seed_gives_the_same_bytes(
    tiny: Path, digits: Dataset, tmp_path: Path, recipe: str
) -> None:
    for name in ("a.tin", "b.tin"):
        export(tiny, digits, tmp_path / name, options(recipe=recipe, qat_steps=3))
    assert (tmp_path / "a.tin").read_bytes() == (tmp_path / "b.tin").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.tin", "b.tin"]


def test_fine_tuning_never_keeps_a_worse_step(tiny: Path, digits: Dataset, tmp_path: Path) -> None:
    heard = []

    class Ear(Progress):
        def step(self, step: int, steps: int, loss: float) -> None:
            heard.append((step, steps))

    changes = {"recipe": "qat", "qat_steps": 24}
    exported = export(tiny, digits, tmp_path / "a.tin", options(**changes), Ear())
    assert heard == [(20, 24), (24, 24)]
    assert [checkpoint.step for checkpoint in exported.checkpoints] == list(range(0, 25, 3))
    manifest = read_bundle(tmp_path / "a.tin").manifest
    assert manifest == exported.manifest
    assert (manifest.training.recipe, manifest.training.qat_steps) == ("qat", 24)
    stages = {stage.name: stage for stage in manifest.quality.stages}
    assert list(stages) == ["float", "rewritten", "QAT", *(target.title for target in TARGETS)]
    assert all(stage.count == len(digits.x_test) for stage in stages.values())
    assert stages["rewritten"].accuracy == stages["float"].accuracy
    for target in manifest.quality.parity:
        assert target.evaluation.max_difference_lsb <= 1
        assert target.random.max_difference_lsb <= 1


def test_a_ptq_stages_says_so(tiny: Path, digits: Dataset, tmp_path: Path) -> None:
    exported = export(tiny, digits, tmp_path / "a.tin", options(qat_steps=50))
    manifest = exported.manifest
    assert [stage.name for stage in manifest.quality.stages][2] == "PTQ"
    assert (manifest.training.recipe, manifest.training.qat_steps) == ("ptq", 0)
    assert [checkpoint.step for checkpoint in exported.checkpoints] == [0]


def without_labels(dataset: Dataset) -> Samples:
    samples = from_dataset(dataset)
    return replace(samples, calibration_labels=None, evaluation_labels=None, classes=())


def test_a_classifier_without_labels(tiny: Path, digits: Dataset, tmp_path: Path) -> None:
    samples = without_labels(digits)
    changes = {"recipe": "qat", "qat_steps": 2}
    manifest = export(tiny, samples, tmp_path / "a.tin", options(**changes)).manifest
    quality = manifest.quality
    assert quality.mcnemar_p is None
    assert {stage.accuracy for stage in quality.stages} == {None}
    assert quality.stages[1].agreement == 1.0
    assert all(some(stage.agreement) > 0.5 for stage in quality.stages)
    assert {variant.accuracy for variant in manifest.variants} == {None}
    assert manifest.output.labels == tuple("0123456789")
    assert main(["selftest", str(tmp_path / "a.tin")]) == 0


def test_an_autoencoder_of_features(tmp_path: Path) -> None:
    """Features in, values out, no labels; the statement of the issue: dense, BN after each."""
    layers: list[keras.Layer] = [keras.Input((40,))]
    for units in (16, 4, 16):
        layers += [L.Dense(units), L.BatchNormalization(), L.ReLU()]
    model = settle(keras.Sequential([*layers, L.Dense(40)]))
    inputs = np.random.default_rng(3).normal(size=(300, 40)).astype(np.float32)
    samples = Samples("noise", "0" * 64, inputs[:200], None, inputs[200:], None, ())
    exported = compile_model(model, samples, tmp_path / "a.tin", options())
    assert exported.kernels["onnx"] == {"QGemm": 4}
    manifest = exported.manifest
    assert (manifest.input.kind, manifest.output.kind) == ("features", "values")
    assert manifest.quality.parity[0].evaluation.compared == 100 * 40
    assert manifest.quality.parity[0].evaluation.equal == 100 * 40
    assert some(manifest.quality.stages[-1].sqnr_db) > 20
    assert main(["selftest", str(tmp_path / "a.tin")]) == 0


def test_an_interrupted_export_leaves_nothing(tiny: Path, digits: Dataset, tmp_path: Path) -> None:
    stages = []

    class Killer(Progress):
        def __init__(self, stage: int) -> None:
            self.left = stage

        def stage(self, text: str) -> None:
            stages.append(text)
            self.left -= 1
            if not self.left:
                raise KeyboardInterrupt

    (tmp_path / "old.tin").write_bytes(b"an older bundle")
    for stage in (1, 4):
        for name in ("a.tin", "old.tin"):
            with pytest.raises(KeyboardInterrupt):
                export(tiny, digits, tmp_path / name, options(), Killer(stage))
    assert stages[-1].startswith("verifying on")
    assert [path.name for path in tmp_path.iterdir()] == ["old.tin"]
    assert (tmp_path / "old.tin").read_bytes() == b"an older bundle"


def test_a_residual_network_runs_on_integers(digits: Dataset, tmp_path: Path) -> None:
    keras.utils.set_random_seed(4)
    source = keras.Input(IMAGE)
    x = L.ReLU(max_value=6)(L.BatchNormalization()(source))
    x = L.Conv2D(8, 3, strides=2, activation="relu6")(L.ZeroPadding2D()(x))
    y = L.SeparableConv2D(8, 3, padding="same", use_bias=False)(x)
    x = L.ReLU()(L.Add()([x, L.BatchNormalization()(y)]))
    x = L.MaxPooling2D()(x)
    x = L.Add()([x, L.DepthwiseConv2D(3, padding="same")(x)])
    x = L.AveragePooling2D(2)(x)
    x = L.Conv2D(10, 1)(L.GlobalAveragePooling2D(keepdims=True)(x))
    path = tmp_path / "residual.keras"
    keras.Model(source, L.Softmax()(L.Reshape((10,))(x))).save(path)
    exported = export(path, digits, tmp_path / "residual.tin", options())
    # A normalization, four convolutions (one of them in two parts) and two averages; the last
    # convolution sees one place only.
    assert exported.kernels["onnx"] == {"QLinearConv": 7, "QGemm": 1}
    assert exported.manifest.quality.parity[0].evaluation.max_difference_lsb == 0
    assert main(["selftest", str(tmp_path / "residual.tin")]) == 0


def test_a_dense_block_runs_on_integers(digits: Dataset, tmp_path: Path) -> None:
    keras.utils.set_random_seed(4)
    source = keras.Input(IMAGE)
    x = L.Conv2D(8, 3, strides=2)(source)
    x = L.Concatenate()([x, L.Conv2D(4, 3, padding="same")(x)])
    y = L.Conv2D(4, 1)(L.ReLU()(L.BatchNormalization()(x)))
    x = L.MaxPooling2D()(L.Concatenate()([x, y]))
    x = L.Add()([x, L.Conv2D(16, 1)(L.ReLU(max_value=6)(x))])
    x = L.Add()([x, L.Conv2D(16, 3, padding="same")(L.ReLU()(x))])
    answer = L.Dense(10, activation="softmax")(L.GlobalAveragePooling2D()(x))
    path = tmp_path / "block.keras"
    keras.Model(source, answer).save(path)
    exported = export(path, digits, tmp_path / "block.tin", options())
    assert exported.kernels["onnx"]["QGemm"] == 1
    assert exported.manifest.quality.parity[0].evaluation.max_difference_lsb <= 1
    assert main(["selftest", str(tmp_path / "block.tin")]) == 0


def sequential(*layers: keras.Layer, shape: tuple[int | None, ...] = IMAGE) -> keras.Model:
    return keras.Sequential([keras.Input(shape), *layers])


def two_inputs() -> keras.Model:
    sources = [keras.Input(IMAGE, name=name) for name in ("left", "right")]
    return keras.Model(sources, L.Dense(10)(L.Flatten()(L.Add()(sources))))


def two_outputs() -> keras.Model:
    source = keras.Input(IMAGE)
    flat = L.Flatten()(source)
    return keras.Model(source, [L.Dense(10, name=name)(flat) for name in ("class", "other")])


def nan() -> keras.Model:
    dense = L.Dense(10, name="broken", bias_initializer=keras.initializers.Constant(np.nan))
    return sequential(L.Flatten(), dense)


def plain(*layers: keras.Layer, classes: int = 10, **kwargs: Any) -> Callable[[], keras.Model]:
    return lambda: sequential(*layers, L.Flatten(), L.Dense(classes), **kwargs)


MODELS: dict[str, tuple[Callable[[], keras.Model], int, str]] = {
    "lambda": (plain(L.Lambda(lambda x: x * 2)), 1, "carries code"),
    "lstm": (
        lambda: sequential(L.Reshape((784, 1)), L.LSTM(4, name="memory"), L.Dense(10)),
        1,
        "layer `memory` (LSTM) cannot be compiled: it needs 784 steps",
    ),
    "volume": (plain(L.Reshape((28, 28, 1, 1)), L.Conv3D(2, 1, name="odd")), 1, "`odd`"),
    "no_products": (lambda: sequential(L.MaxPooling2D(7), L.Flatten()), 1, "nothing to quantize"),
    "two_inputs": (two_inputs, 2, "the model has 2 inputs (left, right), digits gives 1"),
    "two_outputs": (two_outputs, 2, "the model has 2 outputs (class, other), labels are for one"),
    "nan": (nan, 1, "`broken`"),
    "flat_input": (lambda: sequential(L.Dense(10), shape=(784,)), 2, "(784,)"),
    "dynamic": (
        lambda: sequential(L.Conv2D(10, 3), L.GlobalMaxPooling2D(), shape=(None, None, 1)),
        1,
        "--input-shape 96 96 1",
    ),
    "shape": (plain(shape=(28, 28, 3)), 2, "(28, 28, 3)"),
    "classes": (plain(classes=7), 2, "(7,)"),
}


def test_a_model_without_an_input_shape() -> None:
    with pytest.raises(TinsmithError, match="no input shape: say one with --input-shape"):
        prepared(keras.Sequential([L.Flatten(), L.Dense(10)]), None, None)


Fails = Callable[..., str]


@pytest.fixture
def fails(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Fails:
    """Runs a command line that must fail, in one line, and leave nothing behind."""

    def run(status: int, model: Path, *words: str) -> str:
        before = sorted(tmp_path.rglob("*"))
        capfd.readouterr()
        line = ["export", str(model), "--data", "digits", "--quiet", *words]
        if "--out" not in words:
            line += ["--out", str(tmp_path / "out.tin")]
        if "--recipe" not in words:
            line += ["--recipe", "ptq"]
        assert main(line) == status
        out, err = capfd.readouterr()
        assert out == ""
        assert err.startswith("tinsmith: error: ")
        assert err.count("\n") == 1
        assert sorted(tmp_path.rglob("*")) == before
        return err

    return run


@pytest.mark.parametrize("name", MODELS)
def test_a_model_that_cannot_be_compiled(fails: Fails, tmp_path: Path, name: str) -> None:
    build, status, said = MODELS[name]
    path = tmp_path / "model.keras"
    build().save(path)
    assert said in fails(status, path)


@pytest.mark.parametrize("size", [0, 100, 5000, -30])
def test_a_damaged_file(fails: Fails, tmp_path: Path, tiny: Path, size: int) -> None:
    path = tmp_path / "cut.keras"
    path.write_bytes(tiny.read_bytes()[:size])
    assert "Keras cannot load the model" in fails(1, path)


def test_a_file_of_the_wrong_kind(fails: Fails, tmp_path: Path, tiny: Path) -> None:
    assert "no such model" in fails(2, tmp_path / "none.keras")
    other = tmp_path / "model.onnx"
    other.write_bytes(tiny.read_bytes())
    assert "expected a file .keras, .h5, .hdf5, or a SavedModel folder" in fails(2, other)
    other = tmp_path / "model.h5"
    other.write_bytes(tiny.read_bytes())
    assert "Keras cannot load the model" in fails(1, other)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--input-range", "1", "0"], "input_range: expected two finite numbers, LOW < HIGH"),
        (["--input-range", "0", "nan"], "input_range: expected two finite numbers"),
        (["--input-range", "0", "inf"], "input_range: expected two finite numbers"),
        (["--preprocess", "tf", "--input-range", "0", "1"], "preprocess: expected tf alone, which"),
        (["--mean", "99", "--input-range", "0", "1"], "input_range: expected it or mean and std"),
        (["--mean", "0.485", "--std", "0.229"], "std: expected numbers for pixels 0 to 255, got "),
        (["--mean", "1", "2", "--std", "1", "2", "3"], "std: expected 2 numbers, as many as mean"),
        (["--std", "0"], "std: expected a finite number above 0, or one for each channel, got (0"),
        (["--mean", "nan"], "mean: expected a finite number, or one for each channel, got (nan"),
        (
            ["--recipe", "qat", "--qat-steps", "0"],
            "qat_steps: expected 1 or more, got 0: for none, recipe ptq",
        ),
        (["--seed", "-1"], "seed: expected a whole number from 0 to 4294967295, got -1"),
        (["--max-drop-pp", "nan"], "max_drop_pp: expected a number from -100 to 100, got nan"),
        (["--max-drop-pp=-inf"], "max_drop_pp: expected a number from -100"),
        (["--input-shape", "0", "28", "1"], "input_shape: expected sizes of 1 or more, got (0, 28"),
        (["--keep-float", ""], "keep_float: expected names of layers, got ('',)"),
        (["--release", "-1"], "release: expected a whole number from 0 to 2147483647, got -1"),
    ],
)
def test_wrong_options(fails: Fails, tiny: Path, words: list[str], said: str) -> None:
    # Before anything is read: not even that there is no such dataset is found out.
    assert said in fails(2, tiny, "--data", "nonsense", *words)


@pytest.mark.parametrize("option", ["--out", "--report"])
@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("nowhere/file", "No such file or directory"),
        ("other/file", "Not a directory"),
        ("n" * 300, "File name too long"),
        (".", "expected a file, found a folder"),
        ("/dev/null", "expected a file, found a device"),
        ("/sys/file", ""),  # the system's own words differ
        ("other", "expected a name of its own"),
    ],
)
def test_a_place_that_cannot_be_written_is_found_before_the_work(
    fails: Fails, tiny: Path, tmp_path: Path, option: str, place: str, said: str
) -> None:
    model = tmp_path / "other"
    model.write_bytes(tiny.read_bytes())
    out = [] if option == "--out" else ["--out", str(tmp_path / "out.tin")]
    words = ["--data", "nonsense", *out, option, str(tmp_path / place)]
    assert said in fails(2, model, *words)
    assert model.read_bytes() == tiny.read_bytes()


@pytest.mark.skipif(os.getuid() == 0, reason="root may write to a folder that is read-only")
def test_a_read_only_folder(fails: Fails, tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0o500)
    said = fails(2, tiny, "--data", "nonsense", "--out", str(tmp_path / "locked" / "out.tin"))
    assert "Permission denied" in said


def test_a_model_that_gives_the_bundle_no_name(
    tiny: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tiny.parent)
    assert main(["export", "."]) == 2
    assert "say one with --out FILE" in capfd.readouterr().err


def test_a_failed_gate_writes_nothing(
    tiny: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    words = ["--data", "digits", "--recipe", "ptq", "--max-drop-pp", "-100", "--quiet"]
    assert main(["export", str(tiny), *words, "--out", str(tmp_path / "out.tin")]) == 1
    said, told = capfd.readouterr()
    assert said.startswith("stage ")  # the numbers are printed all the same
    assert "more than --max-drop-pp -100: no bundle written" in told.splitlines()[-1]
    assert not list(tmp_path.iterdir())


def test_the_command_says_what_it_did(
    tiny: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.tin"
    words = ["export", str(tiny), "--data", "digits", "--recipe", "ptq"]
    words += ["--max-drop-pp", "100", "--max-changed-pp", "100", "--release", "7"]
    assert main([*words, "--out", str(out)]) == 0
    assert read_bundle(out).manifest.release == 7
    said, told = capfd.readouterr()
    assert [line.split()[0] for line in told.splitlines()] == [
        "reading",
        "quantizing",
        "converting",
        "verifying",
    ]
    assert "integer in every layer: 1 QLinearConv, 1 QGemm" in said
    assert said.endswith(f"written  {out}\n")
    assert main(["selftest", str(out)]) == 0
