"""Post-training quantization: corrected biases and narrower ranges, where they help."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import keras
import numpy as np
import pytest
from compiling import Compiled, compiled, settle
from narrow import array

from tinsmith_export.ir.graph import Graph
from tinsmith_export.ir.ops import Weighted
from tinsmith_export.outputs import squared_error
from tinsmith_export.quantize.evaluation import Evaluation, evaluate, with_rounded_weights
from tinsmith_export.quantize.layerwise import correct_layers
from tinsmith_export.quantize.range_search import narrow
from tinsmith_export.quantize.recipe import Quantized, fine_tune, refine
from tinsmith_export.reference.rebuild import rebuild
from tinsmith_runtime.batch import rows

L = keras.layers


def deep() -> keras.Model:
    """A dozen layers, so that what rounding shifts adds up."""
    x = image = keras.Input((12, 12, 3))
    for number in range(4):
        x = L.Conv2D(8, 3, padding="same", use_bias=number % 2 == 0)(x)
        x = L.BatchNormalization()(x)
        x = L.ReLU()(x)
        x = L.Add()([x, L.DepthwiseConv2D(3, padding="same")(x)])
    x = L.GlobalAveragePooling2D()(x)
    model = keras.Model(image, L.Dense(10)(x))
    settle(model)
    return model


@pytest.fixture(scope="module")
def model() -> keras.Model:
    return deep()


@pytest.fixture(scope="module")
def network(model: keras.Model) -> Compiled:
    return compiled(model)


def test_a_graph_node_by_node_is_the_model(network: Compiled) -> None:
    quantized = network.quantized
    inputs = quantized.calibration.data.inputs
    scale = quantized.ranges[quantized.graph.outputs[0].name].scale
    exact = evaluate(quantized.exact, inputs)
    np.testing.assert_allclose(exact, rebuild(quantized.exact).predict(inputs), atol=1e-5)
    rounded = with_rounded_weights(quantized.graph, quantized.ranges, quantized.weight_bits)
    codes = array(evaluate(rounded, inputs, quantized.ranges)) / scale
    model = quantized.model.predict(inputs) / scale
    assert np.abs(codes - np.rint(codes)).max() < 1e-3
    # Sums in another order: a code on the edge is rounded either way, and so are those behind it.
    assert (np.abs(codes - model) < 0.5).mean() > 0.95


def test_means_of_channels_are_those_of_the_float_layers(network: Compiled) -> None:
    """In the last layer, whose output nothing clips, all that rounding shifted is made up for."""
    quantized = network.quantized
    inputs = rows(quantized.calibration.data.inputs, slice(64))
    corrected = correct_layers(quantized.exact, quantized.ranges, quantized.weight_bits, inputs)
    last = quantized.exact.weighted[-1]
    shifts = []
    for graph in (quantized.exact, corrected):
        rounded = with_rounded_weights(graph, quantized.ranges, quantized.weight_bits)
        found, wanted = (
            evaluate(rounded, inputs, quantized.ranges),
            evaluate(quantized.exact, inputs),
        )
        difference = array(found) - array(wanted)
        shifts.append(np.abs(np.mean(difference, axis=0)).max())
    # A shift of the bias is rounded with the output, 64 times, each time to another side.
    assert shifts[1] < max(0.3 * shifts[0], 0.2 * quantized.ranges[last.name].scale)


def test_biases_alone_change(network: Compiled) -> None:
    quantized = network.quantized
    inputs = quantized.calibration.data.inputs
    corrected = correct_layers(quantized.exact, quantized.ranges, quantized.weight_bits, inputs)
    for old, new in zip(quantized.exact.nodes, corrected.nodes, strict=True):
        if isinstance(old, Weighted) and isinstance(new, Weighted):
            assert new.bias is not None
            assert new.bias.dtype == np.float32
            assert new.kernel is old.kernel
        else:
            assert new is old


def test_the_same_every_time(model: keras.Model, network: Compiled) -> None:
    again = compiled(model)
    assert again.files["model.int8.tflite"] == network.files["model.int8.tflite"]


def test_biases_that_do_not_help_are_not_taken(
    model: keras.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tinsmith_export.quantize import recipe

    def spoilt(graph: Graph, *_: Any) -> Graph:
        return Graph(
            tuple(
                replace(n, bias=np.full(n.channels, 3, np.float32))
                if isinstance(n, Weighted)
                else n
                for n in graph.nodes
            )
        )

    monkeypatch.setattr(recipe, "correct_layers", spoilt)
    quantized = compiled(model).quantized
    assert quantized.graph is quantized.exact


class TestNarrow:
    """On an error that knows which range should be how wide."""

    @staticmethod
    def error(wanted: dict[str, float]) -> Callable[[Any], float]:
        return lambda observed: sum((observed[k][1] - v) ** 2 for k, v in wanted.items()) + 1e-9

    def test_until_the_error_rises(self, network: Compiled) -> None:
        graph, observed = network.quantized.exact, network.quantized.calibration.observed
        name = next(iter(observed))
        low, high = observed[name]
        found = narrow(graph, observed, self.error({name: high * 0.8}), lambda *_: None)
        assert found[name] == pytest.approx((low * 0.81, high * 0.81))
        assert {k: v for k, v in found.items() if k != name} == {
            k: v for k, v in observed.items() if k != name
        }

    def test_not_without_end(self, network: Compiled) -> None:
        graph, observed = network.quantized.exact, network.quantized.calibration.observed
        name = next(iter(observed))
        found = narrow(graph, observed, self.error({name: 0.0}), lambda *_: None)
        assert found[name][1] == pytest.approx(observed[name][1] * 0.9**3)

    def test_nothing_for_nothing(self, network: Compiled) -> None:
        graph, observed = network.quantized.exact, network.quantized.calibration.observed
        done: list[tuple[int, int]] = []
        assert narrow(graph, observed, lambda _: 1.0, lambda *at: done.append(at)) == observed
        assert done == [(n, len(observed)) for n in range(1, len(observed) + 1)]


def test_a_search_keeps_what_is_better_on_inputs_held_back(network: Compiled) -> None:
    def error(quantized: Quantized) -> float:
        return quantized.measured.mean_squared_error

    before = network.quantized
    found = refine(before, lambda *_: None)
    assert error(found) <= error(before)
    for name, (low, high) in before.calibration.observed.items():
        now = found.calibration.observed[name]
        assert low <= now[0] <= now[1] <= high or (low, high) == now


def test_fine_tuning_corrects_again(network: Compiled) -> None:
    tuned = fine_tune(network.quantized, 4, 8, 0, lambda *_: None)
    held_back = tuned.calibration.held_back
    outputs = tuned.model.predict(held_back.inputs[:256], verbose=0)
    wanted = held_back.outputs[:256]
    assert tuned.measured.mean_squared_error == pytest.approx(
        squared_error(wanted, outputs), rel=0.1
    )


def test_what_nothing_reads_any_more_is_forgotten(network: Compiled) -> None:
    graph = network.quantized.exact
    evaluation = Evaluation(graph, network.quantized.calibration.data.inputs)
    most = 0
    for node in graph.nodes:
        evaluation.compute(node)
        evaluation.forget(node)
        most = max(most, len(evaluation.tensors))
    assert most <= 3
    assert len(evaluation.tensors) == 1
