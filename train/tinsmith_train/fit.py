"""Training by Keras's `fit`, for every model but softmax regression.

Importing this module imports Keras and TensorFlow.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from tinsmith_data.dataset import Dataset
from tinsmith_train.batches import training_batches
from tinsmith_train.checkpoint import Checkpoint
from tinsmith_train.detection import cell_accuracy, cell_middles, cell_targets, detection_loss
from tinsmith_train.history import History, State
from tinsmith_train.holding import hold_back
from tinsmith_train.recipe import STRIDE, Phase, Recipe

# The learning rate rises from this part of it.
_START = 0.05
# Keras 3.15 makes an iterator at the start of an epoch, and one more at its end.
_ITERATORS = 2
_UNEVEN = 1.5  # classes count alike where the largest has so many times the images of the smallest


def fit(
    model: keras.Model,
    dataset: Dataset,
    recipe: Recipe,
    seed: int,
    history: History,
    checkpoint: Checkpoint,
    state: State | None,
) -> None:
    """Trains `model` in place; a part of the training images is held back to judge each epoch by.

    `history` holds the epochs that `state` has, gets the others, and `checkpoint` is written after
    each.
    """
    val, kept = hold_back(dataset.y_train, recipe.held_back, seed, recipe.stratified)
    batch_size = min(recipe.batch_size, len(kept))
    aim, steps = _aim(dataset, recipe), len(kept) // batch_size
    x, y = dataset.x_train[kept], aim.targets[kept]
    weights = None if recipe.task == "detect" else class_weights(y)
    history.progress.start(f"{len(kept):,} images, {len(val):,} held back", recipe.epochs, steps)
    if weights:
        history.progress.note("the classes are uneven: images of rare ones count more")
    x_val, y_val = dataset.x_train[val].astype(np.float32) / 255, aim.targets[val]
    validation = x_val, keras.utils.to_categorical(y_val, aim.one_hot) if aim.one_hot else y_val
    if recipe.task == "detect":  # the loss sees both outputs side by side
        model = keras.Model(model.inputs, keras.layers.Concatenate()(model.outputs))
    batches = partial(
        training_batches,
        x,
        y,
        batch_size,
        classes=aim.one_hot,
        augmentation=recipe.augment,
        drop_remainder=True,  # batch normalisation makes little sense of a last batch of one
    )
    if state:
        checkpoint.fill(_variables(model), state.model)
    for number, phase in enumerate(recipe.phases):
        done = len(history.epochs)
        patience = None if phase.frozen else recipe.patience
        if done >= phase.end or history.waited(patience, phase.start):
            continue
        _set_trainable(model, phase.frozen)
        _compile(model, aim, recipe, phase, steps)
        if state and done > phase.start:
            model.optimizer.build(model.trainable_variables)
            checkpoint.fill(model.optimizer.variables, state.optimizer)
        model.fit(
            batches(seed + number, skip=_ITERATORS * (done - phase.start)),
            validation_data=validation,
            validation_batch_size=500,
            class_weight=weights,
            initial_epoch=done,
            epochs=phase.end,
            shuffle=False,
            verbose=0,
            callbacks=[_Report(history, checkpoint, patience, phase.start)],
        )


def class_weights(labels: NDArray[np.int64]) -> dict[int, float] | None:
    """What an image of each class counts, where classes are uneven: all classes count alike."""
    classes, counts = np.unique(labels, return_counts=True)
    if counts.max() <= _UNEVEN * counts.min():
        return None
    even = counts.sum() / len(counts)
    return {int(name): float(even / count) for name, count in zip(classes, counts, strict=True)}


def _variables(model: keras.Model) -> list[keras.Variable]:
    """The weights, and the states of random numbers."""
    found = {id(variable): variable for variable in model.weights}
    for layer in model._flatten_layers():
        for variable in layer.variables:
            if "seed_generator" in variable.path:
                found.setdefault(id(variable), variable)
    return list(found.values())


def _set_trainable(model: keras.Model, frozen: bool) -> None:
    """Freezes a trained network below the new head; its batch normalisation stays as it is."""
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            layer.trainable = not frozen
            for part in layer._flatten_layers():
                if isinstance(part, keras.layers.BatchNormalization):
                    part.trainable = False


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


def _compile(model: keras.Model, aim: _Aim, recipe: Recipe, phase: Phase, steps: int) -> None:
    model.compile(
        optimizer=_optimizer(recipe, phase, steps),
        loss=aim.loss,
        metrics=[aim.accuracy],
        # Measured on this small CNN on x86: XLA takes half as long again.
        jit_compile=False,
    )


def _optimizer(recipe: Recipe, phase: Phase, steps: int) -> keras.optimizers.Optimizer:
    if not recipe.warm_up and not recipe.one_cycle:
        return keras.optimizers.Adam(phase.rate)
    total = steps * (phase.end - phase.start)
    warm_up = max(1, round(recipe.warm_up * total))
    schedule = keras.optimizers.schedules.CosineDecay(
        phase.rate * _START,
        decay_steps=max(1, total - warm_up),
        alpha=1e-3 if recipe.one_cycle else 1.0,
        warmup_target=phase.rate,
        warmup_steps=warm_up,
    )
    if not recipe.weight_decay:
        return keras.optimizers.Adam(schedule)
    return keras.optimizers.AdamW(schedule, weight_decay=recipe.weight_decay)


class _Report(keras.callbacks.Callback):  # type: ignore[misc]
    """Passes on what Keras counts, keeps it, and ends training that gets no better."""

    def __init__(
        self, history: History, checkpoint: Checkpoint, patience: int | None, since: int
    ) -> None:
        super().__init__()
        self._history, self._checkpoint = history, checkpoint
        self._patience, self._since = patience, since

    def on_train_batch_end(self, batch: int, logs: dict[str, float]) -> None:
        self._history.step(logs["loss"], logs["accuracy"])

    def on_test_batch_end(self, batch: int, logs: dict[str, float]) -> None:
        self._history.check()

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        self._history.end_epoch(weights=self.model.get_weights(), **logs)
        arrays = [
            [np.asarray(variable) for variable in variables]
            for variables in (_variables(self.model), self.model.optimizer.variables)
        ]
        self._checkpoint.write(self._history.state(*arrays))
        if self._history.waited(self._patience, self._since):
            self.model.stop_training = True
