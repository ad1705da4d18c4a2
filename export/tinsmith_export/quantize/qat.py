"""Quantization-aware training (QAT): the fake-quantized model is distilled from the float one."""

import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras
from numpy.typing import NDArray

from tinsmith_data.interrupts import held_interrupts
from tinsmith_export.frontend.predict import run
from tinsmith_export.ir.graph import Graph
from tinsmith_export.metrics import agreement
from tinsmith_export.outputs import side_by_side, spread, squared_error
from tinsmith_export.results import Checkpoint
from tinsmith_runtime.batch import Arrays, count, parts

# Of a step of the codes: so far a step of training moves a weight or a bias at first.
LEARNING_RATE = 0.03
LABEL_WEIGHT = 0.1
_MAX_BATCH_SIZE = 128
# Of the tensors that a step holds, and how many copies of each layer's output these are: the output
# itself, what rounding it needs, and the gradients of both.
_MAX_STEP_BYTES, _COPIES = 3 * 2**29, 3

Report = Callable[[int, int, float], None]


@dataclass(frozen=True)
class DistillationData:
    """Inputs, and what the float model gives for them.

    Attributes:
        inputs: `float32 (N, …)`, as many as the model has.
        outputs: `float32 (N, …)`, the float model's, as many as it has.
        labels: `int64 (N,)`, where there are some.
        classes: whether the one output is logits of classes; otherwise outputs are values.
    """

    inputs: Arrays
    outputs: Arrays
    labels: NDArray[np.int64] | None
    classes: bool


def batch_size(graph: Graph, wanted: int | None, count: int) -> int:
    """How many inputs a training step takes: 128, or as many as 1.5 GiB of tensors allow.

    Args:
        graph: what is trained.
        wanted: how many the user asks for; `None` leaves it to memory.
        count: of the inputs that there are.
    """
    outputs = sum(int(np.prod(node.shape)) for node in graph.layers)
    allowed = max(1, min(_MAX_BATCH_SIZE, _MAX_STEP_BYTES // (4 * _COPIES * outputs)))
    return min(allowed if wanted is None else wanted, count)


def distill(
    model: tf_keras.Model,
    units: Sequence[Any],
    data: DistillationData,
    held_back: DistillationData,
    steps: int,
    batch_size: int,
    seed: int,
    report: Report,
    end_s: float = math.inf,
) -> list[Checkpoint]:
    """Trains the fake-quantized model in place and leaves it at its best checkpoint.

    Step 0, which is post-training quantization, is a checkpoint like the others, so QAT never makes
    things worse on the inputs held back.

    Args:
        model: from `fake_quantize`.
        units: from `trained_units`: what one code of each trainable variable is.
        data: what to train on.
        held_back: what to choose the checkpoint on.
        steps: of one batch each.
        batch_size: how many inputs a step takes; see `batch_size`.
        seed: of the order of the inputs.
        report: called now and then with the step, the number of steps and the loss.
        end_s: when to stop, by `time.monotonic`, with steps left.

    Returns:
        The checkpoints, step 0 first, the last step that was done last.
    """
    checkpoints = [_measure(model, held_back, 0)]
    best, weights = checkpoints[0], model.get_weights()
    with held_interrupts() as check:
        train_step = _train_step(model, units, data, steps)
        for step, batch in enumerate(_batches(data, steps, batch_size, seed), 1):
            loss = train_step(*batch)
            check()
            last = step == steps or time.monotonic() > end_s
            if step % 20 == 0 or last:
                report(step, steps, float(loss))
            if step % max(1, steps // 8) == 0 or last:
                checkpoints.append(_measure(model, held_back, step))
                if checkpoints[-1].mean_squared_error < best.mean_squared_error:
                    best, weights = checkpoints[-1], model.get_weights()
            if last:
                break
    model.set_weights(weights)
    return checkpoints


def _train_step(
    model: tf_keras.Model, units: Sequence[Any], data: DistillationData, steps: int
) -> Callable[..., tf.Tensor]:
    """What trains the model on a batch and gives the loss.

    The loss is the mean squared error between its outputs and the float model's, the mean over the
    outputs, each measured by its own spread; and, where there are labels, a little cross-entropy
    with them. Adam with cosine decay moves codes: it moves everything equally far, and weights for
    pixels up to 255 are a thousand times smaller than others.
    """
    rate = tf_keras.optimizers.schedules.CosineDecay(LEARNING_RATE, max(steps, 1))
    optimizer = tf_keras.optimizers.Adam(rate, epsilon=1e-12)  # gradients of codes are small
    variables = model.trainable_variables
    codes = [tf.Variable(v / unit) for v, unit in zip(variables, units, strict=True)]
    spreads = [tf.constant(spread(output), tf.float32) for output in parts(data.outputs)]
    labelled = data.labels is not None

    @tf.function  # type: ignore[untyped-decorator]
    def train_step(x: Any, outputs: Any, *y: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            found = model(x, training=True)
            triples = zip(tf.nest.flatten(found), tf.nest.flatten(outputs), spreads, strict=True)
            errors = [tf.reduce_mean(tf.square((one - other) / s)) for one, other, s in triples]
            loss = tf.add_n(errors) / len(errors)
            if labelled:
                wrong = tf.nn.sparse_softmax_cross_entropy_with_logits(y[0], found)
                loss += LABEL_WEIGHT * tf.reduce_mean(wrong)
        gradients = [g * u for g, u in zip(tape.gradient(loss, variables), units, strict=True)]
        optimizer.apply_gradients(zip(gradients, codes, strict=True))
        for variable, code, unit in zip(variables, codes, units, strict=True):
            variable.assign(code * unit)
        return loss

    step: Callable[..., tf.Tensor] = train_step
    return step


def _batches(data: DistillationData, steps: int, batch_size: int, seed: int) -> Iterable[Any]:
    labels = [] if data.labels is None else [data.labels]
    size = count(data.inputs)
    batches: Iterable[Any] = (
        tf.data.Dataset.from_tensor_slices((data.inputs, data.outputs, *labels))
        .shuffle(min(size, 10_000), seed=seed)
        .repeat()
        .batch(batch_size)
        .take(steps)
        .prefetch(2)
    )
    return batches


def _measure(model: tf_keras.Model, held_back: DistillationData, step: int) -> Checkpoint:
    return measure(run(model, held_back.inputs), held_back.outputs, held_back.classes, step)


def measure(found: Arrays, outputs: Arrays, classes: bool, step: int = 0) -> Checkpoint:
    """How near outputs are to the float model's.

    Args:
        found: `float32 (N, …)`, as many as the model has outputs.
        outputs: the float model's.
        classes: whether the one output is logits of classes; otherwise outputs are values.
        step: of the fine-tuning.
    """
    # The largest of many values says nothing of the others.
    agreed = agreement(side_by_side(outputs), side_by_side(found)) if classes else None
    return Checkpoint(step, agreed, squared_error(outputs, found))
