"""An export is called from programs with seeds, settings and models of their own."""

from __future__ import annotations

import json
import logging
import os
import random
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from compiling import settle

from tinsmith_export import Options, Samples, compile_model
from tinsmith_export.quantize import qat
from tinsmith_export.results import Checkpoint
from tinsmith_runtime import read_bundle
from tinsmith_runtime.cli import main
from tinsmith_runtime.errors import TinsmithError, UsageError

L = keras.layers
RNG = np.random.default_rng(2)
INPUTS = RNG.normal(size=(120, 12)).astype(np.float32)
LABELS = RNG.integers(0, 4, 120)
SAMPLES = Samples("noise", "0" * 64, INPUTS[:90], None, INPUTS[90:], None, ())
TUNED = Options(recipe="qat", qat_steps=4, max_drop_pp=100.0, max_changed_pp=100.0, seed=5)


def model(*last: Any) -> Any:
    """Features to four values, or what the last layers make of them."""
    hidden = L.Dense(9, activation="relu", name="hidden")
    layers = [keras.Input((12,)), hidden, L.Dense(4, name="answer"), *last]
    return settle(keras.Sequential(layers, name="mine"))


def compiled(out: Path, samples: Samples = SAMPLES, *last: Any) -> bytes:
    compile_model(model(*last), samples, out, TUNED)
    return out.read_bytes()


def settings() -> dict[str, Any]:
    """Everything of a process that others can see, as far as it is known here."""
    libraries = {
        library.__name__: (
            library.mixed_precision.global_policy().name,
            library.backend.floatx(),
            library.backend.image_data_format(),
        )
        for library in (keras, tf_keras)
    }
    loggers = {name: logging.getLogger(name).level for name in ("tensorflow", "absl", "")}
    return {
        **libraries,
        **loggers,
        "disabled": logging.root.manager.disable,
        "eager": tf.config.functions_run_eagerly(),
        "warnings": list(warnings.filters),
        "environment": dict(os.environ),
        "path": list(sys.path),
        "folder": Path.cwd(),
        "errors": np.geterr(),
        "python": random.getstate(),
        "numpy": np.random.get_state()[1].tolist(),  # type: ignore[index]
        "seed": tf.compat.v1.random.get_seed(0)[0],
    }


def drawn(between: Callable[[], object]) -> list[float]:
    def each() -> list[float]:
        return [random.random(), np.random.rand(), float(tf.random.uniform([]))]

    random.seed(3)
    np.random.seed(3)
    tf.random.set_seed(3)
    before = each()
    between()
    return before + each()


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The bundle, made in a program that has set nothing."""
    return compiled(tmp_path_factory.mktemp("plain") / "a.tin")


@pytest.fixture
def odd() -> Iterator[None]:
    """A program with settings of its own, each of which would change the result."""
    tf.config.run_functions_eagerly(True)
    for library in (keras, tf_keras):
        library.mixed_precision.set_global_policy("mixed_float16")
        library.backend.set_image_data_format("channels_first")
    yield
    tf.config.run_functions_eagerly(False)
    for library in (keras, tf_keras):
        library.mixed_precision.set_global_policy("float32")
        library.backend.set_image_data_format("channels_last")


def test_what_is_global_is_as_it_was(tmp_path: Path, plain: bytes) -> None:
    tf.random.set_seed(8)
    made = model()
    before = settings()
    compile_model(made, SAMPLES, tmp_path / "a.tin", TUNED)
    assert settings() == before
    assert (tmp_path / "a.tin").read_bytes() == plain


def test_random_numbers_go_on_where_they_were(tmp_path: Path, plain: bytes) -> None:
    made = model()
    assert drawn(lambda: compile_model(made, SAMPLES, tmp_path / "a.tin", TUNED)) == drawn(
        lambda: None
    )
    assert (tmp_path / "a.tin").read_bytes() == plain


def test_a_failed_export_puts_all_back_too(tmp_path: Path) -> None:
    made, before = model(), settings()
    with pytest.raises(Exception, match="no such layer"):
        compile_model(made, SAMPLES, tmp_path / "a.tin", replace(TUNED, keep_float=("none",)))
    assert settings() == before


def test_settings_of_ones_own_change_nothing(
    tmp_path: Path, plain: bytes, request: pytest.FixtureRequest
) -> None:
    made = model()
    request.getfixturevalue("odd")
    before = settings()
    compile_model(made, SAMPLES, tmp_path / "a.tin", TUNED)
    assert before["eager"]
    assert settings() == before
    assert (tmp_path / "a.tin").read_bytes() == plain


def test_labels_are_ignored_where_the_outputs_are_values(tmp_path: Path, plain: bytes) -> None:
    # Some are no output's index: as classes they would make the loss NaN.
    labelled = replace(SAMPLES, calibration_labels=LABELS[:90] * 3)
    assert compiled(tmp_path / "a.tin", labelled) == plain
    assert read_bundle(tmp_path / "a.tin").manifest.output.kind == "values"
    # Of classes they teach.
    softmax = L.Softmax()
    untold = compiled(tmp_path / "b.tin", SAMPLES, softmax)
    labelled = replace(SAMPLES, calibration_labels=LABELS[:90])
    assert compiled(tmp_path / "c.tin", labelled, L.Softmax()) != untold


def test_labels_that_no_output_stands_for(tmp_path: Path) -> None:
    for changes in ({"calibration_labels": LABELS[:90] * 3}, {"classes": ("yes", "no")}):
        with pytest.raises(Exception, match=r"gives outputs \(4,\), noise has (10|2) classes"):
            compiled(tmp_path / "a.tin", replace(SAMPLES, **changes), L.Softmax())


@pytest.mark.parametrize(("rate", "better"), [(1e-3, True), (1e3, False)])
def test_fine_tuning_keeps_its_best_step(
    rate: float, better: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(qat, "LEARNING_RATE", rate)
    source = tf_keras.Input((12,))
    student = tf_keras.Model(source, tf_keras.layers.Dense(2, name="student")(source))
    wanted = INPUTS[:, :2] * 3
    data, held_back = (
        qat.DistillationData(INPUTS[part], wanted[part], None, False)
        for part in (slice(90), slice(90, None))
    )
    before = student.get_weights()
    checkpoints = qat.distill(student, [1.0, 1.0], data, held_back, 16, 128, 0, lambda *_: None)
    errors = [checkpoint.mean_squared_error for checkpoint in checkpoints]
    assert [checkpoint.step for checkpoint in checkpoints] == list(range(0, 17, 2))
    assert {checkpoint.agreement for checkpoint in checkpoints} == {None}
    assert (min(errors[1:]) < errors[0]) == better
    kept = qat.distill(student, [1.0, 1.0], data, held_back, 0, 128, 0, lambda *_: None)[0]
    assert kept.mean_squared_error == pytest.approx(min(errors), rel=1e-6)
    same = all((a == b).all() for a, b in zip(before, student.get_weights(), strict=True))
    assert same != better


def test_fine_tuning_goes_by_the_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a few inputs held back one more that agrees is luck; the error of all outputs is none."""
    checkpoints = [Checkpoint(0, 1.0, 3.0), Checkpoint(1, 0.9, 1.0), Checkpoint(2, 0.95, 2.0)]
    weights = []

    def measure(model: Any, _: Any, step: int) -> Checkpoint:
        weights.append(model.get_weights())
        return checkpoints[step]

    monkeypatch.setattr(qat, "_measure", measure)
    source = tf_keras.Input((12,))
    student = tf_keras.Model(source, tf_keras.layers.Dense(2)(source))
    data = qat.DistillationData(INPUTS, INPUTS[:, :2], None, True)
    assert qat.distill(student, [1, 1], data, data, 2, 90, 0, lambda *_: None) == checkpoints
    kept = student.get_weights()
    assert [all(map(np.array_equal, kept, one)) for one in weights] == [False, True, False]


def test_weights_of_any_size_are_tuned_alike() -> None:
    """Those of a model that takes pixels up to 255 are that much smaller."""
    found = []
    for times in (1.0, 2.0**-8):
        source = tf_keras.Input((12,))
        student = tf_keras.Model(source, tf_keras.layers.Dense(2)(source))
        student.set_weights([np.ones((12, 2), np.float32) * times, np.zeros(2, np.float32)])
        inputs = INPUTS / np.float32(times)
        data = qat.DistillationData(inputs, INPUTS[:, :2] * 3, None, False)
        units = [np.float32(times), np.float32(1)]
        found.append(qat.distill(student, units, data, data, 16, 90, 0, lambda *_: None))
    assert found[0] == found[1]
    assert found[0][-1].mean_squared_error < found[0][0].mean_squared_error


def test_what_others_print_is_no_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    model().save(tmp_path / "mine.keras")
    lines = "import os, numpy as np\nprint('hello')\n"
    lines += "def inputs():\n    os.write(1, b'from C++\\n')\n    "
    lines += "return np.random.default_rng(0).normal(size=(40, 12)).astype('f4')\n"
    (tmp_path / "printing_inputs.py").write_text(lines)
    monkeypatch.chdir(tmp_path)
    words = ["--data", "printing_inputs:inputs", "--recipe", "ptq", "--json", "--quiet"]
    assert main(["export", "mine.keras", *words]) == 0
    out, err = capfd.readouterr()
    assert json.loads(out)["bundle"] == "mine.tin"
    assert "hello\n" in err
    assert "from C++\n" in err


def test_a_graph_that_executes_nothing_is_told(tmp_path: Path) -> None:
    with tf.Graph().as_default(), pytest.raises(UsageError, match=r"outside of a tf\.Graph"):
        compile_model(None, SAMPLES, tmp_path / "a.tin", TUNED)


def test_one_input_is_too_few(tmp_path: Path) -> None:
    few = replace(SAMPLES, calibration=INPUTS[:1])
    with pytest.raises(UsageError, match="noise: expected at least 2 calibration inputs, got 1"):
        compile_model(model(), few, tmp_path / "a.tin", TUNED)


class Broken(keras.layers.Layer):
    """Raises once it is part of a model."""

    armed = False

    def call(self, x: Any) -> Any:
        if self.armed:
            raise RuntimeError("no\nsuch thing")
        return x


def test_what_a_layer_raises_is_one_line(tmp_path: Path) -> None:
    broken = Broken()
    made = model(broken)
    broken.armed = True
    said = r"mine: it cannot be called on inputs of shape \(2, 12\): RuntimeError: .* thing"
    with pytest.raises(TinsmithError, match=said) as caught:
        compile_model(made, SAMPLES, tmp_path / "a.tin", TUNED)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("library", [keras, tf_keras])
def test_layers_of_a_trained_model_make_another(library: Any, tmp_path: Path) -> None:
    layers = library.layers
    norm = layers.BatchNormalization()
    first = library.Sequential([library.Input((12,)), layers.Dense(6), norm, layers.Dense(3)])
    norm.moving_mean.assign(np.ones(6))
    other = library.Sequential([library.Input((12,)), *first.layers[:-1], layers.Dense(2)])
    options = replace(TUNED, recipe="ptq")
    found = compile_model(other, SAMPLES, tmp_path / "a.tin", options).warnings
    assert [text for text in found if "is not installed" not in text] == []
