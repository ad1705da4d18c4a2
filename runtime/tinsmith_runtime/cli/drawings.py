"""The folder of `tinsmith run --draw`: a copy of each picture, with what was found in it."""

import io
import re
from collections.abc import Iterable, Sequence
from os.path import realpath  # `Path.resolve` fails on links in a circle
from pathlib import Path

from tinsmith_runtime.answers import Detection
from tinsmith_runtime.errors import InputError, UsageError
from tinsmith_runtime.files import file_errors, write_whole
from tinsmith_runtime.inputs.samples import Sample

_JPEG = (".jpg", ".jpeg")


class Drawings:
    """Writes pictures into a folder, which is made if there is none.

    Args:
        folder: where they go.
        labels: of the bundle.

    Raises:
        UsageError: there is something else than a folder.
        TinsmithError: the system refuses.
    """

    def __init__(self, folder: Path, labels: Sequence[str]) -> None:
        if folder.exists() and not folder.is_dir():
            raise UsageError(f"{folder}: expected a folder for pictures, found something else")
        with file_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._labels = folder, labels
        self._names: set[str] = set()

    def require_apart(self, samples: Iterable[Sample]) -> None:
        """Raises a `UsageError` if an input lies in the folder: a drawing could replace it."""
        folder = Path(realpath(self._folder))
        for sample in samples:
            if isinstance(sample.picture, str):
                path = Path(sample.picture)
                if folder in (Path(realpath(path.parent)), Path(realpath(path)).parent):
                    raise UsageError(
                        f"--draw: {self._folder} holds the input {sample.name}: "
                        "expected another folder"
                    )

    def write(self, sample: Sample, detections: Sequence[Detection]) -> None:
        """Draws what was found in a sample, and writes that under the sample's name.

        Raises:
            InputError: the picture cannot be drawn on.
            TinsmithError: the disk refuses.
        """
        from tinsmith_runtime.detect.draw import draw
        from tinsmith_runtime.inputs.image import open_photo

        if sample.picture is None:
            raise InputError(f"{sample.name}: expected a picture to draw on")
        drawn = draw(open_photo(sample.picture, sample.name), detections, self._labels)
        place = Path(re.sub(r"\s", "-", Path(sample.name).name))
        jpeg = place.suffix.lower() in _JPEG
        stream = io.BytesIO()
        drawn.save(stream, "JPEG" if jpeg else "PNG", quality=90)
        name = self._free(place.stem, place.suffix if jpeg else ".png")
        write_whole(self._folder / name, stream.getvalue())

    def _free(self, stem: str, suffix: str) -> str:
        """A name that no picture of this run has: two folders may hold files of one name."""
        name, number = stem + suffix, 1
        while name.lower() in self._names:
            number += 1
            name = f"{stem}-{number}{suffix}"
        self._names.add(name.lower())
        return name
