"""Receives the progress of an export."""


class Progress:
    """Hears how an export goes; this one is silent."""

    def stage(self, text: str) -> None:
        """A new stage begins."""

    def step(self, step: int, steps: int, loss: float) -> None:
        """Fine-tuning has done `step` of `steps`."""

    def layer(self, layer: int, layers: int) -> None:
        """`layer` of `layers` have been measured."""

    def warn(self, text: str) -> None:
        """Something may be wrong."""

    def stop(self) -> None:
        """The export is over, well or not."""
