"""What a single-shot detector learns: of each cell of its map, the sides of a box and its class.

A cell is as large as the stride. A row is what the network gives for one, cell by cell: the
distances from the cell's middle to the left, top, right and bottom side of the box, in strides;
then a score a class. Source: Tian et al. 2019, "FCOS: Fully Convolutional One-Stage Object
Detection".

Importing this module imports TensorFlow.
"""

import math

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

# Cells this near to the middle of a box have to find it, in strides; the nearest has to anyway.
_REACH = 0.75
# Focal loss: what is easy counts little. Lin et al. 2017, "Focal Loss for Dense Object Detection".
_FOCUS = 2.0
_LEAST = 1e-6


def cell_middles(height: int, width: int, stride: int) -> NDArray[np.float32]:
    """The middles `float32 (cells, 2)`, x and y in pixels, of cells row by row."""
    counts = (math.ceil(size / stride) for size in (width, height))
    x, y = (np.arange(count, dtype=np.float32) * stride + stride / 2 for count in counts)
    return np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)


def cell_targets(
    boxes: NDArray[np.float32], middles: NDArray[np.float32], stride: int, classes: int
) -> NDArray[np.float32]:
    """Says what each cell has to give.

    Args:
        boxes: `float32 (N, M, 5)` or `(N, M, 6)`, see `tinsmith_data.boxes`.
        middles: of the cells, see `cell_middles`.
        stride: in pixels.
        classes: how many there are.

    Returns:
        `float32 (N, cells, 4 + classes)`: four distances in strides, then the classes, one-hot; all
        0 for a cell without a box.
    """
    targets = np.zeros((len(boxes), len(middles), 4 + classes), np.float32)
    for target, rows in zip(targets, boxes, strict=True):
        rows = rows[(rows[:, 0] >= 0) & (rows[:, 5:] == 0).all(axis=1)]  # a crowd is no thing
        if not len(rows):
            continue
        away = (rows[:, np.newaxis, 1:3] + rows[:, np.newaxis, 3:5]) / 2 - middles
        far = np.abs(away).max(axis=-1) / stride
        # The nearest box of each cell, and the nearest cell of each box.
        mine = far.argmin(axis=0) == np.arange(len(rows))[:, np.newaxis]
        box, cell = np.nonzero(mine & ((far <= _REACH) | (far == far.min(axis=1, keepdims=True))))
        target[cell, :2] = (middles[cell] - rows[box, 1:3]) / stride
        target[cell, 2:4] = (rows[box, 3:5] - middles[cell]) / stride
        target[cell, 4 + rows[box, 0].astype(int)] = 1
    return targets


def detection_loss(targets: tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
    """Focal loss of all scores, IoU and distances of the boxes; a mean over the boxes' cells.

    Args:
        targets: `float32 (N, cells, 4 + classes)`, see `cell_targets`.
        rows: as many; the scores as logits.
    """
    classes, logits = targets[..., 4:], rows[..., 4:]
    has = tf.reduce_max(classes, axis=-1)
    cells = tf.maximum(tf.reduce_sum(has), 1.0)
    entropy = tf.nn.sigmoid_cross_entropy_with_logits(classes, logits)
    doubt = tf.abs(classes - tf.sigmoid(logits))
    scores = tf.reduce_sum(tf.pow(doubt, _FOCUS) * entropy)
    far = tf.reduce_mean(tf.abs(targets[..., :4] - rows[..., :4]), axis=-1)
    sides = tf.reduce_sum(has * (1 - _iou(targets[..., :4], rows[..., :4]) + far))
    return (scores + sides) / cells


def _iou(one: tf.Tensor, other: tf.Tensor) -> tf.Tensor:
    """Of boxes around one middle, `(…, 4)` distances each: shared area over the area of both."""
    # The middle may lie outside a narrow box: then one distance is negative.
    shared, first, second = (
        tf.maximum(sides[..., 0] + sides[..., 2], 0) * tf.maximum(sides[..., 1] + sides[..., 3], 0)
        for sides in (tf.minimum(one, other), one, other)
    )
    return shared / tf.maximum(first + second - shared, _LEAST)


def cell_accuracy(targets: tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
    """Which part of the cells that have a box name its class and are sure of it, 0 to 1."""
    has = tf.reduce_max(targets[..., 4:], axis=-1)
    right = tf.argmax(targets[..., 4:], axis=-1) == tf.argmax(rows[..., 4:], axis=-1)
    right = tf.logical_and(right, tf.reduce_max(rows[..., 4:], axis=-1) > 0)
    return tf.reduce_sum(has * tf.cast(right, tf.float32)) / tf.maximum(tf.reduce_sum(has), 1.0)
