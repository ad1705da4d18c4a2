"""Weights of 8 and of 7 bits, and which of them overflow the kernels of some x86 CPUs."""

import itertools
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import onnxruntime
import pytest
from compiling import Compiled, compiled, random_inputs, settle
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tinsmith_export.errors import ConversionError
from tinsmith_export.quantize.fake_quantization import can_saturate
from tinsmith_export.targets.onnx import kernels
from tinsmith_export.targets.onnx import session as onnx_session
from tinsmith_export.targets.onnx.kernels import require_integer_kernels
from tinsmith_export.targets.target import Product
from tinsmith_export.targets.tflite import outputs as tflite_outputs
from tinsmith_export.verify.engines import run_batches
from tinsmith_export.verify.saturation import require_no_saturation, saturates
from tinsmith_runtime import read_bundle
from tinsmith_runtime.backends import create_backend, ort
from tinsmith_runtime.cli import main

DATA = Path(__file__).parents[1] / "data"
EIGHT = read_bundle(DATA / "eight.tin")
PRODUCTS = len(EIGHT.manifest.layers)


@given(
    hnp.arrays(
        np.int8,
        hnp.array_shapes(min_dims=2, max_dims=2, max_side=6),
        elements=st.sampled_from([-127, -65, -64, -63, -2, -1, 0, 1, 2, 63, 64, 65, 127]),
    )
)
def test_saturation_is_what_any_two_weights_of_a_channel_can_do(codes: np.ndarray) -> None:
    # vpmaddubsw: two uint8 x int8 products, summed in int16; every input is 0 or 255 at worst.
    worst = max(
        abs(255 * (int(a) + int(b)))
        for channel in codes.T
        for a, b in itertools.chain(
            itertools.combinations(channel, 2), ((weight, 0) for weight in channel)
        )
    )
    assert can_saturate(codes.astype(np.int16)) == (worst > 32767)


def test_weights_that_could_saturate_are_refused() -> None:
    def product(operator: str, *weights: int) -> Product:
        codes, scale, grid = np.array([weights], np.int8), np.ones(1, np.float32), (1.0, 0)
        return Product(operator, "conv", True, False, codes, scale, 0, None, grid, grid)

    require_no_saturation([product("FULLY_CONNECTED", 127, 1, -127)])
    require_no_saturation([replace(product("DEPTHWISE_CONV_2D", 127, 127), exact=True)])
    with pytest.raises(ConversionError, match="conv"):
        require_no_saturation([product("CONV_2D", 127, 2)])
    # Two outputs a channel: a product of matrices in ONNX Runtime.
    codes = np.array([[127, 0], [2, 0]], np.int8).reshape(1, 1, 2, 2)
    multiplied = replace(product("DEPTHWISE_CONV_2D"), weights=codes)
    with pytest.raises(ConversionError, match="conv"):
        require_no_saturation([multiplied])


def largest_weights(model: Compiled) -> set[int]:
    return {int(np.abs(one.weights.astype(np.int16)).max()) for one in model.products}


def test_weights_have_eight_bits(converted: Compiled) -> None:
    assert set(converted.quantized.weight_bits.values()) == {8}
    assert largest_weights(converted) == {127}
    assert all(map(saturates, converted.products))


def test_seven_bits_need_no_option_of_onnx_runtime() -> None:
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((8, 8, 4)),
            layers.Conv2D(16, 3, activation="relu"),
            layers.DepthwiseConv2D(3, activation="relu"),
            layers.Flatten(),
            layers.Dense(5),
        ]
    )
    narrow = compiled(settle(model), weight_bits=7)
    # A depthwise layer of one output a channel adds in 32 bits.
    assert sorted(narrow.quantized.weight_bits.values()) == [7, 7, 8]
    assert largest_weights(narrow) == {63, 127}
    require_no_saturation(narrow.products)
    images = random_inputs((8, 8, 4), 500, seed=3)
    session = onnxruntime.InferenceSession(
        narrow.files["model.int8.onnx"], providers=["CPUExecutionProvider"]
    )
    (found,) = session.run(None, {session.get_inputs()[0].name: images})
    backend = create_backend("litert", narrow.files["model.int8.tflite"], 1)
    wanted = run_batches(backend, narrow.entry.codes(images))
    np.testing.assert_array_equal((found ^ 128).view(np.int8), wanted)


@pytest.mark.parametrize("bits", [7, 8])
def test_the_command_and_the_manifest(
    bits: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    layers = keras.layers
    model = keras.Sequential([keras.Input((6, 6, 2)), layers.Conv2D(8, 3), layers.Flatten()])
    model.add(layers.Dense(3))
    settle(model).save(tmp_path / "model.keras")
    np.save(tmp_path / "images.npy", random_inputs((6, 6, 2), 60, seed=5))
    words = ["export", tmp_path / "model.keras", "--data", tmp_path / "images.npy", "--quiet"]
    words += ["--recipe", "ptq", "--weight-bits", bits]
    assert main([str(word) for word in words]) == 0
    manifest = read_bundle(tmp_path / "model.tin").manifest
    assert {(layer.weight_bits, layer.saturates) for layer in manifest.layers} == {(bits, bits > 7)}
    said = capsys.readouterr().out
    counts = "8 bits in 2 layers, 7 in 0" if bits == 8 else "8 bits in 0 layers, 7 in 2"
    assert f"weights  {counts}, float in 0; {2 if bits == 8 else 0} could saturate\n" in said
    assert ("\ncpu      ONNX: adds pairs of products in 16 bits" in said) == ort.saturates()


def test_no_kernel_of_this_machine_overflows() -> None:
    found = require_integer_kernels(EIGHT.files["model.int8.onnx"], PRODUCTS)
    assert sum(found.values()) == PRODUCTS


def test_weights_that_overflow_here_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a CPU whose kernels overflow, if the option were not given or had no effect."""
    monkeypatch.setattr(ort, "saturates", lambda: False)
    monkeypatch.setattr(kernels, "saturates", lambda: True)
    with pytest.raises(ConversionError, match=r"beyond 64 could overflow on this CPU in .*conv"):
        require_integer_kernels(EIGHT.files["model.int8.onnx"], PRODUCTS)
    # Weights of 7 bits cannot.
    tiny = read_bundle(DATA / "tiny.tin")
    require_integer_kernels(tiny.files["model.int8.onnx"], len(tiny.manifest.layers))


def test_every_output_by_its_name() -> None:
    bundle = read_bundle(DATA / "pair.tin")
    codes = (np.zeros((3, 8, 8, 1), np.int8), np.zeros((3, 8), np.int8))
    found = tflite_outputs.run_outputs(bundle.files["model.int8.tflite"], codes)
    shifted = tuple(array.view(np.uint8) ^ 128 for array in codes)
    others = onnx_session.run_outputs(bundle.files["model.int8.onnx"], shifted)
    assert set(found) == set(others) == {output.name for output in bundle.manifest.outputs}
    for name, array in found.items():
        np.testing.assert_array_equal(array, (others[name] ^ 128).view(np.int8))
