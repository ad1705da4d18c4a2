"""Makes `boxes.tin`, a detector of squares and rings in grey scenes of 32 by 32 pixels.

It has no anchors: four distances and two scores at each of 4 by 4 places. Run as `make_tiny.py`.
"""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinsmith_export import Options, compile_model
from tinsmith_runtime.bundle import BoxHead, BoxLevel

FOLDER = Path(__file__).parent
LABELS = ("square", "ring")
SIDE, STRIDE, PADDING = 32, 8, 114
PLACES = SIDE // STRIDE
HEAD = BoxHead(
    boxes=("distances",),
    scores=("scores",),
    labels=LABELS,
    coding="distances",
    unit="strides",
    levels=(BoxLevel(STRIDE),),
    score_limit=0.3,
)

Truth = list[tuple[int, tuple[int, int, int, int]]]


def scene(rng: np.random.Generator) -> tuple[NDArray[np.uint8], Truth]:
    """One or two things apart from each other, in the middle of a grey border or without one.

    Gives pixels `(32, 32, 1)`, labels and boxes.
    """
    image = rng.integers(0, 40, (SIDE, SIDE))
    found: Truth = []
    border = max(0, int(rng.integers(-8, 9)))
    x, y = (int(one) for one in rng.permutation([0, border]))
    for across, width in ((image, y), (image.T, x)):
        across[:width] = across[SIDE - width :] = PADDING
    for _ in range(rng.integers(1, 3)):
        size = int(rng.integers(7, 13))
        left = int(rng.integers(x, SIDE - x - size + 1))
        top = int(rng.integers(y, SIDE - y - size + 1))
        box = left, top, left + size, top + size
        apart = all(
            box[0] >= b[2] or b[0] >= box[2] or box[1] >= b[3] or b[1] >= box[3] for _, b in found
        )
        if apart:
            kind = int(rng.integers(2))
            image[top : box[3], left : box[2]] = rng.integers(180, 256)
            if kind:
                image[top + 2 : box[3] - 2, left + 2 : box[2] - 2] = rng.integers(0, 40)
            found.append((kind, box))
    return image.astype(np.uint8)[..., np.newaxis], found


def targets(truth: Truth) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Distances over the stride, NaN where nothing is to be learned, and scores of each place."""
    distances = np.full((PLACES, PLACES, 4), np.nan, np.float32)
    scores = np.zeros((PLACES, PLACES, len(LABELS)), np.float32)
    for kind, (left, top, right, bottom) in truth:
        for row in range(PLACES):
            for column in range(PLACES):
                x, y = (column + 0.5) * STRIDE, (row + 0.5) * STRIDE
                if abs(2 * x - left - right) <= STRIDE and abs(2 * y - top - bottom) <= STRIDE:
                    sides = np.array([x - left, y - top, right - x, bottom - y])
                    distances[row, column] = sides / STRIDE
                    scores[row, column, kind] = 1
    return distances, scores


def scenes(count: int, seed: int) -> tuple[NDArray[np.uint8], list[Truth]]:
    """So many scenes: pixels `(count, 32, 32, 1)` and what is in each."""
    rng = np.random.default_rng(seed)
    images, truths = zip(*(scene(rng) for _ in range(count)), strict=True)
    return np.stack(images), list(truths)


def detector() -> Any:
    """The network, not trained."""
    import keras

    source = keras.Input((SIDE, SIDE, 1), name="pixels")
    x: Any = source
    for filters, strides in ((8, 2), (16, 2), (16, 2), (16, 1)):
        x = keras.layers.Conv2D(filters, 3, strides=strides, padding="same", use_bias=False)(x)
        x = keras.layers.ReLU()(keras.layers.BatchNormalization()(x))
    distances = keras.layers.Conv2D(4, 1, activation="relu", name="distances")(x)
    scores = keras.layers.Conv2D(len(LABELS), 1, name="scores")(x)
    return keras.Model(source, [distances, scores], name="boxes")


def _distance_loss(wanted: Any, found: Any) -> Any:
    from keras import ops

    known = ops.logical_not(ops.isnan(wanted))
    error = ops.where(known, ops.abs(ops.where(known, wanted, 0.0) - found), 0.0)
    return ops.sum(error) / ops.maximum(ops.sum(ops.cast(known, "float32")), 1.0)


def main() -> None:
    """Trains for half a minute, compiles without fine-tuning, writes the bundle."""
    import keras

    keras.utils.set_random_seed(0)
    images, truths = scenes(6000, 0)
    distances, scores = (np.stack(part) for part in zip(*map(targets, truths), strict=True))
    model = detector()
    model.compile(
        keras.optimizers.Adam(0.003),
        [_distance_loss, keras.losses.BinaryFocalCrossentropy(from_logits=True)],
        loss_weights=[1.0, 50.0],
    )
    model.fit(images / np.float32(255), [distances, scores], epochs=25, batch_size=64, verbose=2)
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder, "scenes.npz")
        np.savez(data, x=images[:300])
        files = ("tflite", "onnx")
        options = Options(recipe="ptq", targets=files, boxes=HEAD, fit="contain", padding=PADDING)
        exported = compile_model(model, str(data), FOLDER / "boxes.tin", options)
        for stage in exported.manifest.quality.stages:
            print(f"{stage.name}: {stage.sqnr_db} dB")
    print(f"boxes.tin: {(FOLDER / 'boxes.tin').stat().st_size} bytes")


if __name__ == "__main__":
    main()
