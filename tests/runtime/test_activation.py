import numpy as np
import pytest

from tinsmith_runtime.bundle import Output
from tinsmith_runtime.executor import ACTIVATIONS, code_decoder, probabilities

LOGITS = np.array([[0, 1, 2], [-1000, 0, 1000], [5, 5, 5]], np.float32)


def test_softmax() -> None:
    found = ACTIVATIONS["softmax"](LOGITS)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found[0], np.exp([0, 1, 2]) / np.exp([0, 1, 2]).sum(), rtol=1e-6)
    np.testing.assert_array_equal(found[1], [0, 0, 1])
    np.testing.assert_allclose(found[2], 1 / 3, rtol=1e-6)


def test_sigmoid() -> None:
    found = ACTIVATIONS["sigmoid"](LOGITS)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found[0], 1 / (1 + np.exp([0.0, -1.0, -2.0])), rtol=1e-6)
    np.testing.assert_array_equal(found[1], [0, 0.5, 1])


def test_none() -> None:
    assert ACTIVATIONS["none"](LOGITS) is LOGITS


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_empty(name: str) -> None:
    assert ACTIVATIONS[name](np.empty((0, 3), np.float32)).shape == (0, 3)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("scale", [0.01, 0.6, 0.7, 50.0])
def test_codes(activation: str, scale: float) -> None:
    """The table gives what the arithmetic does, however an engine has its codes."""
    shape = (64, 12)
    codes = np.random.default_rng(0).integers(-128, 128, shape).astype(np.int8)
    codes[0], codes[1] = -128, 127
    output = Output("logits", (None, 12), scale, -7, (), activation, "values")
    logits = (codes.astype(np.float64) + 7) * np.float32(scale)
    for found in (codes, (codes ^ -128).view(np.uint8)):
        floats = code_decoder(output, found.dtype)(found)
        assert (floats.shape, floats.dtype) == (shape, np.dtype(np.float32))
        expected = ACTIVATIONS[activation](logits.astype(np.float32))
        np.testing.assert_allclose(floats, expected, rtol=2e-5, atol=1e-37)
        assert code_decoder(output, found.dtype)(found[:0]).shape == (0, 12)
    doubles = [probabilities(output, sample) for sample in codes.tolist()]
    # A float32 sigmoid is a sum with 1: it has nothing below 2^-24.
    np.testing.assert_allclose(doubles, expected, rtol=2e-5, atol=2**-24)


@pytest.mark.parametrize("size", [1, 16, 64])
@pytest.mark.parametrize("classes", [2, 10, 33, 1000])
def test_equal_codes_are_equally_probable(size: int, classes: int) -> None:
    """The first of several most probable classes is the answer, in a batch of any size."""
    rng = np.random.default_rng(0)
    output = Output("logits", (None, classes), 0.1, 0, (), "softmax", "values")
    decode = code_decoder(output, np.dtype(np.int8))
    for _ in range(50):
        codes = rng.integers(-128, 100, (size, classes), dtype=np.int8)
        codes[:, rng.choice(classes, 2, replace=False)] = 100
        found = decode(codes)
        np.testing.assert_array_equal(found.argmax(axis=1), codes.argmax(axis=1))
        ties = np.sum(found == found.max(axis=1, keepdims=True), axis=1)
        np.testing.assert_array_equal(ties, 2)
