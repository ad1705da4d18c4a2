"""What the networks of `networks.py` are trained on, and which of their outputs are right.

Digits of MNIST: whole, row by row, noisy, halved, or pasted into a scene; for `text` lines of
Python's own library. Every input is float32.
"""

import ast
import sysconfig
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinsmith_data import load_dataset

Array = NDArray[Any]
Right = Callable[[Any, Array], NDArray[np.bool_]]
SIDE, STRIDES, BINS = 48, (4, 8), 8  # of a scene and its maps; of a distance's distribution
WORDS, LENGTH = 512, 24


@dataclass(frozen=True, eq=False)
class Task:
    """What a network is trained for.

    Attributes:
        inputs: `float32 (N, …)`, to train on.
        wanted: what the network is to give for them.
        tests: inputs to judge it on.
        truth: what the network is to give for these.
        right: which outputs `(M, …)` are right, by the truth: `bool (M,)`.
        loss: as `keras.Model.compile` takes it.
    """

    inputs: Array
    wanted: Any
    tests: Array
    truth: Any
    right: Right
    loss: Any


def _digits(train: int, test: int) -> tuple[Array, Array, Array, Array]:
    """Images `float32 (N, 28, 28, 1)` of 0 to 1 and their classes."""
    digits = load_dataset("mnist")
    images = (digits.x_train[:train], digits.x_test[:test])
    first, second = (one.reshape(-1, 28, 28, 1).astype(np.float32) / 255 for one in images)
    return first, digits.y_train[:train], second, digits.y_test[:test]


def _same_class(outputs: Array, truth: Array) -> NDArray[np.bool_]:
    return np.asarray(outputs.argmax(1) == truth)


def classes(train: int, test: int) -> Task:
    """Which digit it is, from the image."""
    return Task(*_digits(train, test), _same_class, "sparse_categorical_crossentropy")


def rows(train: int, test: int) -> Task:
    """Which digit it is, from 28 rows of 28 pixels, one after the other."""
    x, y, tests, truth = _digits(train, test)
    return Task(x[..., 0], y, tests[..., 0], truth, _same_class, "sparse_categorical_crossentropy")


def masks(train: int, test: int) -> Task:
    """Which pixels belong to the digit, under noise. Right: IoU of 0.7 or more."""
    rng = np.random.default_rng(0)
    x, _, tests, _ = _digits(train, test)
    wanted, truth = x > 0.5, tests > 0.5
    noisy = [np.float32(0.6) * one + rng.random(one.shape, np.float32) * 0.5 for one in (x, tests)]

    def right(outputs: Array, truth: Array) -> NDArray[np.bool_]:
        found, axes = outputs > 0.5, (1, 2, 3)
        union = (found | truth).sum(axes)
        return np.asarray((found & truth).sum(axes) >= 0.7 * union)

    return Task(noisy[0], wanted, noisy[1], truth, right, "binary_crossentropy")


def enlarged(train: int, test: int) -> Task:
    """The image from one of half its size. Right: PSNR of 20 dB or more."""
    x, _, tests, _ = _digits(train, test)
    small = [one.reshape(-1, 14, 2, 14, 2, 1).mean((2, 4)) for one in (x, tests)]

    def right(outputs: Array, truth: Array) -> NDArray[np.bool_]:
        return np.asarray(np.square(outputs - truth).mean((1, 2, 3)) <= 0.01)

    return Task(small[0], x, small[1], tests, right, "mse")


def _scenes(images: Array, seed: int) -> tuple[Array, Array]:
    """Digits in scenes with parts of others; their boxes: top, left, bottom, right."""
    rng, count = np.random.default_rng(seed), len(images)
    scenes = np.zeros((count, SIDE, SIDE, 1), np.float32)
    boxes = np.zeros((count, 4), np.float32)
    for index, scene in enumerate(scenes):
        for part in images[rng.integers(0, count, 4), :9, 9:18]:
            top, left = rng.integers(0, SIDE - 9, 2)
            scene[top : top + 9, left : left + 9] = part
        size = int(rng.integers(14, 29))
        chosen = np.arange(size) * 28 // size
        top, left = rng.integers(0, SIDE - size + 1, 2)
        digit = images[index][chosen][:, chosen]
        scene[top : top + size, left : left + size] = digit
        ys, xs = np.nonzero(digit[..., 0] > 0.3)
        boxes[index] = (top + ys.min(), left + xs.min(), top + ys.max() + 1, left + xs.max() + 1)
    return scenes, boxes


def centres(strides: tuple[int, ...]) -> tuple[Array, Array]:
    """Of the cells of maps, one map after the other: their middle `(R, 2)`, and stride `(R, 1)`."""
    middles, sizes = [], []
    for stride in strides:
        axis = np.arange(stride / 2, SIDE, stride, dtype=np.float32)
        middles.append(np.stack(np.meshgrid(axis, axis, indexing="ij"), -1).reshape(-1, 2))
        sizes.append(np.full((len(axis) ** 2, 1), stride, np.float32))
    return np.concatenate(middles), np.concatenate(sizes)


def boxes(strides: tuple[int, ...], apart: bool, train: int, test: int) -> Task:
    """Where in a scene a digit is, and which. Right: its class, and IoU of 0.5 or more.

    A row a cell: four distances from the cell's middle to the box's sides in strides, ten classes;
    if `apart`, as two outputs. The cell nearest to the middle of the box has to find it.
    """
    x, y, tests, truth = _digits(train, test)
    middles, sizes = centres(strides)

    def wanted(found: Array, labels: Array) -> Array:
        target = np.zeros((len(found), len(middles), 14), np.float32)
        middle = (found[:, None, :2] + found[:, None, 2:]) / 2
        far = np.abs(middles[None] - middle).sum(-1)
        # Of two maps the coarse one finds the large digits.
        side = (found[:, 2:] - found[:, :2]).max(1)[:, None]
        if len(strides) > 1:
            far = far + 1e3 * (np.where(side > 20, 8, 4) != sizes[:, 0])
        each, best = np.arange(len(found)), far.argmin(1)
        centre, size = middles[best], sizes[best]
        target[each, best, :2] = (centre - found[:, :2]) / size
        target[each, best, 2:4] = (found[:, 2:] - centre) / size
        target[each, best, 4 + labels] = 1
        return target

    def surest(rows: Array) -> tuple[Array, Array]:
        """The class and the box of the cell with the highest score of each scene."""
        cell = rows[..., 4:].max(-1).argmax(1)
        found, centre = rows[np.arange(len(rows)), cell], middles[cell]
        sides = found[:, :4] * sizes[cell]
        box = np.concatenate([centre - sides[:, :2], centre + sides[:, 2:]], 1)
        return found[:, 4:].argmax(1), box

    def right(outputs: Any, truth: Array) -> NDArray[np.bool_]:
        if not isinstance(outputs, np.ndarray):
            parts = outputs.values() if isinstance(outputs, dict) else outputs
            outputs = np.concatenate(list(parts), -1)
        (label, box), (true_label, true_box) = surest(outputs), surest(truth)
        return np.asarray((label == true_label) & (_iou(box, true_box) >= 0.5))

    scenes, found = _scenes(x, 0)
    others, places = _scenes(tests, 1)
    target: Any = wanted(found, y)
    loss: Any = _box_loss
    if apart:
        target, loss = [target[..., :4], target[..., 4:]], [_side_loss, _score_loss]
    return Task(scenes, target, others, wanted(places, truth), right, loss)


def _iou(one: Array, other: Array) -> Array:
    low, high = np.maximum(one[:, :2], other[:, :2]), np.minimum(one[:, 2:], other[:, 2:])
    shared = np.clip(high - low, 0, None).prod(1)
    areas = sum((box[:, 2:] - box[:, :2]).clip(0).prod(1) for box in (one, other))
    return np.asarray(shared / np.maximum(areas - shared, 1e-6))


def _side_loss(wanted: Any, found: Any) -> Any:
    """The distances of the cell that has a box."""
    from keras import ops

    has = ops.max(wanted, axis=-1, keepdims=True) > 0
    far = ops.where(has, ops.abs(wanted - found), 0.0)
    return 2 * ops.mean(ops.sum(far, axis=(1, 2)))


def _score_loss(wanted: Any, found: Any) -> Any:
    """Cross-entropy of the classes of all cells; few have one."""
    from keras import ops

    scores = ops.clip(found, 1e-6, 1 - 1e-6)
    sure = 20 * wanted * ops.log(scores) + (1 - wanted) * ops.log(1 - scores)
    return -ops.mean(ops.sum(sure, axis=(1, 2)))


def _box_loss(wanted: Any, found: Any) -> Any:
    return _side_loss(wanted[..., :4], found[..., :4]) + _score_loss(
        wanted[..., 4:], found[..., 4:]
    )


def lines(train: int, test: int) -> Task:
    """Whether a line of Python's library is code or documentation: hashed words, `(N, 24)`."""
    rng, found = np.random.default_rng(0), []
    for path in sorted(Path(sysconfig.get_path("stdlib")).glob("*.py")):
        source = path.read_text("utf-8", "replace")
        places = [
            node.body[0]
            for node in ast.walk(ast.parse(source))
            if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Module)
            and ast.get_docstring(node, clean=False)
        ]
        prose = {n for one in places for n in range(one.lineno, (one.end_lineno or 0) + 1)}
        for number, line in enumerate(source.splitlines(), 1):
            words = line.split("#")[0].replace('"', " ").split()[:LENGTH]
            if len(words) >= 3:
                codes = [1 + zlib.crc32(word.encode()) % (WORDS - 1) for word in words]
                found.append((codes + [0] * (LENGTH - len(codes)), int(number in prose)))
    kinds = [[row for row in found if row[1] == kind] for kind in (0, 1)]
    least = min((train + test) // 2, *map(len, kinds))
    chosen = [one[i] for one in kinds for i in rng.permutation(len(one))[:least]]
    chosen = [chosen[index] for index in rng.permutation(len(chosen))]
    x = np.array([row for row, _ in chosen], np.int32)
    y = np.array([kind for _, kind in chosen], np.int64)
    return Task(
        *(x[:-test], y[:-test], x[-test:], y[-test:]),
        *(_same_class, "sparse_categorical_crossentropy"),
    )


scenes = partial(boxes, STRIDES, True)
small_scenes = partial(boxes, STRIDES[:1], False)
