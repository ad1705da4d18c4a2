"""The board's camera: open while somebody looks, and always its newest frame."""

from __future__ import annotations

import threading
import time
from contextlib import closing
from typing import TYPE_CHECKING

from tinsmith_runtime.errors import TinsmithError
from tinsmith_runtime.inputs.camera import camera_frames

if TYPE_CHECKING:
    from PIL.Image import Image

_IDLE_S = 10.0  # nobody asked for so long: the camera is closed
_FIRST_FRAME_S = 15.0
_VIDEO_FRAME_S = 0.04  # a file would be read as fast as it can


class Camera:
    """Reads frames in a thread of its own, which ends when nobody asks for them.

    Args:
        source: as `camera_frames` takes it.
    """

    def __init__(self, source: str) -> None:
        self._source = source
        self._changed = threading.Condition()
        self._frame: Image | None = None
        self._error: TinsmithError | None = None
        self._asked = 0.0
        self._thread: threading.Thread | None = None
        self._closed = threading.Event()

    def frame(self) -> Image:
        """Gives the newest frame, in RGB; the first call opens the camera and waits.

        Raises:
            TinsmithError: the camera does not open, or gives no frame.
        """
        with self._changed:
            self._asked = time.monotonic()
            if self._thread is None:
                self._frame = self._error = None
                self._thread = threading.Thread(target=self._read, daemon=True)
                self._thread.start()
            self._changed.wait_for(lambda: self._frame or self._error, _FIRST_FRAME_S)
            if self._error:
                raise self._error
            if self._frame is None:
                raise TinsmithError(f"camera: gave no frame in {_FIRST_FRAME_S:g} s")
            return self._frame

    def close(self) -> None:
        """Closes the camera, if it is open."""
        self._closed.set()
        if thread := self._thread:
            thread.join(2)  # a daemon: one that hangs is left behind

    def _read(self) -> None:
        error = None
        try:
            with closing(camera_frames(self._source)) as frames:
                for frame in frames:
                    with self._changed:
                        self._frame = frame
                        self._changed.notify_all()
                        idle = time.monotonic() - self._asked > _IDLE_S
                    pause_s = 0 if self._source.isdecimal() else _VIDEO_FRAME_S
                    if idle or self._closed.wait(pause_s):
                        break
        except TinsmithError as failed:
            error = failed
        finally:
            with self._changed:
                self._error, self._thread = error, None
                self._changed.notify_all()
