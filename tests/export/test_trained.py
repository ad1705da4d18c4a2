"""Fine-tuning learns scales: what is too wide becomes narrower, and what belongs together stays."""

from dataclasses import replace

import keras
import numpy as np
import pytest
from compiling import Compiled, compiled, settle

from tinsmith_export.ir.ops import Weighted
from tinsmith_export.quantize import trained
from tinsmith_export.quantize.recipe import Quantized, fine_tune, quantize
from tinsmith_export.quantize.trained import range_widths
from tinsmith_export.verify.pairs import require_exact_pairs

L = keras.layers
TIMES = 2.0


@pytest.fixture(scope="module")
def network() -> Compiled:
    """A concatenation and a sum."""
    image = keras.Input((8, 8, 3))
    parts = [L.Conv2D(4, 3, padding="same", activation="relu", name=n)(image) for n in "ab"]
    joined = L.Concatenate()(parts)
    x = L.Add()([joined, L.Conv2D(8, 3, padding="same", name="c")(joined)])
    x = L.GlobalAveragePooling2D()(L.ReLU()(x))
    return compiled(settle(keras.Model(image, L.Dense(5, name="answer")(x))))


@pytest.fixture(scope="module")
def wide(network: Compiled) -> Quantized:
    """The same with ranges that are far too wide, but for that of the output."""
    calibration = network.quantized.calibration
    last = network.quantized.exact.weighted[-1].name
    observed = {
        name: span if name == last else (span[0] * TIMES, span[1] * TIMES)
        for name, span in calibration.observed.items()
    }
    return quantize(network.quantized.exact, replace(calibration, observed=observed))


@pytest.fixture(scope="module")
def tuned(wide: Quantized) -> Quantized:
    return tune(wide)


def tune(wide: Quantized) -> Quantized:
    """Fine-tunes with ranges that move so quickly that a few steps are enough."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trained, "_WIDTH_UNIT", 4 * trained._WIDTH_UNIT)
        return fine_tune(wide, 60, 25, 0, lambda *_: None)


def test_what_is_too_wide_becomes_narrower(wide: Quantized, tuned: Quantized) -> None:
    assert tuned.measured.mean_squared_error < 0.6 * wide.measured.mean_squared_error
    for name in ("a", "c"):
        assert tuned.ranges[name].scale < 0.75 * wide.ranges[name].scale
        assert tuned.ranges[name].zero_point == wide.ranges[name].zero_point


def test_outputs_keep_what_was_observed(wide: Quantized, tuned: Quantized) -> None:
    for node in wide.exact.outputs:
        assert tuned.ranges[node.name] == wide.ranges[node.name]


def test_what_belongs_together_stays_together(wide: Quantized, tuned: Quantized) -> None:
    calibration = wide.calibration
    widths = range_widths(wide.exact, calibration.observed, calibration.sources)
    assert widths["a"] is widths["b"]
    assert widths["a"] is not widths["c"]
    assert {node.name for node in wide.exact.inputs}.isdisjoint(widths)
    assert tuned.ranges["a"] == tuned.ranges["b"]
    require_exact_pairs(tuned.graph, tuned.ranges)


def test_the_same_every_time(wide: Quantized, tuned: Quantized) -> None:
    other = tune(wide)
    assert tuned.ranges == other.ranges
    for node, again in zip(tuned.graph.nodes, other.graph.nodes, strict=True):
        if isinstance(node, Weighted) and isinstance(again, Weighted):
            np.testing.assert_array_equal(node.kernel, again.kernel)
