"""Layers kept float that follow each other: what lies between them is not rounded."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from compiling import (
    Compiled,
    compiled,
    int8_files,
    model_file,
    random_inputs,
    settle,
    spoiled_classifier,
)
from narrow import array

from tinsmith_export import Options, Samples, compile_model
from tinsmith_export.errors import TargetError
from tinsmith_export.frontend.predict import run
from tinsmith_export.ir.interpret import interpret
from tinsmith_export.quantize.qat import DistillationData
from tinsmith_export.quantize.recipe import Quantized
from tinsmith_export.quantize.sensitivity import keep_fewest, measure
from tinsmith_export.targets.integers import quant_graph
from tinsmith_export.targets.lower import lower
from tinsmith_export.targets.native.target import NativeTarget
from tinsmith_export.verify.engines import run_batches, start_engine
from tinsmith_runtime.cli import main

L = keras.layers


@pytest.fixture(scope="module")
def chain() -> Compiled:
    """Products with all that may lie between two of them."""
    return compiled(
        settle(
            keras.Sequential(
                [
                    keras.Input((8, 8, 2)),
                    L.Conv2D(6, 3, activation="relu", name="a"),
                    L.ZeroPadding2D(1, name="padding"),
                    L.DepthwiseConv2D(3, activation="relu6", name="b"),
                    L.MaxPooling2D(2, name="pool"),
                    L.Conv2D(8, 1, name="c"),
                    L.ReLU(max_value=1.5),
                    L.Flatten(),
                    L.Dense(5, activation="softmax", name="d"),
                ]
            )
        )
    )


@pytest.mark.parametrize(
    ("keep", "unrounded"),
    [
        ("ab", {"a", "padding"}),
        ("bc", {"b", "pool"}),
        ("cd", {"c", "d/image"}),
        ("abcd", {"a", "padding", "b", "pool", "c", "d/image"}),
        ("ac", set()),
        ("d", set()),
    ],
)
def test_the_engines_agree(chain: Compiled, keep: str, unrounded: set[str]) -> None:
    quantized = chain.quantized.keeping(keep)
    assert set(quantized.unrounded) == unrounded
    model = lower(quantized, chain.entry.sources, tuple("abcde"), True)
    found = interpret(quant_graph(model), chain.codes)
    outputs = [found[quantized.graph.outputs[0].name].reshape(-1, 5)]
    for name, data in int8_files(model).items():
        file = model_file(name, data)
        assert sum(file.target.integer_kernels(data, 4, keep).values()) == 4 - len(keep)
        assert not unrounded & file.target.layer_outputs(data, quantized.graph, chain.codes).keys()
        outputs.append(array(run_batches(start_engine(file), chain.codes)))
    for other in outputs[1:]:
        difference = np.abs(outputs[0].astype(int) - other)
        assert difference.max() <= 1  # a code on the edge between two
        assert (difference == 0).mean() >= 0.99
    floats = array(run(quantized.model, chain.entry.reals(chain.inputs)))
    expected = np.round(floats / model.outputs[0].scale) + model.outputs[0].zero_point
    assert (np.abs(outputs[0] - expected) <= 1).mean() >= 0.99


def test_a_plan_holds_codes_alone(chain: Compiled) -> None:
    model = lower(chain.quantized.keeping("ab"), chain.entry.sources, tuple("abcde"), True)
    with pytest.raises(TargetError, match="codes alone; these are not rounded: a, padding"):
        NativeTarget().emit(model)


@pytest.mark.parametrize(
    ("targets", "planned"),
    [(None, False), (("tflite", "onnx"), False), (("tflite", "onnx", "native"), True)],
)
def test_a_bundle(
    targets: tuple[str, ...] | None,
    planned: bool,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Where a plan is asked for, the same layers are float, and what lies between is rounded.

    Where nobody names the targets, the plan is left out.
    """
    model = settle(
        keras.Sequential(
            [
                keras.Input((8, 8, 1)),
                L.Conv2D(4, 3, activation="relu", name="a"),
                L.Conv2D(4, 3, name="b"),
                L.Flatten(),
                L.Dense(3, name="answer"),
            ]
        )
    )
    inputs = random_inputs((8, 8, 1), 200)
    samples = Samples("random", "0" * 64, inputs, None, inputs, None, ())
    options = Options(
        recipe="ptq",
        max_changed_pp=100.0,
        keep_float=("a", "b"),
        targets=targets,
        layer_errors=True,
    )
    made = compile_model(model, samples, tmp_path / "a.tin", options)
    between = "a" in [row.layer for row in made.sensitivities]
    formats = {variant.format for variant in made.manifest.variants}
    assert between == ("native" in formats) == planned
    notes = [text for text in made.warnings if text.startswith("no file for native: ")]
    assert len(notes) == (targets is None)
    assert all(
        "these are not rounded: a; they are where --targets names native" in n for n in notes
    )
    assert main(["selftest", str(tmp_path / "a.tin")]) == 0


@pytest.fixture(scope="module")
def coarse() -> tuple[Quantized, DistillationData]:
    """One channel of `wide` is a thousand times the others, and counts as much as they do."""

    def spoil(wide: Any, following: Any) -> None:
        factor = np.array([1000.0, 1, 1, 1, 1, 1], np.float32)
        kernel, bias = map(np.abs, wide.get_weights())  # so that no output is 0
        wide.set_weights([kernel * factor, bias * factor])
        kernel, bias = following.get_weights()
        following.set_weights([kernel / factor[:, None], bias])

    made, data = spoiled_classifier(("wide", "next", "fine"), spoil)
    return made.quantized, data


def test_a_coarse_output_is_not_rounded(coarse: tuple[Quantized, DistillationData]) -> None:
    quantized, data = coarse
    heard: list[tuple[int, int]] = []
    ear = lambda *step: heard.append(step)  # noqa: E731
    kept, verdict = keep_fewest(quantized, data, Options(max_changed_pp=5), ear)
    assert [node.name for node in kept.kept] == ["wide", "next"]
    assert set(kept.unrounded) == {"wide"}
    assert verdict.outcome == "pass"
    # Four layers, and the three tensors between them.
    assert heard == [(done, 7) for done in range(1, 8)]
    assert "wide" not in [row.layer for row in measure(kept, data, False, ear)]


def test_float_weights_alone_are_not_enough(coarse: tuple[Quantized, DistillationData]) -> None:
    quantized, data = coarse
    rounded = replace(quantized, calibration=replace(quantized.calibration, regions=False))
    kept, verdict = keep_fewest(rounded, data, Options(max_changed_pp=5), lambda *step: None)
    assert not kept.unrounded
    assert verdict.loss_pp > 5
