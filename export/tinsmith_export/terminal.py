"""Shows the progress of an export on a terminal."""

from rich.console import Console

from tinsmith_export.progress import Progress
from tinsmith_report.terminal import progress_bar
from tinsmith_runtime.errors import printable


class TerminalProgress(Progress):
    """Tells a person on standard error: a line a stage, a bar for long ones on a terminal."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, highlight=False, soft_wrap=True, emoji=False)
        figures = "{task.completed:,.0f}/{task.total:,.0f}{task.fields[note]}"
        self._bar = progress_bar(self._console, figures)

    def stage(self, text: str) -> None:
        """Prints a line."""
        self.stop()
        self._console.print(printable(text), markup=False)

    def warn(self, text: str) -> None:
        """Prints a line."""
        self.stage(f"warning: {text}")

    def step(self, step: int, steps: int, loss: float) -> None:
        """Moves the bar on."""
        self._move("fine-tuning", step, steps, f"  loss {loss:.4f}")

    def layer(self, layer: int, layers: int) -> None:
        """Moves the bar on."""
        self._move("measuring layers", layer, layers, "")

    def _move(self, what: str, done: int, total: int, note: str) -> None:
        if not self._bar.tasks:
            self._bar.add_task(what, total=total, note=note)
            self._bar.start()
        self._bar.update(self._bar.tasks[0].id, completed=done, note=note)

    def stop(self) -> None:
        """Takes the bar away."""
        self._bar.stop()
        for task in self._bar.task_ids:
            self._bar.remove_task(task)
