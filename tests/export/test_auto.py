"""`--recipe auto`: the cheapest recipe that keeps to the limit, within a budget."""

import json
import re
from pathlib import Path

import keras
import numpy as np
import pytest
from compiling import random_inputs, settle
from interrupting import lost_interrupt
from narrow import array
from shell import tinsmith

from tinsmith_export import Options, Progress, compile_model
from tinsmith_export.errors import GateError
from tinsmith_export.frontend.predict import run
from tinsmith_export.results import Exported
from tinsmith_runtime.cli import main

L = keras.layers
SHAPE = (8, 8, 1)


class Heard(Progress):
    """What an export said; interrupts itself in a stage that says `interrupt`."""

    def __init__(self, interrupt: str = "") -> None:
        self.stages: list[str] = []
        self.warnings: list[str] = []
        self._interrupt = interrupt

    def stage(self, text: str) -> None:
        self.stages.append(text)

    def warn(self, text: str) -> None:
        self.warnings.append(text)

    def step(self, step: int, steps: int, loss: float) -> None:
        if self._interrupt and self._interrupt in self.stages[-1]:
            lost_interrupt()

    def layer(self, layer: int, layers: int) -> None:
        if self._interrupt and self._interrupt in self.stages[-1]:
            raise KeyboardInterrupt


def network(coarse: float = 0.0) -> keras.Model:
    """A classifier; with `coarse`, a weight so large that rounding loses all others of its layer.

    The weight is multiplied by a channel that is always 0.
    """
    layers = [
        L.Conv2D(6, 3, activation="relu", name="dead"),
        L.Conv2D(8, 3, activation="relu", name="coarse"),
        L.Conv2D(8, 1, activation="relu", name="fine"),
        L.Flatten(),
        L.Dense(4, activation="softmax", name="answer"),
    ]
    model = settle(keras.Sequential([keras.Input(SHAPE), *layers]))
    kernel, bias = model.get_layer("dead").get_weights()
    bias[0] = -100
    model.get_layer("dead").set_weights([kernel, bias])
    kernel, bias = model.get_layer("coarse").get_weights()
    kernel[1, 1, 0] = coarse
    model.get_layer("coarse").set_weights([kernel, bias])
    kernel, bias = model.get_layer("answer").get_weights()
    logits = keras.Model(model.inputs, model.layers[-2].output)
    inputs = random_inputs(SHAPE, 200) / np.float32(255)
    # So that no class always wins.
    bias = -(array(run(logits, inputs)) @ kernel).mean(axis=0)
    model.get_layer("answer").set_weights([kernel, bias])
    return model


@pytest.fixture(scope="module")
def good() -> keras.Model:
    return network()


@pytest.fixture(scope="module")
def coarse() -> keras.Model:
    return network(200.0)


@pytest.fixture(scope="module")
def pixels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pixels") / "pixels.npy"
    np.save(path, random_inputs(SHAPE, 400))
    return path


def recipes(exported: Exported) -> list[str]:
    return [attempt.recipe for attempt in exported.attempts]


def test_what_is_good_by_ptq_is_left_at_that(
    good: keras.Model, pixels: Path, tmp_path: Path
) -> None:
    options = Options(max_changed_pp=50.0)
    assert options.recipe == "auto"
    exported = compile_model(good, str(pixels), tmp_path / "good.tin", options)
    assert recipes(exported) == ["ptq"]
    assert exported.attempts[0].met
    assert exported.manifest.training.recipe == "ptq"
    assert exported.manifest.training.qat_steps == 0
    compile_model(good, str(pixels), tmp_path / "again.tin", options)
    assert (tmp_path / "again.tin").read_bytes() == (tmp_path / "good.tin").read_bytes()


def test_layers_are_kept_float_where_nothing_else_helps(
    coarse: keras.Model, pixels: Path, tmp_path: Path
) -> None:
    options = Options(max_changed_pp=5.0, qat_steps=20)
    heard = Heard()
    exported = compile_model(coarse, str(pixels), tmp_path / "mixed.tin", options, heard)
    assert recipes(exported) == ["ptq", "calibrated", "qat", "mixed"]
    assert [attempt.met for attempt in exported.attempts] == [False, False, False, True]
    assert exported.manifest.training.recipe == "mixed"
    kept = [layer.name for layer in exported.manifest.layers if layer.weight_bits == 32]
    assert "coarse" in kept
    assert len(kept) < 4
    left_out = any(text.startswith("no file for native: a plan") for text in exported.warnings)
    assert left_out == ("native" not in {one.format for one in exported.manifest.variants})
    assert all(attempt.seconds > 0 for attempt in exported.attempts)
    assert any(" s" in stage and "mixed" in stage for stage in heard.stages)


def rejected(
    model: keras.Model, pixels: Path, out: Path, options: Options, heard: Heard
) -> Exported:
    """What an export measured that its gate then rejected."""
    with pytest.raises(GateError) as caught:
        compile_model(model, str(pixels), out, options, heard)
    assert not out.exists()
    return caught.value.exported


def test_a_budget_too_small_for_more_than_ptq(
    coarse: keras.Model, pixels: Path, tmp_path: Path
) -> None:
    heard, options = Heard(), Options(max_changed_pp=5.0, budget_s=1e-6)
    exported = rejected(coarse, pixels, tmp_path / "cheap.tin", options, heard)
    assert recipes(exported) == ["ptq"]
    assert exported.manifest.training.recipe == "ptq"
    for recipe in ("calibrated", "qat", "mixed"):
        (told,) = (text for text in heard.warnings if f"{recipe} would take" in text)
        assert "--budget" in told


@pytest.mark.parametrize(
    ("interrupt", "last"), [("calibrated", "ptq"), ("qat", "calibrated"), ("mixed", "qat")]
)
def test_an_interrupt_keeps_the_best_so_far(
    interrupt: str, last: str, coarse: keras.Model, pixels: Path, tmp_path: Path
) -> None:
    heard, options = Heard(interrupt), Options(max_changed_pp=5.0, qat_steps=20)
    exported = rejected(coarse, pixels, tmp_path / "interrupted.tin", options, heard)
    assert recipes(exported)[-1] == last
    assert f"{interrupt} was interrupted" in heard.warnings[0]


def test_values_are_judged_by_their_noise(tmp_path: Path) -> None:
    model = settle(keras.Sequential([keras.Input(SHAPE), L.Conv2D(4, 3), L.ReLU()]))
    np.save(tmp_path / "pixels.npy", random_inputs(SHAPE, 100))
    exported = compile_model(model, str(tmp_path / "pixels.npy"), tmp_path / "values.tin")
    (attempt,) = exported.attempts
    assert attempt.verdict is None
    assert attempt.sqnr_db is not None
    assert attempt.sqnr_db >= 30
    assert attempt.met


def test_the_command_says_what_was_tried(good: keras.Model, pixels: Path, tmp_path: Path) -> None:
    good.save(tmp_path / "good.keras")
    words = ["export", "good.keras", "--data", str(pixels), "--max-changed-pp", "50"]
    said = tinsmith(*words, "--budget", "1.5m", "--quiet", folder=tmp_path)
    assert re.search(r"^tried    ptq, taken, \d+ s$", said, re.MULTILINE)
    found = json.loads(tinsmith(*words, "--json", folder=tmp_path))
    assert [attempt["recipe"] for attempt in found["attempts"]] == ["ptq"]


@pytest.mark.parametrize("text", ["", "10", "m", "-1m", "1d", "1e3s", "nan", "1.s", "10 m"])
def test_a_budget_that_is_no_time(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit:
        main(["export", "model.keras", f"--budget={text}"])
    assert exit.value.code == 2
    assert "expected a time such as 90s, 10m or 1h" in capsys.readouterr().err
