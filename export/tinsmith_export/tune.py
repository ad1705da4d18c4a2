"""Quantization-aware training: the float model teaches the rounded one, briefly."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import tensorflow as tf
import tf_keras
from numpy.typing import NDArray

from tinsmith_export.exporting import Checkpoint
from tinsmith_export.rebuild import outputs_of

BATCH_SIZE = 128
LEARNING_RATE = 1e-4
LABEL_WEIGHT = 0.1

Report = Callable[[int, int, float], None]


@dataclass(frozen=True)
class Lesson:
    """What the float model said of some inputs.

    Attributes:
        inputs: `float32 (N, H, W, C)`.
        logits: `float32 (N, classes)`, the float model's.
        labels: `int64 (N,)`.
    """

    inputs: NDArray[np.float32]
    logits: NDArray[np.float32]
    labels: NDArray[np.int64]


def tune(
    model: tf_keras.Model,
    lesson: Lesson,
    held_back: Lesson,
    epochs: int,
    seed: int,
    report: Report,
) -> list[Checkpoint]:
    """Trains the fake-quantized model in place and leaves it at its best checkpoint.

    The loss is the mean squared error between its logits and the float model's, and a little
    cross-entropy with the labels. Adam with cosine decay. Step 0, which is post-training
    quantization, is a checkpoint like the others, so tuning never makes things worse on the
    inputs held back.

    Args:
        model: from `fake_quantize`.
        lesson: what to learn from.
        held_back: what to choose the checkpoint on.
        epochs: passes over the lesson; 0 changes nothing.
        seed: of the order of the inputs.
        report: called now and then with the step, the number of steps and the loss.

    Returns:
        The checkpoints, step 0 first.
    """
    checkpoints = [_measure(model, held_back, 0)]
    best, weights = checkpoints[0], model.get_weights()
    steps = epochs * (len(lesson.inputs) // BATCH_SIZE)
    optimizer = tf_keras.optimizers.Adam(
        tf_keras.optimizers.schedules.CosineDecay(LEARNING_RATE, max(steps, 1))
    )
    spread = tf.constant(lesson.logits.std(), tf.float32)

    @tf.function  # type: ignore[untyped-decorator]
    def train_step(x: tf.Tensor, logits: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            found = model(x, training=True)
            distance = tf.reduce_mean(tf.square((found - logits) / spread))
            wrong = tf.nn.sparse_softmax_cross_entropy_with_logits(y, found)
            loss = distance + LABEL_WEIGHT * tf.reduce_mean(wrong)
        variables = model.trainable_variables
        optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
        return loss

    batches = (
        tf.data.Dataset.from_tensor_slices((lesson.inputs, lesson.logits, lesson.labels))
        .shuffle(len(lesson.inputs), seed=seed)
        .batch(BATCH_SIZE, drop_remainder=True)
        .prefetch(2)
    )
    step = 0
    for _ in range(epochs):
        for x, logits, y in batches:
            loss = train_step(x, logits, y)
            step += 1
            if step % 20 == 0 or step == steps:
                report(step, steps, float(loss))
            if step % max(1, steps // (4 * epochs)) == 0:
                checkpoints.append(_measure(model, held_back, step))
                if checkpoints[-1].rank > best.rank:
                    best, weights = checkpoints[-1], model.get_weights()
    model.set_weights(weights)
    return checkpoints


def _measure(model: tf_keras.Model, held_back: Lesson, step: int) -> Checkpoint:
    found = outputs_of(model, held_back.inputs)
    agreement = float((found.argmax(1) == held_back.logits.argmax(1)).mean())
    return Checkpoint(step, agreement, float(np.square(found - held_back.logits).mean()))
