"""Batches of images for training: shuffled, one-hot where the loss wants it, augmented, prefetched.

Importing this module imports TensorFlow.
"""

import math

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

# The largest change to a training image, either way.
_TURN_DEGREES = 10.0
_ZOOM = 0.1
_SHEAR = 0.1
_SHIFT = 2 / 28  # of the image's height or width


def training_batches(
    images: NDArray[np.uint8],
    labels: NDArray[np.int64],
    batch_size: int,
    seed: int,
    *,
    classes: int | None = None,
    augmented: bool = False,
    drop_remainder: bool = False,
) -> tf.data.Dataset:
    """Gives one epoch of batches, in another order each time it is gone through.

    Args:
        images: `uint8 (N, H, W, C)`.
        labels: `int64 (N,)`.
        batch_size: images in a batch.
        seed: of the order and of the augmentation.
        classes: makes the labels one-hot, `float32 (batch, classes)`.
        augmented: changes every image a little, another way each epoch.
        drop_remainder: leaves out what does not fill a batch.

    Returns:
        Pairs of `float32 (batch, H, W, C)`, pixels in 0..1, and labels.
    """
    x, y = tf.constant(images), tf.constant(labels)

    def gather(indices: tf.Tensor, noise: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        batch = tf.cast(tf.gather(x, indices), tf.float32) / 255.0
        target = tf.gather(y, indices)
        if augmented:
            batch = augment(batch, tf.stack([noise, noise]))
        return batch, target if classes is None else tf.one_hot(target, classes)

    order = tf.data.Dataset.range(len(images)).shuffle(len(images), seed=seed)
    noise = tf.data.Dataset.random(seed=seed, rerandomize_each_iteration=True)
    batched = order.batch(batch_size, drop_remainder=drop_remainder)
    return tf.data.Dataset.zip(batched, noise).map(gather).prefetch(4)


def augment(images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Turns, zooms, shears and shifts each image at random, a little; what comes in is black.

    Args:
        images: `float32 (N, H, W, C)`.
        seed: `int64 (2,)`; the same seed makes the same changes.

    Returns:
        `float32 (N, H, W, C)`.
    """
    count, height, width = (tf.shape(images)[axis] for axis in range(3))
    turn, zoom_x, zoom_y, shear, shift_x, shift_y = tf.unstack(
        tf.random.stateless_uniform((6, count), seed, -1.0, 1.0)
    )
    angle = turn * math.radians(_TURN_DEGREES)
    sine, cosine = tf.sin(angle), tf.cos(angle)
    # Output pixel (x, y) is taken from (a x + b y + c, d x + e y + f); the centre stays in place.
    a, b = cosine * (1 + _ZOOM * zoom_x), (_SHEAR * shear - sine) * (1 + _ZOOM * zoom_x)
    d, e = sine * (1 + _ZOOM * zoom_y), cosine * (1 + _ZOOM * zoom_y)
    middle_x, middle_y = tf.cast(width - 1, tf.float32) / 2, tf.cast(height - 1, tf.float32) / 2
    c = middle_x - a * middle_x - b * middle_y + _SHIFT * shift_x * tf.cast(width, tf.float32)
    f = middle_y - d * middle_x - e * middle_y + _SHIFT * shift_y * tf.cast(height, tf.float32)
    flat = tf.zeros_like(a)
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=images,
        transforms=tf.stack([a, b, c, d, e, f, flat, flat], axis=1),
        output_shape=tf.stack([height, width]),
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="CONSTANT",
    )
