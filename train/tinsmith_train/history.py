"""What happened in training, epoch by epoch, and the best weights so far."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

Weights = list[NDArray[Any]]


@dataclass(frozen=True)
class Epoch:
    """One pass over the training images.

    Attributes:
        number: counted from 1.
        loss: mean over the epoch's batches; for `softmax`, over all training images afterwards.
        accuracy: part of the training images that were right, in 0..1, taken like the loss.
        val_loss: on the images held back, after the epoch; `None` where none are.
        val_accuracy: on the images held back, in 0..1; `None` where none are.
        seconds: wall time.
    """

    number: int
    loss: float
    accuracy: float
    val_loss: float | None
    val_accuracy: float | None
    seconds: float

    @property
    def score(self) -> tuple[float, float]:
        """What the best epoch has most of: accuracy, then a small loss; held back if it can be."""
        if self.val_accuracy is None or self.val_loss is None:
            return self.accuracy, -self.loss
        return self.val_accuracy, -self.val_loss


@dataclass(frozen=True, eq=False)
class State:
    """Where training stands after an epoch.

    Attributes:
        epochs: those that are over.
        best_epoch: the number of the one whose weights are kept.
        best: these weights.
        model: every variable of the model, its random numbers' states among them.
        optimizer: every variable of the optimizer.
    """

    epochs: tuple[Epoch, ...]
    best_epoch: int
    best: Weights
    model: Weights
    optimizer: Weights


class Progress:
    """What training tells while it runs; this one keeps it to itself."""

    def start(self, title: str, epochs: int, steps: int) -> None:
        """Training begins: `epochs` passes of `steps` batches each."""

    def step(self, loss: float, accuracy: float) -> None:
        """A batch is done; both numbers are means over the epoch so far."""

    def epoch(self, epoch: Epoch, is_best: bool) -> None:
        """An epoch is done."""

    def note(self, line: str) -> None:
        """Something else that a person wants to know."""

    def stop(self) -> None:
        """Training is over, one way or another; may be called twice."""


class History:
    """Records each epoch, and keeps the weights of the best one.

    Attributes:
        epochs: those that are over.
        progress: who is told.
        by_loss: whether the best epoch is the one of the smallest loss, of a detector, in place of
            the highest accuracy.
        check: called after every batch; raises KeyboardInterrupt if Ctrl-C came.
    """

    def __init__(self, progress: Progress, by_loss: bool = False) -> None:
        self.epochs: list[Epoch] = []
        self.by_loss = by_loss
        self.progress = progress
        self.check: Callable[[], None] = lambda: None
        self._best: tuple[Epoch, Weights] | None = None
        self._since = time.perf_counter()

    @property
    def best(self) -> tuple[Epoch, Weights] | None:
        """The epoch with the highest score, the first of equals, and the weights after it."""
        return self._best

    def state(self, model: Weights, optimizer: Weights) -> State:
        """Where training stands, with the variables after the last epoch."""
        best, weights = self._best or (self.epochs[-1], [])
        return State(tuple(self.epochs), best.number, weights, model, optimizer)

    def restore(self, state: State | None) -> None:
        """Goes on from there, or from the start, and says which."""
        if state is None:
            self.progress.note("no run to go on with: training from the start")
            return
        self.progress.note(f"going on after epoch {len(state.epochs)}")
        self.epochs = list(state.epochs)
        self._best = state.epochs[state.best_epoch - 1], state.best

    def waited(self, patience: int | None, since: int = 0) -> bool:
        """Whether so many epochs, `since` one of them, were no better; never if `None`."""
        if patience is None or self._best is None:
            return False
        return len(self.epochs) - max(self._best[0].number, since) >= patience

    def step(self, loss: float, accuracy: float) -> None:
        """A training batch is done; the arguments are those of `Progress.step`."""
        self.progress.step(loss, accuracy)
        self.check()

    def end_epoch(
        self,
        loss: float,
        accuracy: float,
        weights: Weights,
        val_loss: float | None = None,
        val_accuracy: float | None = None,
    ) -> None:
        """Records an epoch; the arguments are those of `Epoch`, and the weights after it."""
        now = time.perf_counter()
        number = len(self.epochs) + 1
        epoch = Epoch(number, loss, accuracy, val_loss, val_accuracy, now - self._since)
        self._since = now
        is_best = self._best is None or self._score(epoch) > self._score(self._best[0])
        # Epoch and weights change together, so Ctrl-C finds the one pair or the other.
        if is_best:
            self._best = epoch, weights
        self.epochs.append(epoch)
        self.progress.epoch(epoch, is_best)

    def _score(self, epoch: Epoch) -> tuple[float, ...]:
        return epoch.score[::-1] if self.by_loss else epoch.score
