"""What training needs to go on after it was killed, written after each epoch.

`checkpoint.npz` in the run folder holds the settings and the epochs as JSON, the weights after the
best epoch, and every variable of the model and of the optimizer after the last one. It is replaced
as a whole, so a kill leaves the one before. A run that is over removes it.
"""

import contextlib
import io
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinsmith_runtime.errors import TinsmithError, UsageError
from tinsmith_runtime.files import open_regular, write_whole
from tinsmith_runtime.npz import read_npz
from tinsmith_train.errors import RunFolderError
from tinsmith_train.history import Epoch, State, Weights

FILE = "checkpoint.npz"
_MAX_BYTES = 1 << 33
_ABOUT = "about"
_KINDS = ("best", "model", "optimizer")


class Checkpoint:
    """The checkpoint of a run.

    Args:
        folder: the run's.
        settings: all that decides what comes of the run: a state of others is of no use to it.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        self._path = folder / FILE
        self._settings = json.loads(json.dumps(settings))

    def read(self) -> State | None:
        """Gives the state that was written last, or `None`.

        Raises:
            UsageError: it is of a run with other settings.
            RunFolderError: it is damaged.
        """
        try:
            with open_regular(self._path) as stream:
                arrays = read_npz(stream, lambda names: names, _MAX_BYTES)
            about = json.loads(arrays.pop(_ABOUT).tobytes())
            settings, epochs = about["settings"], [Epoch(**epoch) for epoch in about["epochs"]]
            kinds = {
                kind: [arrays[f"{kind}{number}"] for number in range(about[kind])]
                for kind in _KINDS
            }
            state = State(tuple(epochs), int(about["best_epoch"]), **kinds)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise self._damaged(str(error)) from error
        for key, value in self._settings.items():
            if settings.get(key) != value:
                raise UsageError(
                    f"--resume: {self._path} is of a run with {key} {settings.get(key)}, expected "
                    f"{value}: give the same options and data, or leave --resume out"
                )
        if not 0 < state.best_epoch <= len(epochs):
            raise self._damaged("it has no best epoch")
        return state

    def fill(self, variables: list[Any], values: Weights) -> None:
        """Puts what was read into variables.

        Raises:
            RunFolderError: they are of other shapes.
        """
        if [tuple(one.shape) for one in variables] != [value.shape for value in values]:
            raise self._damaged("its arrays are not the model's")
        for variable, value in zip(variables, values, strict=True):
            variable.assign(value)

    def write(self, state: State) -> None:
        """Replaces the checkpoint.

        Raises:
            RunFolderError: the disk is full, and the like.
        """
        arrays: dict[str, NDArray[Any]] = {}
        about: dict[str, Any] = {"settings": self._settings, "best_epoch": state.best_epoch}
        about["epochs"] = [asdict(epoch) for epoch in state.epochs]
        for kind in _KINDS:
            values = getattr(state, kind)
            about[kind] = len(values)
            arrays |= {f"{kind}{number}": value for number, value in enumerate(values)}
        arrays[_ABOUT] = np.frombuffer(json.dumps(about).encode(), np.uint8)
        data = io.BytesIO()
        np.savez(data, allow_pickle=False, **arrays)
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(self._path, data.getvalue())
        except (OSError, TinsmithError) as error:
            raise RunFolderError(f"cannot write to {self._path.parent}: {error}") from error

    def remove(self) -> None:
        """Removes the checkpoint, and its folder if nothing else is in it."""
        with contextlib.suppress(OSError):
            self._path.unlink()
            self._path.parent.rmdir()

    def _damaged(self, why: str) -> RunFolderError:
        return RunFolderError(f"{self._path}: the checkpoint is damaged: {why}: leave --resume out")
