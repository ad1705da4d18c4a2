"""`tinsmith export`: the same bundle twice, nothing half-done, and one line for what is wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest

from tinsmith_export import Options, Progress, export
from tinsmith_export.errors import UnsupportedLayerError
from tinsmith_export.reader import read_graph
from tinsmith_runtime import read_bundle
from tinsmith_runtime.command import main
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


def options(**changes: object) -> Options:
    return Options(**{"qat_epochs": 0, "max_drop_pp": 100.0, **changes})


def test_the_same_seed_gives_the_same_bytes(tiny: Path, digits, tmp_path: Path) -> None:
    for name in ("a.tin", "b.tin"):
        export(tiny, digits, tmp_path / name, options())
    assert (tmp_path / "a.tin").read_bytes() == (tmp_path / "b.tin").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.tin", "b.tin"]


def test_fine_tuning_never_keeps_a_worse_step(tiny: Path, digits, tmp_path: Path) -> None:
    heard = []

    class Ear(Progress):
        def step(self, step: int, steps: int, loss: float) -> None:
            heard.append((step, steps))

    exported = export(tiny, digits, tmp_path / "a.tin", options(qat_epochs=1), Ear())
    assert heard[-1][0] == heard[-1][1] > 0
    assert exported.checkpoints[0].step == 0
    assert len(exported.checkpoints) > 1
    manifest = read_bundle(tmp_path / "a.tin").manifest
    assert manifest == exported.manifest
    assert manifest.training.recipe == "qat"
    assert [rung.stage for rung in manifest.quality.ladder] == ["float", "QAT", "TFLite", "ONNX"]
    assert manifest.quality.parity.max_difference_lsb <= 1


def test_an_interrupted_export_leaves_nothing(tiny: Path, digits, tmp_path: Path) -> None:
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
    assert stages[-1].startswith("proving it")
    assert [path.name for path in tmp_path.iterdir()] == ["old.tin"]
    assert (tmp_path / "old.tin").read_bytes() == b"an older bundle"


def test_a_residual_network_runs_on_integers(digits, tmp_path: Path) -> None:
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
    # A normalization, four convolutions (one of them in two parts) and two averages.
    assert exported.kernels == {"QLinearConv": 8}
    assert exported.manifest.quality.parity.max_difference_lsb <= 1
    assert main(["selftest", str(tmp_path / "residual.tin")]) == 0


def test_a_dense_block_runs_on_integers(digits, tmp_path: Path) -> None:
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
    assert exported.kernels == {"QLinearConv": 7, "QGemm": 1}
    assert exported.manifest.quality.parity.max_difference_lsb <= 1
    assert main(["selftest", str(tmp_path / "block.tin")]) == 0


def sequential(*layers: keras.Layer, shape: tuple[int | None, ...] = IMAGE) -> keras.Model:
    return keras.Sequential([keras.Input(shape), *layers])


def shared() -> keras.Model:
    source, twice = keras.Input(IMAGE), L.Conv2D(1, 3, padding="same", name="twice")
    return keras.Model(source, L.Dense(10)(L.Flatten()(twice(twice(source)))))


def two_inputs() -> keras.Model:
    sources = [keras.Input(IMAGE), keras.Input(IMAGE)]
    return keras.Model(sources, L.Dense(10)(L.Flatten()(L.Add()(sources))))


def two_outputs() -> keras.Model:
    source = keras.Input(IMAGE)
    flat = L.Flatten()(source)
    return keras.Model(source, [L.Dense(10)(flat), L.Dense(10)(flat)])


def nan() -> keras.Model:
    dense = L.Dense(10, name="broken", bias_initializer=keras.initializers.Constant(np.nan))
    return sequential(L.Flatten(), dense)


def mixed() -> keras.Model:
    source = keras.Input(IMAGE)
    parts = [L.Conv2D(2, 3, activation="relu", name="half")(source), L.Conv2D(2, 3)(source)]
    return keras.Model(source, L.Dense(10)(L.Flatten()(L.Concatenate(name="join")(parts))))


def plain(*layers: keras.Layer, classes: int = 10, **kwargs: object) -> Callable[[], keras.Model]:
    return lambda: sequential(*layers, L.Flatten(), L.Dense(classes), **kwargs)


MODELS: dict[str, tuple[Callable[[], keras.Model], int, str]] = {
    "lambda": (plain(L.Lambda(lambda x: x * 2)), 1, "Keras cannot load"),
    "lstm": (
        lambda: sequential(L.Reshape((28, 28)), L.LSTM(4, name="memory"), L.Dense(10)),
        1,
        "`memory` (LSTM)",
    ),
    "transpose": (plain(L.Conv2DTranspose(2, 3, name="up")), 1, "`up` (Conv2DTranspose)"),
    "average": (plain(L.AveragePooling2D(2, padding="same", name="mean")), 1, "`mean`"),
    "inside": (plain(keras.Sequential([L.Flatten()], name="inner")), 1, "`inner`"),
    "elu": (plain(L.Conv2D(2, 3, activation="elu", name="soft")), 1, "`soft`"),
    "relu6": (plain(L.ReLU(max_value=5, name="five")), 1, "`five`"),
    "leaky": (plain(L.ReLU(negative_slope=0.1, name="leak")), 1, "`leak`"),
    "grouped": (plain(L.Conv2D(2, 3, padding="same"), L.Conv2D(2, 3, groups=2)), 1, "groups=2"),
    "tall": (plain(L.Conv2D(2, 3, data_format="channels_first", padding="same")), 1, "channels_"),
    "bn_flat": (
        lambda: sequential(L.Flatten(), L.BatchNormalization(name="norm"), L.Dense(10)),
        1,
        "`norm`",
    ),
    "tiny": (
        plain(
            L.Conv2D(
                2, 3, name="low", kernel_initializer=keras.initializers.RandomNormal(stddev=1e-9)
            )
        ),
        1,
        "`low`",
    ),
    "spaces": (plain(L.Conv2D(2, 3, name="my conv")), 1, "`my conv`"),
    "shared": (shared, 1, "`twice`"),
    "two_inputs": (two_inputs, 1, "got 2 and 1"),
    "two_outputs": (two_outputs, 1, "got 1 and 2"),
    "nan": (nan, 1, "`broken`"),
    "flat_input": (lambda: sequential(L.Dense(10), shape=(784,)), 1, "(None, 784)"),
    "dynamic": (
        lambda: sequential(L.Conv2D(10, 3), L.GlobalMaxPooling2D(), shape=(None, None, 1)),
        1,
        "(None, None, None, 1)",
    ),
    "shape": (plain(shape=(28, 28, 3)), 2, "(28, 28, 3)"),
    "classes": (plain(classes=7), 2, "(7,)"),
    "dead": (
        plain(L.Conv2D(2, 3, kernel_initializer="zeros", name="dead")),
        1,
        "`dead`",
    ),
}


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("two_inputs", "got 2 and 1"),
        ("two_outputs", "got 1 and 2"),
        ("flat_input", r"expected an input \(None, H, W, C\), got \(None, 784\)"),
        ("dynamic", r"got \(None, None, None, 1\)"),
    ],
)
def test_a_model_of_another_form(name: str, said: str) -> None:
    with pytest.raises(TinsmithError, match=said):
        read_graph(MODELS[name][0]())


def test_an_unknown_layer_is_told_with_the_known_ones() -> None:
    with pytest.raises(UnsupportedLayerError, match=r"`up`.*Conv2D, .*Dense, Batch"):
        read_graph(MODELS["transpose"][0]())


def test_a_model_without_an_input_shape() -> None:
    with pytest.raises(TinsmithError, match="with an input shape"):
        read_graph(keras.Sequential([L.Flatten(), L.Dense(10)]))


Fails = Callable[..., str]


@pytest.fixture
def fails(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Fails:
    """Runs a command line that must fail, in one line, and leave nothing behind."""

    def run(status: int, model: Path, *words: str) -> str:
        before = sorted(tmp_path.rglob("*"))
        capfd.readouterr()
        line = ["export", str(model), "--dataset", "digits", "--quiet", *words]
        if "--out" not in words:
            line += ["--out", str(tmp_path / "out.tin")]
        if "--qat-epochs" not in words:
            line.append("--ptq")
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
    assert "expected a file .keras or .h5" in fails(2, other)
    other = tmp_path / "model.h5"
    other.write_bytes(tiny.read_bytes())
    assert "Keras cannot load the model" in fails(1, other)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--input-range", "1", "0"], "--input-range"),
        (["--input-range", "-1", "1"], "--input-range"),
        (["--input-range", "0", "nan"], "--input-range"),
        (["--input-range", "0", "inf"], "--input-range"),
        (["--qat-epochs", "-1"], "--qat-epochs"),
        (["--out", "nowhere/out.tin"], "--out"),
        (["--dataset", "nonsense"], "nonsense"),
    ],
)
def test_wrong_options(fails: Fails, tiny: Path, words: list[str], said: str) -> None:
    assert said in fails(2, tiny, *words)


def test_a_failed_gate_writes_nothing(fails: Fails, tiny: Path) -> None:
    assert "--max-drop-pp -100" in fails(1, tiny, "--max-drop-pp", "-100")


def test_the_command_says_what_it_did(
    tiny: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.tin"
    words = ["export", str(tiny), "--dataset", "digits", "--ptq", "--max-drop-pp", "100"]
    assert main([*words, "--out", str(out)]) == 0
    said, told = capfd.readouterr()
    assert [line.split()[0] for line in told.splitlines()] == [
        "reading",
        "quantizing",
        "converting",
        "proving",
    ]
    assert "integer in every layer: 1 QLinearConv, 1 QGemm" in said
    assert said.endswith(f"written  {out}\n")
    assert main(["selftest", str(out)]) == 0
