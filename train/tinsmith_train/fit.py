"""Training by Keras's `fit`, for every model but softmax regression.

Importing this module imports Keras and TensorFlow.
"""

import keras
import numpy as np

from tinsmith_data.dataset import Dataset
from tinsmith_train.batches import training_batches
from tinsmith_train.history import History
from tinsmith_train.recipe import Recipe

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
    classes = len(dataset.labels) if recipe.label_smoothing else None
    batches = training_batches(
        dataset.x_train[kept],
        dataset.y_train[kept],
        batch_size,
        seed,
        classes=classes,
        augmented=recipe.augment,
        # Batch normalisation makes little sense of a last batch of one.
        drop_remainder=True,
    )
    y_val = dataset.y_train[val]
    steps = len(kept) // batch_size
    model.compile(
        optimizer=_optimizer(recipe, steps * epochs),
        loss=keras.losses.CategoricalCrossentropy(label_smoothing=recipe.label_smoothing)
        if classes
        else keras.losses.SparseCategoricalCrossentropy(),
        metrics=["accuracy"],
        # Measured on this small CNN on x86: XLA takes half as long again.
        jit_compile=False,
    )
    history.progress.start(f"{len(kept):,} images, {held:,} held back", epochs, steps)
    model.fit(
        batches,
        validation_data=(
            dataset.x_train[val].astype(np.float32) / 255,
            keras.utils.to_categorical(y_val, classes) if classes else y_val,
        ),
        validation_batch_size=500,
        epochs=epochs,
        shuffle=False,
        verbose=0,
        callbacks=[_Report(history)],
    )


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
