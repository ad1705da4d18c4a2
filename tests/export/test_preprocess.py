"""Pixels as networks want them: means and deviations of channels, their order, Keras's modes.

A bundle takes RGB pixels, whatever its network takes.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from compiling import (
    ZERO_TO_ONE,
    called,
    compiled,
    model_file,
    settle,
)
from interpreted import require_interpreted
from keras.src.applications.resnet import ResNet, stack_residual_blocks_v1
from narrow import array
from numpy.typing import NDArray
from PIL import Image

from tinsmith_export import Options, Samples, check, compile_model
from tinsmith_export.verify.engines import run_batches, start_engine
from tinsmith_runtime import load
from tinsmith_runtime.bundle import PixelRanges
from tinsmith_runtime.errors import UsageError
from tinsmith_runtime.inputs.image import read_image

L = keras.layers
SHAPE = (16, 16, 3)
MODES = ("tf", "torch", "caffe")


def photographs(size: int, count: int) -> NDArray[np.uint8]:
    """Smooth pictures, each with a colour of its own."""
    rng = np.random.default_rng(7)
    coarse = rng.integers(0, 256, (count, 4, 4, 3), np.uint8)
    tint = rng.integers(0, 256, (count, 1, 1, 3), np.uint8)
    mixed = (coarse // 2 + tint // 2).astype(np.uint8)
    pictures = [
        Image.fromarray(one).resize((size, size), Image.Resampling.BICUBIC) for one in mixed
    ]
    return np.stack([np.asarray(one) for one in pictures])


def samples_of(images: NDArray[Any]) -> Samples:
    return Samples("pictures", "0" * 64, images, None, images, None, ())


def small() -> keras.Model:
    source = keras.Input(SHAPE)
    x = L.Conv2D(8, 3, strides=2, padding="same", use_bias=False)(source)
    x = L.ReLU(max_value=6)(L.BatchNormalization()(x))
    x = L.DepthwiseConv2D(3, padding="same", activation="relu")(x)
    return keras.Model(source, L.Dense(5, activation="softmax")(L.GlobalAveragePooling2D()(x)))


def mobilenet() -> keras.Model:
    return keras.applications.MobileNetV2((32, 32, 3), alpha=0.35, weights=None, classes=5)


def resnet() -> keras.Model:
    """The ResNet of keras.applications with one block that is narrow."""
    return ResNet(
        lambda x: stack_residual_blocks_v1(x, 8, 1, stride1=1, name="conv2"),
        preact=False,
        use_bias=True,
        weights=None,
        input_shape=(32, 32, 3),
        classes=5,
        weights_name="narrow",
    )


def with_statistics(model: keras.Model, images: NDArray[np.float32]) -> keras.Model:
    """Takes the batch normalizations' statistics from images, so that these make a difference."""
    for layer in model.layers:
        if isinstance(layer, L.BatchNormalization):
            layer.momentum = 0.0
    model(images, training=True)
    return model


@pytest.mark.slow
@pytest.mark.parametrize(
    ("mode", "build"),
    [*((mode, small) for mode in MODES), ("tf", mobilenet), ("caffe", resnet)],
)
def test_from_a_jpeg_on_a_bundle_gives_what_keras_gives(
    mode: str, build: Callable[[], keras.Model], tmp_path: Path
) -> None:
    def preprocess(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        given = np.array(pixels, np.float32)  # Keras may change what it is given
        found = keras.applications.imagenet_utils.preprocess_input(given, mode=mode)
        return np.asarray(found, np.float32)

    keras.utils.set_random_seed(1)
    model = build()
    size = model.input_shape[1]
    pictures = photographs(size, 64)
    model = with_statistics(model, preprocess(pictures))
    options = Options(preprocess=mode, recipe="ptq", max_changed_pp=100)
    bundle = tmp_path / "model.tin"
    compile_model(model, samples_of(pictures), bundle, options)

    jpeg = tmp_path / "photo.jpg"
    Image.fromarray(photographs(3 * size, 1)[0]).save(jpeg, quality=90)
    pixels = read_image(jpeg, model.input_shape[1:])
    both = np.stack([pixels, pixels[..., ::-1]])
    expected, turned = model.predict(preprocess(both), verbose=0)
    assert np.abs(expected - turned).max() > 1e-3  # so that an error would be seen
    int8 = []
    for engine, precision in (
        *((engine, "float") for engine in ("litert", "onnx")),
        *((engine, "int8") for engine in ("litert", "onnx", "native")),
    ):
        with load(bundle, engine, precision=precision) as runner:
            answers = {one.label: one.probability for one in runner.classify(jpeg)}
        found = np.array([answers[str(label)] for label in range(5)])
        # Float: sums in another order. Int8: codes of logits; MobileNetV2 at this size, untrained,
        # makes of any error a large one, whatever it takes for pixels.
        rounded = 0.1 if build is mobilenet else 0.01
        tolerance = 1e-4 if precision == "float" else rounded
        np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance)
        int8 += [found] if precision == "int8" else []
    np.testing.assert_allclose(int8, [int8[0]] * 3, rtol=0, atol=1e-6)


FIRST: dict[str, Callable[[], list[keras.Layer]]] = {
    "same": lambda: [L.Conv2D(6, 3, padding="same")],
    "same, strides": lambda: [L.Conv2D(6, 3, padding="same", strides=2)],
    "valid": lambda: [L.Conv2D(6, 3)],
    "padded": lambda: [L.ZeroPadding2D(((1, 2), (2, 1))), L.Conv2D(6, 4)],
    "depthwise": lambda: [L.DepthwiseConv2D(3, padding="same", depth_multiplier=2)],
    "grouped": lambda: [L.Conv2D(6, 3, groups=3, padding="same")],
    "dense": lambda: [L.Flatten(), L.Dense(8)],
    "normalized": lambda: [
        L.Normalization(mean=[0.1, 0.2, -0.3], variance=[1.0, 2.0, 3.0]),
        L.Conv2D(6, 3, padding="same"),
    ],
}


def noise_lsb(kind: str, pixels: PixelRanges) -> NDArray[np.float32]:
    """The error of the integers of a first layer, in steps of its output."""
    source = keras.Input(SHAPE)
    x = source
    for layer in FIRST[kind]():
        x = layer(x)
    model = settle(keras.Model(source, x))
    made = compiled(model, inputs=photographs(16, 50), pixels=pixels)
    # That the float graph gives what Keras gives, at the borders too, `compiled` has asserted.
    require_interpreted(made)
    assert made.parity.equal == made.parity.compared
    expected = array(called(model, made.entry.model_reals(made.inputs)))
    engine = start_engine(model_file("model.int8.tflite", made.files["model.int8.tflite"]))
    codes = array(run_batches(engine, made.codes)).astype(np.float32)
    found = (codes - made.output.zero_point) * np.float32(made.output.scale)
    return array((found - expected) / np.float32(made.output.scale))


@pytest.mark.parametrize("kind", FIRST)
def test_integers_are_as_near_with_a_mean_for_each_channel(kind: str) -> None:
    """As with one pair for all, and at the borders as well as inside."""
    rng = np.random.default_rng(list(FIRST).index(kind))
    mean, std = rng.uniform(90, 160, 3), rng.uniform(40, 80, 3)
    order = "bgr" if kind != "valid" else "rgb"
    pixels = Options(mean=tuple(mean), std=tuple(std), channels=order).pixel_ranges
    error = noise_lsb(kind, pixels)
    # To round alone is 0.29; where something is padded, the pixels are rounded once before.
    assert error.std() < 1.5 * noise_lsb(kind, ZERO_TO_ONE).std()
    assert error.std() < 0.5
    if error.ndim == 4:
        inside = error[:, 2:-2, 2:-2]
        border = (np.square(error).sum() - np.square(inside).sum()) / (error.size - inside.size)
        assert border**0.5 < 1.3 * inside.std()


def test_an_order_of_channels_costs_nothing() -> None:
    """Pixels that stand for zero keep their codes, and the weights are turned round."""
    source = keras.Input(SHAPE)
    x = L.Conv2D(4, 3, padding="same")(source)
    model = settle(keras.Model(source, L.Dense(3)(L.Flatten()(x))))
    pictures = photographs(16, 50)
    plain = compiled(model, inputs=pictures[..., ::-1])
    turned = compiled(model, inputs=pictures, pixels=PixelRanges(((0.0, 1.0),), "bgr"))
    assert [node.kind for node in turned.graph.layers] == [n.kind for n in plain.graph.layers]
    for name, file in plain.files.items():
        runs = (start_engine(model_file(name, data)) for data in (file, turned.files[name]))
        one, other = (run_batches(e, m.codes) for e, m in zip(runs, (plain, turned), strict=True))
        np.testing.assert_array_equal(array(one), array(other))


def test_two_readers_share_one_scaling() -> None:
    source = keras.Input(SHAPE)
    parts = [L.Conv2D(4, 3)(source), L.DepthwiseConv2D(3)(source)]
    model = settle(keras.Model(source, L.Dense(3)(L.Flatten()(L.Concatenate()(parts)))))
    made = compiled(model, pixels=Options(preprocess="caffe").pixel_ranges)
    kinds = [node.kind for node in made.graph.layers]
    assert kinds[:2] == ["Gather", "DepthwiseConv2D"]
    require_interpreted(made)
    assert made.parity.equal == made.parity.compared


@pytest.mark.parametrize(
    ("shape", "options", "said"),
    [
        ((8, 8, 1), {"preprocess": "torch"}, "is an image of 1 channel: expected one mean and std"),
        ((8, 8, 1), {"preprocess": "caffe"}, "is an image of 1 channel: expected one mean and std"),
        ((8, 8, 4), {"mean": (1.0, 2.0, 3.0)}, "is an image of 4 channels: expected one mean and"),
        ((8, 8, 4), {"channels": "bgr"}, "is an image of 4 channels: expected 3 for --channels"),
        ((8, 8, 1), {"channels": "bgr", "mean": (4.0,)}, "is an image of 1 channel: expected 3"),
    ],
)
def test_other_channels_than_the_model_has(
    shape: Any, options: Any, said: str, tmp_path: Path
) -> None:
    model = keras.Sequential([keras.Input(shape), L.Conv2D(2, 3), L.Flatten(), L.Dense(3)])
    model.save(tmp_path / "model.keras")
    with pytest.raises(UsageError, match=said):
        check(tmp_path / "model.keras", Options(**options))


def test_four_channels_have_four_means() -> None:
    model = keras.Sequential([keras.Input((8, 8, 4)), L.Conv2D(3, 3, padding="same"), L.Flatten()])
    made = compiled(
        settle(model), pixels=Options(mean=(99.0, 110.0, 120.5, 0.0), std=(60.0,)).pixel_ranges
    )
    assert made.parity.equal == made.parity.compared


@pytest.mark.parametrize(("mean", "std"), [((1.0,), None), (None, (2.0, 3.0, 4.0))])
def test_features_have_no_channels(mean: Any, std: Any, tmp_path: Path) -> None:
    model = keras.Sequential([keras.Input(SHAPE), L.Flatten(), L.Dense(3)])
    floats = np.random.default_rng(0).random((20, *SHAPE), np.float32)
    with pytest.raises(UsageError, match=r"(mean|std): expected uint8 pixels .* got features"):
        compile_model(model, samples_of(floats), tmp_path / "m.tin", Options(mean=mean, std=std))
