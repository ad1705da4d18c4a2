"""Recurrent layers, unrolled: what they give, and that all steps share their weights."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import onnx
import pytest
from compiling import (
    Compiled,
    called,
    compiled,
    int8_files,
    model_file,
    require_same_outputs,
    rewritten,
    settle,
)
from layer_cases import BOTH, KERASES
from narrow import some
from tensorflow.lite.python import schema_py_generated as schema

from tinsmith_export import Exported, GateError, Options, Samples, compile_model
from tinsmith_export.ir.ops import Weighted
from tinsmith_export.quantize.recipe import Quantized, fine_tune
from tinsmith_export.targets.lower import lower
from tinsmith_export.targets.native.plan import read_plan
from tinsmith_export.verify.engines import run_batches, start_engine

SHAPE = (5, 3)
UNITS, STEPS = 24, 3
Build = Callable[[Any, Any], Any]


def states_handed_over(layers: Any, x: Any) -> Any:
    y, *states = layers.LSTM(4, return_sequences=True, return_state=True)(x)
    return layers.Concatenate()([layers.LSTM(4)(y, initial_state=states), *states])


def bidirectional(mode: str | None, sequences: bool) -> Build:
    def build(layers: Any, x: Any) -> Any:
        inner = layers.LSTM(4, return_sequences=sequences)
        found = layers.Bidirectional(inner, merge_mode=mode)(x)
        return layers.Concatenate()(list(found)) if mode is None else found

    return build


def plain(name: str, **kwargs: Any) -> Build:
    return lambda layers, x: getattr(layers, name)(4, **kwargs)(x)


BUILDS: dict[str, Build] = {
    "simple": plain("SimpleRNN", activation="relu", go_backwards=True, return_sequences=True),
    "simple-unbiased": plain("SimpleRNN", use_bias=False, unroll=True),
    "lstm": plain("LSTM", return_sequences=True),
    "lstm-unbiased": plain("LSTM", use_bias=False, go_backwards=True),
    "gru": plain("GRU", return_sequences=True),
    "gru-unbiased": plain("GRU", use_bias=False),
    "gru-before": plain("GRU", reset_after=False, recurrent_activation="hard_sigmoid"),
    "states": states_handed_over,
    "cells": lambda layers, x: layers.RNN([layers.LSTMCell(4), layers.GRUCell(3)])(x),
    **{
        f"both-{mode}-{sequences}": bidirectional(mode, sequences)
        for mode in ("concat", "sum", "ave", "mul", None)
        for sequences in (False, True)
    },
    "dense": lambda layers, x: layers.TimeDistributed(layers.Dense(2))(x),
    "one-step": lambda layers, x: layers.LSTM(4)(layers.Reshape((1, 15))(x)),
}


@pytest.mark.parametrize("version", BOTH)
@pytest.mark.parametrize("name", BUILDS)
def test_unrolled_it_gives_the_same(name: str, version: str) -> None:
    module = KERASES[version]
    source = module.Input(SHAPE)
    model = settle(module.Model(source, BUILDS[name](module.layers, source)))
    inputs = np.random.default_rng(2).normal(size=(6, *SHAPE)).astype(np.float32)
    before = called(model, inputs)
    require_same_outputs(rewritten(model), model, inputs)
    np.testing.assert_array_equal(called(model, inputs), before)  # the model is as it was


@pytest.fixture(scope="module")
def memory() -> Compiled:
    layers = KERASES["Keras 3"].layers
    memory = [layers.LSTM(UNITS, name="memory"), layers.Dense(3)]
    model = KERASES["Keras 3"].Sequential([KERASES["Keras 3"].Input((STEPS, 3)), *memory])
    return compiled(settle(model))


def require_shared(quantized: Quantized) -> None:
    kernels: dict[str, Weighted] = {}
    for node in quantized.graph.weighted:
        first = kernels.setdefault(node.shared or node.name, node)
        np.testing.assert_array_equal(node.kernel, first.kernel)
        np.testing.assert_array_equal(node.bias, first.bias)
    shared = [node for node in quantized.graph.weighted if node.shared]
    assert len({node.shared for node in shared}) == 4
    assert len(shared) == 4 * STEPS - 1  # nothing is forgotten before the second step


def test_each_file_has_the_weights_of_all_steps_once(memory: Compiled) -> None:
    require_shared(memory.quantized)
    size = UNITS * (UNITS + 3)
    initializers = onnx.load_from_string(memory.files["model.int8.onnx"]).graph.initializer
    assert sum(list(one.dims) == [UNITS, UNITS + 3] for one in initializers) == 4
    (subgraph,) = schema.ModelT.InitFromPackedBuf(memory.files["model.int8.tflite"]).subgraphs
    kernel = [UNITS, 1, 1, UNITS + 3]
    assert sum(list(one.shape) == kernel for one in subgraph.tensors) == 4
    plan = read_plan(memory.files["model.int8.plan"])
    found = [data for one in plan.operators for data in one.constants if len(data) == size]
    assert len(found) == 4 * STEPS - 1
    assert memory.files["model.int8.plan"].count(found[0]) == 1


def test_fine_tuned_they_stay_one(memory: Compiled) -> None:
    tuned = fine_tune(memory.quantized, 2, 16, 0, lambda *_: None)
    require_shared(tuned)
    integers = lower(tuned, memory.entry.sources, (), classes=True)
    first, *others = (
        run_batches(start_engine(model_file(name, data)), memory.codes)
        for name, data in int8_files(integers).items()
    )
    for other in others:
        np.testing.assert_array_equal(other, first)


def test_all_engines_give_the_same_codes(memory: Compiled) -> None:
    first, *others = (
        run_batches(start_engine(model_file(name, data)), memory.codes)
        for name, data in memory.files.items()
    )
    assert len(others) == 2
    for other in others:
        np.testing.assert_array_equal(other, first)


def exported(recurrent: Any, gain: float, folder: Path) -> Exported:
    """A network of 32 steps whose states before count for so much, by `ptq`."""
    layers = [keras.Input((32, 3)), recurrent, keras.layers.Dense(2)]
    model = settle(keras.Sequential(layers))
    kernel, again, *biases = recurrent.get_weights()
    square, _ = np.linalg.qr(np.random.default_rng(3).normal(size=again.shape))
    recurrent.set_weights([kernel, gain * square, *biases])
    inputs = np.random.default_rng(4).normal(size=(80, 32, 3)).astype(np.float32)
    samples = Samples("random", "0" * 64, inputs, None, inputs[:40], None, ())
    return compile_model(model, samples, folder / "rnn.tin", Options(recipe="ptq"))


def test_a_state_that_forgets_is_told(tmp_path: Path) -> None:
    found = exported(keras.layers.SimpleRNN(8, name="memory"), 0.5, tmp_path)
    (state,) = found.manifest.quality.states
    assert (state.name, state.steps) == ("memory", 31)
    assert min(some(state.first_sqnr_db), some(state.last_sqnr_db)) > 20


def test_a_state_whose_error_grows_is_refused_with_the_figure(tmp_path: Path) -> None:
    with pytest.raises(GateError, match=r"error of state `chaos` grows too large: behind step 31 "):
        exported(keras.layers.SimpleRNN(32, name="chaos"), 2.2, tmp_path)
