"""What each model is and how it is trained when nobody says otherwise."""

import math
from dataclasses import dataclass, replace

from tinsmith_data.dataset import Dataset
from tinsmith_runtime.errors import UsageError

STRIDE = 8
"""Of the detector's map: a cell is as many pixels wide and high."""
AUGMENTATIONS = ("auto", "none", "shifts", "photos")
DEPTHS = (8, 14, 20)
_FINE = 0.1
_SMALLEST_BATCH = 8  # of fewer images batch normalisation makes little sense
_LARGE = 64  # pixels: of larger images the cnn would get millions of weights


@dataclass(frozen=True)
class Phase:
    """Epochs with one optimizer.

    Attributes:
        start: how many epochs are before.
        end: how many are over with it.
        rate: the learning rate; the peak, where there is a schedule.
        frozen: whether only the head learns.
    """

    start: int
    end: int
    rate: float
    frozen: bool


@dataclass(frozen=True)
class Recipe:
    """A model's defaults.

    Attributes:
        summary: one line for `--help`.
        epochs: passes over the training images.
        min_steps: a small dataset gets more epochs, until there are this many steps.
        batch_size: images in a step; a small dataset gets fewer, see `batch_for`.
        learning_rate: of the optimizer; the peak, where there is a schedule.
        held_back: the part of the training images that is not trained on but picks the best epoch.
        stratified: whether it is this part of each class.
        label_smoothing: 0 where labels are integers; more than 0 makes them one-hot.
        warm_up: the part of the steps in which the learning rate rises.
        one_cycle: afterwards it falls to zero along a cosine.
        weight_decay: decoupled, as in AdamW.
        augment: changes the training images at random: `none`, `shifts` or `photos`, see
            `batches.augment`; `auto`: `photos` where images have colours, else `shifts`.
        patience: ends training after so many epochs that are no better; `None`: never.
        frozen: the part of the epochs in which a trained network below a new head stays as it is.
        width: multiplies the filters; 0 where a model has no width.
        depth: layers; 0 where a model has one depth alone.
        task: `classify` images with labels, or `detect` what has a box in images.
    """

    summary: str
    epochs: int
    batch_size: int
    learning_rate: float
    min_steps: int = 0
    held_back: float = 1 / 12
    stratified: bool = False
    label_smoothing: float = 0.0
    warm_up: float = 0.0
    one_cycle: bool = False
    weight_decay: float = 0.0
    augment: str = "none"
    task: str = "classify"
    patience: int | None = None
    frozen: float = 0.0
    width: float = 0.0
    depth: int = 0

    @property
    def phases(self) -> tuple["Phase", ...]:
        """The head alone, then all of a trained network at a tenth of the rate; else one phase."""
        alone = min(max(1, round(self.frozen * self.epochs)), self.epochs) if self.frozen else 0
        rest = self.learning_rate * (_FINE if alone else 1)
        phases = Phase(0, alone, self.learning_rate, True), Phase(alone, self.epochs, rest, False)
        return tuple(phase for phase in phases if phase.end > phase.start)

    def batch_for(self, images: int) -> int:
        """Gives the images in a step for a training set of `images` images: a quarter at most.

        The steps are the same then, and cost less: 144 photos of 32 by 32 pixels take the CNN 27 s
        of CPU time in place of 81, for the same accuracy.
        """
        return min(self.batch_size, max(_SMALLEST_BATCH, images // 4))

    def epochs_for(self, images: int) -> int:
        """Gives the number of epochs for a training set of `images` images."""
        return max(self.epochs, math.ceil(self.min_steps * self.batch_size / images))


_ONE_CYCLE = Recipe(
    "",
    epochs=40,
    batch_size=32,
    learning_rate=3e-3,
    min_steps=600,
    label_smoothing=0.05,
    warm_up=0.2,
    one_cycle=True,
    weight_decay=4e-3,
    augment="auto",
)
RECIPES = {
    "cnn": replace(
        _ONE_CYCLE,
        summary="small, batch-normalised CNN for the edge",
        epochs=18,
        batch_size=128,
        learning_rate=5e-3,
    ),
    "mobilenet": replace(_ONE_CYCLE, summary="MobileNetV1 of a quarter of the filters", width=0.25),
    "mobilenetv2": replace(_ONE_CYCLE, summary="MobileNetV2 of a third of the filters", width=0.35),
    "resnet": replace(
        _ONE_CYCLE, summary="residual network of 8, 14 or 20 layers", width=1.0, depth=8
    ),
    "dscnn": replace(_ONE_CYCLE, summary="four depthwise separable convolutions", width=1.0),
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
        warm_up=0.2,
        one_cycle=True,
        weight_decay=4e-3,
        task="detect",
    ),
}


OWN_LAYERS = replace(RECIPES["cnn"], summary="the layers of a Keras file, with fresh weights")
FINE_TUNING = Recipe(
    "a trained network with a new head",
    epochs=12,
    batch_size=16,
    learning_rate=3e-3,
    min_steps=160,
    label_smoothing=0.05,
    warm_up=0.2,
    one_cycle=True,
    augment="auto",
    frozen=0.5,
)


def find_recipe(model: str) -> Recipe:
    """Gives the recipe of a model.

    Args:
        model: one of `RECIPES`, or a file `NAME.keras`, whose layers get fresh weights.

    Raises:
        UsageError: there is no such model.
    """
    if is_file(model):
        return OWN_LAYERS
    if model not in RECIPES:
        raise UsageError(
            f"unknown model `{model}`: expected {', '.join(RECIPES)} or a file NAME.keras"
        )
    return RECIPES[model]


def is_file(model: str) -> bool:
    """Whether a model is not one of `RECIPES` but a file of Keras."""
    return model.endswith(".keras")


def default_model(dataset: Dataset) -> str:
    """The model for data, where nobody says one."""
    if dataset.has_boxes:
        return "detector"
    return "mobilenet" if max(dataset.x_train.shape[1:3]) > _LARGE else "cnn"
