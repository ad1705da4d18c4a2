"""Frames of a camera or a video: picamera2 where it is installed, else OpenCV."""

from collections.abc import Generator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from tinsmith_runtime.errors import TinsmithError, UsageError
from tinsmith_runtime.quiet import mute_stderr

if TYPE_CHECKING:
    from PIL.Image import Image

_SIZE = (640, 480)  # small enough for every camera, more than most small models look at


def camera_frames(source: str) -> "Generator[Image, None, None]":
    """Gives the frames of a camera until the caller stops, or of a video until its end, in RGB.

    Args:
        source: the number of a camera, or a video file or stream, which OpenCV reads.

    Raises:
        UsageError: there is no such file, or neither picamera2 nor OpenCV is installed.
        TinsmithError: the camera or video does not open, or a camera stops giving frames.
    """
    if not source.isdecimal():
        if "://" not in source and not Path(source).is_file():
            raise UsageError(f"{source}: no such video file, nor the number of a camera")
        return _opencv_frames(source, source)
    if find_spec("picamera2"):
        return _picamera2_frames(int(source))
    return _opencv_frames(int(source), f"camera {source}")


def _picamera2_frames(number: int) -> "Generator[Image, None, None]":
    try:
        from picamera2 import Picamera2
        from PIL import Image

        with Picamera2(number) as camera:
            # By libcamera's names, which go from the highest byte to the lowest, this is RGB.
            main = {"format": "BGR888", "size": _SIZE}
            camera.configure(camera.create_video_configuration(main=main))
            camera.start()
            while True:
                yield Image.fromarray(camera.capture_array("main"))
    # It raises whatever libcamera does: RuntimeError, IndexError, ImportError of a library, ...
    except Exception as error:
        raise TinsmithError(f"camera {number}: picamera2 failed: {error}") from error


def _opencv_frames(source: str | int, name: str) -> "Generator[Image, None, None]":
    try:
        import cv2
        from PIL import Image
    except ImportError as error:
        raise UsageError(
            f"{name}: a camera needs OpenCV: pip install 'tinsmith-runtime[camera]'; "
            "a Raspberry Pi's own camera needs picamera2: sudo apt install python3-picamera2, and "
            "a virtual environment made with --system-site-packages"
        ) from error
    with mute_stderr():  # FFmpeg and V4L print what the error below says
        capture = cv2.VideoCapture(source)
    try:
        count = 0
        while True:
            found, frame = capture.read()
            if not found:
                break
            count += 1
            yield Image.fromarray(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB))
    finally:
        capture.release()
    if isinstance(source, int) and count:
        raise TinsmithError(f"{name}: gave {count} frames and then no more")
    if not count:
        raise TinsmithError(f"{name}: OpenCV gets no frame from it")
