"""Training, from a dataset to a run folder; imports TensorFlow when called, not before."""

import math
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from tinsmith_runtime.errors import UsageError
from tinsmith_train.dataset import Dataset
from tinsmith_train.errors import StoppedError
from tinsmith_train.logbook import Logbook, Progress
from tinsmith_train.noise import import_tensorflow
from tinsmith_train.recipe import find_recipe
from tinsmith_train.runfolder import TrainResult, check_writable, write_run_folder


def train(
    model: str,
    dataset: Dataset,
    out: Path,
    *,
    epochs: int | None = None,
    batch_size: int | None = None,
    learning_rate: float | None = None,
    seed: int = 0,
    progress: Progress | None = None,
    verbose: bool = False,
) -> TrainResult:
    """Trains a model and writes its run folder.

    The same seed on the same machine gives the same weights. The best epoch is the one that is
    right most often on training images held back (`softmax` holds none back: on all of them); the
    test images are looked at once, when that is settled. Ctrl-C ends training early and keeps the
    best epoch so far.

    Args:
        model: `cnn`, `lenet`, `mlp` or `softmax`.
        dataset: what to train and test on.
        out: the run folder, made if need be; files of an earlier run in it are replaced.
        epochs: the recipe's if `None`, like `batch_size` and `learning_rate`.
        batch_size: images in a step.
        learning_rate: of the optimizer; the peak, where there is a schedule.
        seed: of everything random.
        progress: is told how it goes.
        verbose: lets TensorFlow log.

    Raises:
        UsageError: no such model, a number out of range, images the model cannot take, or no
            folder can be where `out` is.
        StoppedError: Ctrl-C before the first epoch was over; nothing has been written.
        RunFolderError: the run folder cannot be written.
    """
    recipe = find_recipe(model)
    epochs = recipe.epochs_for(len(dataset.x_train)) if epochs is None else epochs
    batch_size = recipe.batch_size if batch_size is None else batch_size
    if learning_rate is not None:
        recipe = replace(recipe, learning_rate=learning_rate)
    _check_numbers(epochs, batch_size, recipe.learning_rate, seed)
    if len(dataset.x_train) < 2:
        raise UsageError(f"dataset `{dataset.name}` has one training image: nothing to hold back")
    check_writable(out)
    import_tensorflow(verbose)
    import keras
    import tensorflow as tf

    from tinsmith_train.fit import fit
    from tinsmith_train.models import build_model, count_macs
    from tinsmith_train.softmax import fit_softmax

    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()
    net = build_model(model, dataset.x_train.shape[1:], len(dataset.labels))
    logbook = Logbook(progress or Progress())
    started = time.perf_counter()
    stopped = False
    try:
        if model == "softmax":
            fit_softmax(net, dataset, recipe, epochs, batch_size, seed, logbook)
        else:
            fit(net, dataset, recipe, epochs, batch_size, seed, logbook)
    except KeyboardInterrupt:
        stopped = True
    finally:
        logbook.progress.stop()
    if logbook.best is None:
        raise StoppedError("stopped before the first epoch was over: nothing is written")
    best, weights = logbook.best
    net.set_weights(weights)
    probabilities = net.predict(dataset.x_test.astype(np.float32) / 255, batch_size=500, verbose=0)
    result = TrainResult(
        model=model,
        dataset=dataset.name,
        out=out,
        seed=seed,
        batch_size=batch_size,
        learning_rate=recipe.learning_rate,
        epochs=tuple(logbook.epochs),
        best=best,
        stopped=stopped,
        parameters=net.count_params(),
        macs=count_macs(net),
        test_correct=int((probabilities.argmax(axis=1) == dataset.y_test).sum()),
        test_images=len(dataset.y_test),
        seconds=time.perf_counter() - started,
    )
    write_run_folder(result, net.save, dataset, probabilities)
    return result


def _check_numbers(epochs: int, batch_size: int, learning_rate: float, seed: int) -> None:
    for name, value, least in (
        ("epochs", epochs, 1),
        ("batch size", batch_size, 1),
        ("seed", seed, 0),
    ):
        if value < least:
            raise UsageError(f"expected {name} of at least {least}, got {value}")
    if seed >= 2**32:
        raise UsageError(f"expected a seed below 2**32, got {seed}")
    if not 0 < learning_rate < math.inf:
        raise UsageError(f"expected a learning rate above 0, got {learning_rate}")
