import io
import re
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from narrow import array
from numpy.typing import NDArray

from tinsmith_runtime import Bundle, BundleError, InputError, UsageError, load, read_bundle
from tinsmith_runtime.cli import main
from tinsmith_runtime.inputs.features import quantize, read_features


@given(
    arrays(np.float32, array_shapes(max_dims=4), elements=st.floats(width=32, allow_nan=False)),
    st.floats(2**-20, 2**20, width=32),
    st.integers(-128, 127),
)
def test_quantize(features: NDArray[np.float32], scale: float, zero_point: int) -> None:
    """Against exact fractions: half to even, clipped; a quotient is rounded to float32 first."""
    codes = quantize(features, scale, zero_point)
    assert codes.dtype == np.int8
    assert codes.shape == features.shape
    for real, code in zip(features.ravel().tolist(), codes.ravel().tolist(), strict=True):
        if np.isinf(real):
            exact = 127 if real > 0 else -128
        else:
            quotient = np.float32(
                float(min(max(Fraction(real) / Fraction(scale), Fraction(-1000)), Fraction(1000)))
            )
            exact = round(quotient) + zero_point
        assert code == min(max(exact, -128), 127)


def test_quantize_rounds_half_to_even() -> None:
    halves = np.array([-2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 126.5, 127.5, -128.5], np.float32)
    assert quantize(halves, 1.0, 0).tolist() == [-2, -2, 0, 0, 2, 2, 126, 127, -128]
    assert quantize(halves * 2, 2.0, 1).tolist() == [-1, -1, 1, 1, 3, 3, 127, 127, -127]


def test_same_outputs_as_pixels(
    features: Path, bundle: Bundle, engine: str, pixels: NDArray[np.uint8]
) -> None:
    """A feature `pixel / 255` is what the pixel stands for."""
    for precision in ("int8", "float"):
        with load(features, engine, precision=precision, selftest=True) as model:
            reals = pixels / np.float32(255)
            assert (model.input.kind, model.input.color) == ("features", None)
            found = model.predict_raw(reals)
            # The float engine gets 1 ulp of difference in its inputs.
            expected = {
                "int8": bundle.golden().outputs_int8,
                "float": bundle.golden().outputs_float,
            }[precision]
            tolerance = 0 if precision == "int8" else 1e-4
            np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance)
            np.testing.assert_array_equal(model.predict_raw(reals.astype(np.float64)), found)
            many = np.concatenate([reals] * 5)
            assert model.predict(many).shape == (len(many), 3)
            assert model.predict(reals[:0]).shape == (0, 3)


def test_classify(features: Path, pixels: NDArray[np.uint8], tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", pixels[0] / 255)
    with load(features) as model:
        expected = model.classify(pixels[0] / np.float32(255))
        assert sorted(p.label for p in expected) == ["one", "two", "zero"]
        assert model.classify(tmp_path / "x.npy") == expected
        with pytest.raises(InputError, match="features: expected an array of numbers or"):
            model.classify(b"x")


def test_values(values: Path, bundle: Bundle, engine: str, pixels: NDArray[np.uint8]) -> None:
    golden, output = bundle.golden(), bundle.manifest.output
    with load(values, engine) as model:
        assert (model.output.kind, model.labels) == ("values", ())
        found = model.predict(array(golden.inputs) / np.float32(255))
        assert found.dtype == np.float32
        expected = (array(golden.outputs_int8).astype(float) - output.zero_point) * output.scale
        np.testing.assert_allclose(found, expected, rtol=1e-6)
        with pytest.raises(UsageError, match="the model gives values, not classes: use predict"):
            model.classify(pixels[0] / 255)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((2, 8, 8, 3)), "batch: expected shape (2, 8, 8, 1), got (2, 8, 8, 3)"),
        (np.zeros((8, 8, 1)), "batch: expected shape (N, 8, 8, 1), got (8, 8, 1)"),
        (np.full((1, 8, 8, 1), np.nan, np.float32), "batch: expected numbers, got NaN"),
        (np.full((1, 8, 8, 1), np.nan), "batch: expected numbers, got NaN"),
        (np.zeros((1, 8, 8, 1), bool), "batch: expected float32 features, got bool"),
        (np.zeros((1, 8, 8, 1), object), "batch: expected float32 features, got object"),
        (np.zeros((1, 8, 8, 1), complex), "batch: expected float32 features, got complex128"),
    ],
)
def test_wrong_batch(features: Path, array: NDArray[Any], message: str) -> None:
    with load(features) as model, pytest.raises(InputError, match=re.escape(message)):
        model.predict(array)


def test_beyond_the_range_is_clipped(features: Path) -> None:
    """Infinite features too, and a float64 that no float32 can hold."""
    with load(features) as model:
        ends = np.zeros((1, 8, 8, 1)), np.ones((1, 8, 8, 1))
        lowest, highest = (model.predict(end) for end in ends)
        for far in (2.0, 1e30, 1e300, np.inf):
            np.testing.assert_array_equal(model.predict(ends[1] * far), highest)
            np.testing.assert_array_equal(model.predict(ends[1] * -far), lowest)


def test_read_features(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.arange(3))
    assert read_features(tmp_path / "x.npy", (3,)).tolist() == [0, 1, 2]
    with pytest.raises(InputError, match=r"x\.npy: expected shape \(4,\), got \(3,\)"):
        read_features(str(tmp_path / "x.npy"), (4,))
    with pytest.raises(UsageError, match=r"none\.npy: no such file"):
        read_features(tmp_path / "none.npy", (4,))


def test_golden_nan(forge: Callable[..., Path], bundle: Bundle, features: Path) -> None:
    golden, buffer = bundle.golden(), io.BytesIO()
    inputs = array(golden.inputs) / np.float32(255)
    inputs[3, 4, 5, 0] = np.nan
    np.savez(
        buffer,
        inputs=inputs,
        outputs_int8=golden.outputs_int8,
        outputs_float=golden.outputs_float,
    )

    def edit(tree: Any) -> None:
        tree["inputs"][0].update(kind="features", dtype="float32", layout=None, preprocessing=None)

    with pytest.raises(BundleError, match=r"golden\.npz: inputs: expected numbers, got NaN"):
        read_bundle(forge({"golden.npz": buffer.getvalue()}, edit)).golden()


def test_inspect(values: Path, features: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(values)]) == 0
    said = capsys.readouterr().out
    assert "8 x 8 x 1 float32 features, calibrated on 0 to 1\n" in said
    assert "logits: 3 values, none applied" in said
    assert "PNG" not in said
    assert main(["inspect", str(features)]) == 0
    assert "3 classes (zero, one, two), softmax" in capsys.readouterr().out
