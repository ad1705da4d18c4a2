"""Softmax regression as a loop one can read: a tape, a gradient, a step.

It is the loop of the course notebook this project grew from. Weights and bias start as zeros (the
model sees to that); a step takes the gradient of the cross-entropy *summed* over a batch, and goes
down it at a fixed rate.

Importing this module imports Keras and TensorFlow.
"""

from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from tinsmith_data.dataset import Dataset
from tinsmith_train.batches import training_batches
from tinsmith_train.checkpoint import Checkpoint
from tinsmith_train.history import History, State
from tinsmith_train.recipe import Recipe

# Keeps the logarithm of a probability that has come to nothing finite.
_EPSILON = 1e-10
_REPORT_EVERY = 500

Step = Callable[[tf.Tensor, tf.Tensor], tuple[tf.Tensor, tf.Tensor]]


def cross_entropy(targets: tf.Tensor, probabilities: tf.Tensor) -> tf.Tensor:
    """Gives the cross-entropy summed over a batch, in nats, as a `float32` scalar.

    Args:
        targets: `float32 (N, classes)`, one-hot.
        probabilities: `float32 (N, classes)`.
    """
    return -tf.reduce_sum(targets * tf.math.log(probabilities + _EPSILON))


def make_step(model: keras.Model, learning_rate: float) -> Step:
    """Makes the function that trains `model` on one batch by plain gradient descent.

    Returns:
        A function of `float32 (N, H, W, C)` images and `float32 (N, classes)` one-hot labels that
        changes the weights and gives the loss before the change, summed over the batch, and the
        number of images that were right.
    """

    def step(images: tf.Tensor, targets: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        with tf.GradientTape() as tape:
            probabilities = model(images, training=True)
            loss = cross_entropy(targets, probabilities)
        variables = [weight.value for weight in model.trainable_weights]
        for variable, gradient in zip(variables, tape.gradient(loss, variables), strict=True):
            variable.assign_sub(learning_rate * gradient)
        return loss, _count_correct(targets, probabilities)

    compiled: Step = tf.function(step)
    return compiled


def fit_softmax(
    model: keras.Model,
    dataset: Dataset,
    recipe: Recipe,
    seed: int,
    history: History,
    checkpoint: Checkpoint,
    state: State | None,
) -> None:
    """Trains `model` in place on every training image; the arguments are those of `fit.fit`."""
    images, classes = len(dataset.x_train), len(dataset.labels)
    done = len(history.epochs)
    batches = training_batches(
        dataset.x_train, dataset.y_train, recipe.batch_size, seed, classes=classes, skip=done
    )
    if state:
        checkpoint.fill(model.weights, state.model)
    step = make_step(model, recipe.learning_rate)
    history.progress.start(f"{images:,} images", recipe.epochs, len(batches))
    for _ in range(done, recipe.epochs):
        seen, total, correct = 0, 0.0, 0
        for number, (x, targets) in enumerate(batches, start=1):
            loss, right = step(x, targets)
            seen, total, correct = seen + len(x), total + float(loss), correct + int(right)
            history.step(total / seen, correct / seen)
            if number % _REPORT_EVERY == 0:
                history.progress.note(
                    f"batch {number}: loss {float(loss):.3f}, summed over {len(x)} images"
                )
        mean_loss, accuracy = evaluate(model, dataset)
        history.end_epoch(mean_loss, accuracy, model.get_weights())
        checkpoint.write(history.state(model.get_weights(), []))
        if history.waited(recipe.patience):
            return


def evaluate(model: keras.Model, dataset: Dataset) -> tuple[float, float]:
    """Gives the loss per image and the accuracy over the whole training set."""
    probabilities = model.predict(
        dataset.x_train.astype(np.float32) / 255, batch_size=1000, verbose=0
    )
    targets = tf.one_hot(dataset.y_train, len(dataset.labels))
    count = len(dataset.x_train)
    return (
        float(cross_entropy(targets, probabilities)) / count,
        int(_count_correct(targets, probabilities)) / count,
    )


def _count_correct(targets: tf.Tensor, probabilities: tf.Tensor) -> tf.Tensor:
    hits = tf.argmax(targets, axis=1) == tf.argmax(probabilities, axis=1)
    return tf.reduce_sum(tf.cast(hits, tf.int32))
