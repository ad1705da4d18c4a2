"""Training by Keras's `fit`, for every model but softmax regression.

Importing this module imports Keras and TensorFlow.
"""

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from tinsmith_data.dataset import Dataset
from tinsmith_train.batches import training_batches
from tinsmith_train.detection import cell_accuracy, cell_middles, cell_targets, detection_loss
from tinsmith_train.history import History
from tinsmith_train.recipe import STRIDE, Recipe

# One-cycle: this part of the steps goes up to the learning rate, from this part of it.
_WARM_UP = 0.2
_START = 0.05


def fit(
    model: keras.Model,
    dataset: Dataset,
    recipe: Recipe,
    epochs: int,
    batch_size: int,
    seed: int,
    history: History,
) -> None:
    """Trains `model` in place and records each epoch in `history`.

    A part of the training images is held back to judge each epoch by. The test images are not
    looked at.
    """
    order = np.random.default_rng(seed).permutation(len(dataset.x_train))
    held = max(1, round(recipe.held_back * len(order)))
    val, kept = order[:held], order[held:]
    batch_size = min(batch_size, len(kept))
    aim = _aim(dataset, recipe)
    batches = training_batches(
        dataset.x_train[kept],
        aim.targets[kept],
        batch_size,
        seed,
        classes=aim.one_hot,
        augmented=recipe.augment,
        # Batch normalisation makes little sense of a last batch of one.
        drop_remainder=True,
    )
    y_val = aim.targets[val]
    steps = len(kept) // batch_size
    if recipe.task == "detect":  # the loss sees both outputs side by side
        model = keras.Model(model.inputs, keras.layers.Concatenate()(model.outputs))
    model.compile(
        optimizer=_optimizer(recipe, steps * epochs),
        loss=aim.loss,
        metrics=[aim.accuracy],
        # Measured on this small CNN on x86: XLA takes half as long again.
        jit_compile=False,
    )
    history.progress.start(f"{len(kept):,} images, {held:,} held back", epochs, steps)
    model.fit(
        batches,
        validation_data=(
            dataset.x_train[val].astype(np.float32) / 255,
            keras.utils.to_categorical(y_val, aim.one_hot) if aim.one_hot else y_val,
        ),
        validation_batch_size=500,
        epochs=epochs,
        shuffle=False,
        verbose=0,
        callbacks=[_Report(history)],
    )


@dataclass(frozen=True, eq=False)
class _Aim:
    """What a model is to give for each training image, and how far it is from that.

    Attributes:
        targets: `(N, …)`.
        one_hot: the number of classes, where the targets become one-hot.
        loss: as Keras takes it.
        accuracy: likewise; a metric of that name.
    """

    targets: NDArray[Any]
    one_hot: int | None
    loss: Any
    accuracy: Any


def _aim(dataset: Dataset, recipe: Recipe) -> _Aim:
    classes = len(dataset.labels)
    if recipe.task == "detect":
        middles = cell_middles(dataset.x_train.shape[1], dataset.x_train.shape[2], STRIDE)
        targets = cell_targets(dataset.y_train, middles, STRIDE, classes)
        accuracy = keras.metrics.MeanMetricWrapper(cell_accuracy, name="accuracy")
        return _Aim(targets, None, detection_loss, accuracy)
    if recipe.label_smoothing:
        loss = keras.losses.CategoricalCrossentropy(label_smoothing=recipe.label_smoothing)
        return _Aim(dataset.y_train, classes, loss, "accuracy")
    loss = keras.losses.SparseCategoricalCrossentropy()
    return _Aim(dataset.y_train, None, loss, "accuracy")


def _optimizer(recipe: Recipe, steps: int) -> keras.optimizers.Optimizer:
    if not recipe.one_cycle:
        return keras.optimizers.Adam(recipe.learning_rate)
    warm_up = max(1, round(_WARM_UP * steps))
    schedule = keras.optimizers.schedules.CosineDecay(
        recipe.learning_rate * _START,
        decay_steps=max(1, steps - warm_up),
        alpha=1e-3,
        warmup_target=recipe.learning_rate,
        warmup_steps=warm_up,
    )
    return keras.optimizers.AdamW(schedule, weight_decay=recipe.weight_decay)


class _Report(keras.callbacks.Callback):  # type: ignore[misc]
    """Passes on what Keras counts."""

    def __init__(self, history: History) -> None:
        super().__init__()
        self._history = history

    def on_train_batch_end(self, batch: int, logs: dict[str, float]) -> None:
        self._history.progress.step(logs["loss"], logs["accuracy"])

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        self._history.end_epoch(weights=self.model.get_weights(), **logs)
