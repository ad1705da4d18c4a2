"""Training, from a dataset to a run folder; imports TensorFlow when called, not before."""

import math
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from tinsmith_data.dataset import Dataset
from tinsmith_data.installed import require_installed
from tinsmith_data.isolation import deterministic, isolated
from tinsmith_data.limits import MAX_SEED, require_real, require_whole
from tinsmith_data.quiet import import_tensorflow
from tinsmith_runtime.errors import TinsmithError, UsageError
from tinsmith_train.errors import StoppedError
from tinsmith_train.history import History, Progress
from tinsmith_train.recipe import Recipe, find_recipe
from tinsmith_train.runfolder import TrainResult, check_writable, write_run_folder

# What float32 can hold, and more than any optimizer has a use for.
_LEAST_RATE, _MOST_RATE = 1e-30, 1e30


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

    The same seed on the same machine gives the same weights; seeds and settings of the caller's
    program are afterwards what they were. The best epoch is the one that is
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
        TinsmithError: the loss came to NaN or infinity; nothing has been written.
        StoppedError: Ctrl-C before the first epoch was over; nothing has been written.
        RunFolderError: the run folder cannot be written.
    """
    recipe = find_recipe(model)
    epochs = recipe.epochs_for(len(dataset.x_train)) if epochs is None else epochs
    batch_size = recipe.batch_size if batch_size is None else batch_size
    rate = recipe.learning_rate if learning_rate is None else learning_rate
    check_numbers(epochs, batch_size, rate, seed)
    if len(dataset.x_train) < 2:
        raise UsageError(f"dataset `{dataset.name}` has one training image: nothing to hold back")
    check_writable(out)
    require_installed("tinsmith[compile]", "keras", "tensorflow", "matplotlib")
    import_tensorflow(verbose)
    import keras

    with isolated(seed, keras), deterministic():
        recipe = replace(recipe, learning_rate=rate)
        return _train(model, dataset, out, recipe, epochs, batch_size, seed, progress or Progress())


def _train(
    model: str,
    dataset: Dataset,
    out: Path,
    recipe: Recipe,
    epochs: int,
    batch_size: int,
    seed: int,
    progress: Progress,
) -> TrainResult:
    from tinsmith_train.fit import fit
    from tinsmith_train.models import build_model, count_macs
    from tinsmith_train.softmax import fit_softmax

    net = build_model(model, dataset.x_train.shape[1:], len(dataset.labels))
    history = History(progress)
    started = time.perf_counter()
    stopped = False
    try:
        if model == "softmax":
            fit_softmax(net, dataset, recipe, epochs, batch_size, seed, history)
        else:
            fit(net, dataset, recipe, epochs, batch_size, seed, history)
    except KeyboardInterrupt:
        stopped = True
    finally:
        history.progress.stop()
    if history.best is None:
        raise StoppedError("stopped before the first epoch was over: nothing is written")
    best, weights = history.best
    if not math.isfinite(best.loss):
        raise TinsmithError(
            f"training diverged: the loss is {best.loss} in the best epoch, {best.number}: "
            f"try a --learning-rate below {recipe.learning_rate:g}; nothing is written"
        )
    net.set_weights(weights)
    probabilities = net.predict(dataset.x_test.astype(np.float32) / 255, batch_size=500, verbose=0)
    result = TrainResult(
        model=model,
        dataset=dataset.name,
        out=out,
        seed=seed,
        batch_size=batch_size,
        learning_rate=recipe.learning_rate,
        epochs=tuple(history.epochs),
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


def check_numbers(
    epochs: int | None, batch_size: int | None, learning_rate: float | None, seed: int
) -> None:
    """Checks what a user may say of training; `None` is the recipe's own.

    Raises:
        UsageError: a number is none or out of range; the message begins with its name.
    """
    for name, value in (("epochs", epochs), ("batch_size", batch_size)):
        if value is not None:
            require_whole(name, value, 1)
    require_whole("seed", seed, 0, MAX_SEED)
    if learning_rate is not None:
        require_real("learning_rate", learning_rate, _LEAST_RATE, _MOST_RATE)
