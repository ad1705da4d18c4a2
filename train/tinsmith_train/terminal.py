"""How training goes, on standard error: a bar on a terminal, a line for each epoch anywhere."""

from rich.console import Console

from tinsmith_report.terminal import progress_bar
from tinsmith_train.history import Epoch, Progress


class TerminalProgress(Progress):
    """Tells a person, and stays readable in a log file.

    Args:
        console: where to; standard error if `None`.
    """

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True, highlight=False, soft_wrap=True)
        self._bar = progress_bar(self._console, "{task.fields[figures]}")
        self._epochs = 0

    def start(self, title: str, epochs: int, steps: int) -> None:
        """Opens with a line of what is trained on, then the bar: one for all the epochs."""
        self._epochs = epochs
        self.note(f"{title}, {epochs} epochs of {steps:,} batches")
        self._task = self._bar.add_task(
            f"epoch 1/{epochs}", total=epochs * steps, figures="starting"
        )
        self._bar.start()

    def step(self, loss: float, accuracy: float) -> None:
        """Moves the bar on."""
        figures = f"loss {loss:.4f}  accuracy {accuracy:6.2%}"
        self._bar.update(self._task, advance=1, figures=figures)

    def epoch(self, epoch: Epoch, is_best: bool) -> None:
        """Adds a line above the bar."""
        held_back = (
            ""
            if epoch.val_accuracy is None
            else f"  held back: loss {epoch.val_loss:.4f}  accuracy {epoch.val_accuracy:.2%}"
        )
        self.note(
            f"epoch {epoch.number:>{len(str(self._epochs))}}/{self._epochs}"
            f"  loss {epoch.loss:.4f}  accuracy {epoch.accuracy:.2%}{held_back}"
            f"  {epoch.seconds:.1f} s{'  best so far' if is_best else ''}"
        )
        self._bar.update(
            self._task, description=f"epoch {min(epoch.number + 1, self._epochs)}/{self._epochs}"
        )

    def note(self, line: str) -> None:
        """Adds a line above the bar."""
        self._console.print(line, markup=False)

    def stop(self) -> None:
        """Takes the bar away."""
        self._bar.stop()
