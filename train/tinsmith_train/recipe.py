"""What each model is and how it is trained when nobody says otherwise."""

import math
from dataclasses import dataclass

from tinsmith_runtime.errors import UsageError

STRIDE = 8
"""Of the detector's map: a cell is as many pixels wide and high."""


@dataclass(frozen=True)
class Recipe:
    """A model's defaults.

    Attributes:
        summary: one line for `--help`.
        epochs: passes over the training images.
        min_steps: a small dataset gets more epochs, until there are this many steps.
        batch_size: images in a step.
        learning_rate: of the optimizer; the peak, where there is a schedule.
        held_back: the part of the training images that is not trained on but picks the best epoch.
        label_smoothing: 0 where labels are integers; more than 0 makes them one-hot.
        one_cycle: warm up to the learning rate, then down to zero along a cosine.
        weight_decay: decoupled, as in AdamW.
        augment: shift, turn, zoom and shear the training images at random.
        task: `classify` images with labels, or `detect` what has a box in images.
    """

    summary: str
    epochs: int
    batch_size: int
    learning_rate: float
    min_steps: int = 0
    held_back: float = 1 / 12
    label_smoothing: float = 0.0
    one_cycle: bool = False
    weight_decay: float = 0.0
    augment: bool = False
    task: str = "classify"

    def epochs_for(self, images: int) -> int:
        """Gives the number of epochs for a training set of `images` images."""
        return max(self.epochs, math.ceil(self.min_steps * self.batch_size / images))


RECIPES = {
    "cnn": Recipe(
        "small, batch-normalised CNN for the edge (the default)",
        epochs=18,
        batch_size=128,
        learning_rate=5e-3,
        min_steps=600,
        label_smoothing=0.05,
        one_cycle=True,
        weight_decay=4e-3,
        augment=True,
    ),
    "lenet": Recipe(
        "5x5 convolutions of 32 and 64, dense 1024, dropout",
        epochs=4,
        batch_size=64,
        learning_rate=1e-3,
        min_steps=300,
    ),
    "mlp": Recipe(
        "multi-layer perceptron, 128 and 64 units",
        epochs=10,
        batch_size=128,
        learning_rate=1e-3,
        min_steps=600,
    ),
    # The course notebook this project grew from; it trains on every image.
    "softmax": Recipe(
        "softmax regression in a loop of its own",
        epochs=10,
        batch_size=50,
        learning_rate=0.25,
        held_back=0.0,
    ),
    "detector": Recipe(
        "single-shot detector, for data with boxes",
        epochs=8,
        batch_size=32,
        learning_rate=4e-3,
        min_steps=600,
        held_back=1 / 20,
        one_cycle=True,
        weight_decay=4e-3,
        task="detect",
    ),
}


def find_recipe(model: str) -> Recipe:
    """Gives the recipe of a model.

    Raises:
        UsageError: there is no such model.
    """
    if model not in RECIPES:
        raise UsageError(f"unknown model `{model}`: expected {', '.join(RECIPES)}")
    return RECIPES[model]
