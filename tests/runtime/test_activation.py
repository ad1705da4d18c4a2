import numpy as np
import pytest

from tinsmith_runtime.activation import ACTIVATIONS

LOGITS = np.array([[0, 1, 2], [-1000, 0, 1000], [5, 5, 5]], np.float32)


def test_softmax():
    found = ACTIVATIONS["softmax"](LOGITS)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found[0], np.exp([0, 1, 2]) / np.exp([0, 1, 2]).sum(), rtol=1e-6)
    np.testing.assert_array_equal(found[1], [0, 0, 1])
    np.testing.assert_allclose(found[2], 1 / 3, rtol=1e-6)


def test_sigmoid():
    found = ACTIVATIONS["sigmoid"](LOGITS)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found[0], 1 / (1 + np.exp([0.0, -1.0, -2.0])), rtol=1e-6)
    np.testing.assert_array_equal(found[1], [0, 0.5, 1])


def test_none():
    assert ACTIVATIONS["none"](LOGITS) is LOGITS


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_empty(name: str):
    assert ACTIVATIONS[name](np.empty((0, 3), np.float32)).shape == (0, 3)
