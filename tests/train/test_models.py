import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tinsmith_data.quiet import import_tensorflow
from tinsmith_runtime.errors import UsageError
from tinsmith_train.recipe import DEPTHS, RECIPES

import_tensorflow()

from tinsmith_train.models import build_model, count_macs  # noqa: E402

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "train.md"
CLASSIFIERS = [name for name, recipe in RECIPES.items() if recipe.task == "classify"]

# What an integer engine computes without rounding where another does not.
EXACT_LAYERS = {
    "BatchNormalization",
    "Conv2D",
    "Dense",
    "Dropout",
    "Flatten",
    "InputLayer",
    "MaxPooling2D",
    "ReLU",
}


# Averages and sums: within 1 LSB, which the export verifies.
PHOTO_LAYERS = EXACT_LAYERS | {"Add", "DepthwiseConv2D", "GlobalAveragePooling2D"}
PHOTO_MODELS = ("mobilenet", "mobilenetv2", "resnet", "dscnn")


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_pixels_to_probabilities(name: str) -> None:
    model = build_model(name, (28, 28, 1), 10)
    images = np.random.default_rng(0).random((3, 28, 28, 1), dtype=np.float32)
    probabilities = model.predict(images, verbose=0)
    assert probabilities.shape == (3, 10)
    assert probabilities.dtype == np.float32
    # float32 sums of ten numbers
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)
    allowed = PHOTO_LAYERS if name in PHOTO_MODELS else EXACT_LAYERS
    assert {type(layer).__name__ for layer in model.layers} <= allowed


def test_cnn_fits_the_edge() -> None:
    model = build_model("cnn", (28, 28, 1), 10)
    assert model.count_params() <= 40_000
    assert count_macs(model) <= 3_000_000


def test_lenet_is_the_courses() -> None:
    model = build_model("lenet", (28, 28, 1), 10)
    convolutions = 25 * 1 * 32 + 32 + 25 * 32 * 64 + 64
    dense = 7 * 7 * 64 * 1024 + 1024 + 1024 * 10 + 10
    assert model.count_params() == convolutions + dense
    assert (
        count_macs(model)
        == 28 * 28 * 25 * 32 + 14 * 14 * 25 * 32 * 64 + 7 * 7 * 64 * 1024 + 1024 * 10
    )


def test_softmax_starts_at_zero() -> None:
    weights = build_model("softmax", (28, 28, 1), 10).get_weights()
    assert [weight.shape for weight in weights] == [(784, 10), (10,)]
    assert not any(weight.any() for weight in weights)


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_other_images_and_classes(name: str) -> None:
    model = build_model(name, (32, 36, 3), 4)
    assert model.input_shape == (None, 32, 36, 3)
    assert model.output_shape == (None, 4)
    assert count_macs(model) >= math.prod((32, 36, 3))


def test_images_too_small_are_refused() -> None:
    with pytest.raises(UsageError, match="images of 6 by 6 by 1 are too small for the model `cnn`"):
        build_model("cnn", (6, 6, 1), 10)


@pytest.mark.parametrize("name", PHOTO_MODELS)
def test_photo_models_are_as_large_as_the_readme_says(name: str) -> None:
    recipe = RECIPES[name]
    narrow, wide = (
        build_model(name, (96, 96, 3), 3, replace(recipe, width=width)).count_params()
        for width in (recipe.width / 2, recipe.width)
    )
    model = build_model(name, (96, 96, 3), 3)
    assert narrow < wide == model.count_params()
    row = next(line for line in PAGE.read_text().splitlines() if line.startswith(f"| `{name}` |"))
    assert f"| {model.count_params():,} | {count_macs(model) / 1e6:.3g} million |" in row


def test_resnets_of_three_depths() -> None:
    for depth in DEPTHS:
        model = build_model("resnet", (32, 32, 3), 10, replace(RECIPES["resnet"], depth=depth))
        convolutions = [layer for layer in model.layers if type(layer).__name__ == "Conv2D"]
        shortcuts = 2  # where a stack begins
        assert len(convolutions) - shortcuts + 1 == depth
    # Section 4.2 of the paper: 0.27 million parameters in 20 layers.
    assert round(model.count_params() / 1e6, 2) == 0.27
