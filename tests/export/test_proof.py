"""The gates at their edges, and the numbers they judge by."""

import io

import numpy as np
import pytest

from tinsmith_export.errors import ConversionError, GateError
from tinsmith_export.golden import COUNT, choose_golden
from tinsmith_export.proof import climb, hold_gates, measure_parity
from tinsmith_runtime.manifest import Parity, Rung


def ladder(*accuracies: float) -> list[Rung]:
    stages = ("float", "QAT", "TFLite", "ONNX")
    return [Rung(stage, a, 1000) for stage, a in zip(stages, accuracies, strict=True)]


SAME = Parity(100, 100, 0, 1.0)


@pytest.mark.parametrize("accuracies", [(0.75, 0.1, 0.5, 0.5), (0.75, 0.75, 0.9, 0.5)])
def test_a_loss_at_the_limit_passes(accuracies: tuple[float, ...]) -> None:
    hold_gates(ladder(*accuracies), SAME, 25.0)  # 0.75 and 0.5 are exact in binary


@pytest.mark.parametrize(
    ("accuracies", "stage"),
    [((0.75, 0.75, 0.499, 0.75), "TFLite"), ((0.75, 0.75, 0.75, 0.499), "ONNX")],
)
def test_a_larger_loss_fails(accuracies: tuple[float, ...], stage: str) -> None:
    with pytest.raises(GateError, match=f"{stage} loses 25.10 points.*--max-drop-pp 25"):
        hold_gates(ladder(*accuracies), SAME, 25.0)


def test_a_drop_that_a_decimal_limit_names_exactly_passes() -> None:
    # (0.995 - 0.99) * 100 is a little more than 0.5 in floats.
    hold_gates(ladder(0.995, 0.99, 0.99, 0.99), SAME, 0.5)


def test_engines_may_differ_by_one_lsb() -> None:
    hold_gates(ladder(1, 1, 1, 1), Parity(100, 99, 1, 1.0), 0.5)
    with pytest.raises(GateError, match="2 LSB"):
        hold_gates(ladder(1, 1, 1, 1), Parity(100, 99, 2, 1.0), 0.5)


def test_parity_counts() -> None:
    one = np.array([[-128, 127], [5, 6], [0, 1], [3, 2]], np.int8)
    other = np.array([[127, -128], [5, 6], [1, 0], [3, 1]], np.int8)
    assert measure_parity(one, other) == Parity(8, 3, 255, 0.5)
    assert measure_parity(other, one) == Parity(8, 3, 255, 0.5)
    assert measure_parity(one, one) == Parity(8, 8, 0, 1.0)


def test_the_ladder_is_top_1() -> None:
    logits = np.array([[0.1, 0.9], [0.8, 0.2], [0.3, 0.4], [1.0, -1.0]])
    labels = np.array([1, 0, 0, 0])
    assert climb({"float": logits, "ONNX": -logits}, labels) == (
        Rung("float", 0.75, 4),
        Rung("ONNX", 0.25, 4),
    )


def test_golden_vectors_are_the_first_that_agree() -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (50, 4, 4, 1), np.uint8)
    codes = rng.integers(-128, 128, (50, 3), np.int8)
    other = codes.copy()
    other[::5, 1] ^= 1
    logits = rng.normal(size=(50, 3)).astype(np.float32)
    data, count = choose_golden(pixels, codes, other, logits)
    chosen = [i for i in range(50) if i % 5][:COUNT]
    assert count == len(chosen) == COUNT
    with np.load(io.BytesIO(data), allow_pickle=False) as golden:
        np.testing.assert_array_equal(golden["inputs"], pixels[chosen])
        np.testing.assert_array_equal(golden["outputs_int8"], codes[chosen])
        np.testing.assert_array_equal(golden["outputs_float"], logits[chosen])
    assert choose_golden(pixels[:7], codes[:7], codes[:7], logits[:7])[1] == 7
    with pytest.raises(ConversionError, match="no golden vectors"):
        choose_golden(pixels, codes, ~codes, logits)
