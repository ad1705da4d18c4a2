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
_BRIGHTNESS = 0.15  # of white
_CONTRAST = 0.25


def training_batches(
    images: NDArray[np.uint8],
    labels: NDArray[np.int64],
    batch_size: int,
    seed: int,
    *,
    classes: int | None = None,
    augmentation: str = "none",
    drop_remainder: bool = False,
    skip: int = 0,
) -> tf.data.Dataset:
    """Gives one epoch of batches, in another order each time it is gone through.

    Args:
        images: `uint8 (N, H, W, C)`.
        labels: `int64 (N,)`.
        batch_size: images in a batch.
        seed: of the order and of the augmentation.
        classes: makes the labels one-hot, `float32 (batch, classes)`.
        augmentation: changes every image a little, another way each epoch; see `augment`.
        drop_remainder: leaves out what does not fill a batch.
        skip: how often it was gone through before: each time has an order of its own, and what
            comes next is what came after these.

    Returns:
        Pairs of `float32 (batch, H, W, C)`, pixels in 0..1, and labels.
    """
    x, y = tf.constant(images), tf.constant(labels)

    def gather(indices: tf.Tensor, noise: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        batch = tf.cast(tf.gather(x, indices), tf.float32) / 255.0
        target = tf.gather(y, indices)
        if augmentation != "none":
            batch = augment(batch, tf.stack([noise, noise]), augmentation)
        return batch, target if classes is None else tf.one_hot(target, classes)

    order = tf.data.Dataset.range(len(images)).shuffle(len(images), seed=seed)
    noise = tf.data.Dataset.random(seed=seed, rerandomize_each_iteration=True)
    batched = order.batch(batch_size, drop_remainder=drop_remainder)
    chosen = tf.data.Dataset.zip(batched, noise)
    for _ in range(skip):
        iter(chosen)  # which draws the order
    return chosen.map(gather).prefetch(4)


def augment(images: tf.Tensor, seed: tf.Tensor, augmentation: str = "shifts") -> tf.Tensor:
    """Changes each image at random, a little.

    Args:
        images: `float32 (N, H, W, C)`.
        seed: `int64 (2,)`; the same seed makes the same changes.
        augmentation: `shifts` turns, zooms, shears and shifts; what comes in is black. `photos`
            also mirrors left and right and changes brightness and contrast; what comes in is a
            mirror image.

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
    photos = augmentation == "photos"
    changed = tf.raw_ops.ImageProjectiveTransformV3(
        images=images,
        transforms=tf.stack([a, b, c, d, e, f, flat, flat], axis=1),
        output_shape=tf.stack([height, width]),
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="REFLECT" if photos else "CONSTANT",
    )
    return _as_photos(changed, seed + 1) if photos else changed


def _as_photos(images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Mirrors each image or not, and changes its brightness and contrast."""
    draws = tf.random.stateless_uniform((3, tf.shape(images)[0], 1, 1, 1), seed, -1.0, 1.0)
    mirror, brightness, contrast = tf.unstack(draws)
    images = tf.where(mirror > 0, tf.reverse(images, [2]), images)
    mean = tf.reduce_mean(images, axis=(1, 2, 3), keepdims=True)
    changed = (images - mean) * (1 + _CONTRAST * contrast) + mean + _BRIGHTNESS * brightness
    return tf.clip_by_value(changed, 0.0, 1.0)
