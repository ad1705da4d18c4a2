"""Training, from a dataset to a run folder; imports TensorFlow when called, not before."""

import hashlib
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from tinsmith_data.dataset import Dataset
from tinsmith_data.installed import require_installed
from tinsmith_data.interrupts import held_interrupts
from tinsmith_data.isolation import deterministic, isolated
from tinsmith_data.quiet import import_tensorflow
from tinsmith_runtime.errors import TinsmithError, UsageError
from tinsmith_train.checkpoint import Checkpoint
from tinsmith_train.errors import StoppedError
from tinsmith_train.head import find_boxes, mean_average_precision
from tinsmith_train.history import Epoch, History, Progress
from tinsmith_train.pretrained import Network, load_network, with_fresh_weights, with_new_head
from tinsmith_train.recipe import Recipe, default_model, is_file
from tinsmith_train.runfolder import TrainResult, check_writable, write_run_folder
from tinsmith_train.settings import Settings, settled


def train(
    model: str | None,
    dataset: Dataset,
    out: Path,
    *,
    epochs: int | None = None,
    batch_size: int | None = None,
    learning_rate: float | None = None,
    seed: int = 0,
    width: float | None = None,
    depth: int | None = None,
    augment: str | None = None,
    warm_up: float | None = None,
    patience: int | None = None,
    held_back: float | None = None,
    init: Network | None = None,
    resume: bool = False,
    draw: bool = True,
    progress: Progress | None = None,
    verbose: bool = False,
) -> TrainResult:
    """Trains a model and writes its run folder.

    The same seed on the same machine gives the same weights, killed and resumed or not. The epoch
    that is best on the images held back is kept (`softmax` holds none back), after Ctrl-C too.

    Args:
        model: of `recipe.RECIPES`, or a file `NAME.keras`, for its layers; see `default_model`.
        dataset: what to train and test on.
        out: the run folder, made if need be; files of an earlier run in it are replaced.
        epochs: the recipe's if `None`, like all the next but the seed.
        batch_size: images in a step.
        learning_rate: of the optimizer; the peak, where there is a schedule.
        seed: of everything random.
        width: see `recipe.Recipe`, like all the next.
        depth: 8, 14 or 20 layers.
        augment: `none`, `shifts`, `photos` or `auto`.
        warm_up: in 0..1.
        patience: in epochs.
        held_back: this part of each class is held back, in place of the recipe's part of all.
        init: a trained network to begin with, instead of a model.
        resume: goes on where an earlier run in `out` with the same arguments was killed.
        draw: whether to draw the pictures of the run folder.
        progress: is told how it goes.
        verbose: lets TensorFlow log.

    Raises:
        UsageError: an argument, images or labels do not fit, or no folder can be where `out` is.
        TinsmithError: the loss came to NaN or infinity.
        StoppedError: Ctrl-C before the first epoch was over.
        RunFolderError: the run folder cannot be written, or its checkpoint is damaged.
    """
    words = epochs, batch_size, learning_rate, seed, width, depth, augment, warm_up, patience
    name = model or (init.path.stem if init else default_model(dataset))
    recipe = settled(name, Settings(*words, held_back), dataset, init is not None)
    _require_learnable(Path(name).stem, recipe, dataset)
    check_writable(out, recipe.task)
    with _keras(seed, verbose):
        net, name = _network(name, dataset, recipe, init), Path(name).stem
        return _train(name, net, dataset, out, recipe, seed, init, resume, progress, draw)


@contextmanager
def _keras(seed: int, verbose: bool) -> Iterator[None]:
    """Imports Keras, and has it compute the same each time."""
    require_installed("tinsmith[compile]", "keras", "tensorflow", "matplotlib")
    import_tensorflow(verbose)
    import keras

    with isolated(seed, keras), deterministic():
        yield


def _network(model: str, dataset: Dataset, recipe: Recipe, init: Network | None) -> Any:
    """The network as training begins with it."""
    from tinsmith_train.models import build_model

    form = dataset.x_train.shape[1:], len(dataset.labels)
    if init:
        return with_new_head(init, *form)
    if is_file(model):
        return with_fresh_weights(load_network(Path(model)), *form)
    return build_model(model, *form, recipe)


def _train(
    model: str,
    net: Any,
    dataset: Dataset,
    out: Path,
    recipe: Recipe,
    seed: int,
    init: Network | None,
    resume: bool,
    progress: Progress | None,
    draw: bool,
) -> TrainResult:
    from tinsmith_train.fit import fit
    from tinsmith_train.models import count_macs
    from tinsmith_train.softmax import fit_softmax

    checkpoint = Checkpoint(out, _deciding(model, net, dataset, recipe, seed, init))
    history, state = History(progress or Progress(), by_loss=recipe.task == "detect"), None
    if resume:
        state = checkpoint.read()
        history.restore(state)
    started = time.perf_counter() - sum(epoch.seconds for epoch in history.epochs)
    stopped = False
    try:
        train_net = fit_softmax if model == "softmax" and not init else fit
        with held_interrupts() as history.check:
            train_net(net, dataset, recipe, seed, history, checkpoint, state)
    except KeyboardInterrupt:
        stopped = True
    finally:
        history.progress.stop()
    if history.best is None:
        raise StoppedError("stopped before the first epoch was over: nothing is written")
    best, weights = history.best
    if not math.isfinite(best.loss):
        checkpoint.remove()
        raise _diverged(best, recipe)
    net.set_weights(weights)
    outputs = _answers(net, dataset)
    result = TrainResult(
        model=model,
        dataset=dataset.name,
        out=out,
        seed=seed,
        recipe=recipe,
        epochs=tuple(history.epochs),
        best=best,
        stopped=stopped,
        parameters=net.count_params(),
        macs=count_macs(net),
        test_images=len(dataset.y_test),
        **_tested(outputs, dataset),
        seconds=time.perf_counter() - started,
        init=init.path if init else None,
    )
    write_run_folder(result, net.save, dataset, outputs if draw else None)
    if not stopped:  # a run that Ctrl-C ended can be resumed
        checkpoint.remove()
    return result


def _answers(net: Any, dataset: Dataset) -> Any:
    """What a model says of the test images: probabilities, or boxes."""
    pixels = dataset.x_test.astype(np.float32) / 255
    outputs = net.predict(pixels, batch_size=500, verbose=0)
    if not dataset.has_boxes:
        return outputs
    return find_boxes(outputs, dataset.x_test.shape[1:], dataset.labels)


def _tested(outputs: Any, dataset: Dataset) -> dict[str, Any]:
    """How right a model is on the test images: fields of `TrainResult`."""
    if dataset.has_boxes:
        map50, map_ = mean_average_precision(outputs, dataset.y_test)
        return {"test_map50": map50, "test_map": map_}
    return {"test_correct": int((outputs.argmax(axis=1) == dataset.y_test).sum())}


def _require_learnable(model: str, recipe: Recipe, dataset: Dataset) -> None:
    if len(dataset.x_train) < 2:
        raise UsageError(f"dataset `{dataset.name}` has one training image: nothing to hold back")
    if dataset.has_boxes and recipe.task != "detect":
        raise UsageError(
            f"dataset `{dataset.name}` has boxes, the model `{model}` learns labels: "
            "--model detector learns boxes"
        )
    if recipe.task == "detect" and not dataset.has_boxes:
        raise UsageError(
            f"the model `{model}` learns boxes, dataset `{dataset.name}` has labels: give boxes "
            "(N, M, 5) as y_train and y_test, or --data scenes"
        )


def _diverged(best: Epoch, recipe: Recipe) -> TinsmithError:
    return TinsmithError(
        f"training diverged: the loss is {best.loss} in the best epoch, {best.number}: "
        f"try a --learning-rate below {recipe.learning_rate:g}; nothing is written"
    )


def _deciding(
    model: str, net: Any, dataset: Dataset, recipe: Recipe, seed: int, init: Network | None
) -> dict[str, Any]:
    """All that decides what comes of a run."""
    return {
        "model": model,
        "layers": hashlib.sha256(net.to_json().encode()).hexdigest()[:16],
        "data": f"{dataset.name} {dataset.sha256[:16]}",
        "seed": seed,
        "init": f"{init.sha256[:16]} {init.input_range}" if init else None,
        **asdict(replace(recipe, summary="", patience=None)),
        **{name: version(name) for name in ("keras", "tensorflow")},
    }
