"""OpenCV reads a real video; picamera2, which installs on a Pi alone, is a stand-in of ours."""

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from narrow import array
from numpy.typing import NDArray
from PIL import Image

from tinsmith_runtime import Bundle, TinsmithError, UsageError
from tinsmith_runtime.cli import main
from tinsmith_runtime.inputs.camera import camera_frames

# No emulated board has it: on a Pi the camera is picamera2's.
cv2 = pytest.importorskip("cv2", reason="opencv-python-headless is not installed")

# It does what the real one's documentation says of these calls, and gives grey frames. It proves
# that we make these calls in this order; that the real one likes them, only a Pi can show.
STAND_IN = """
import numpy
from PIL import Image

class Picamera2:
    def __init__(self, camera_num):
        if camera_num > 1:
            raise RuntimeError("Camera __init__ sequence did not complete.")
        self.state = "open"
    def __enter__(self):
        return self
    def __exit__(self, *error):
        print("closed")
    def create_video_configuration(self, main):
        assert main == {"format": "BGR888", "size": (640, 480)}
        return main
    def configure(self, configuration):
        assert self.state == "open"
        self.state = "configured"
    def start(self):
        assert self.state == "configured"
        self.state = "started"
    def capture_array(self, name):
        assert (self.state, name) == ("started", "main")
        return numpy.asarray(Image.open("frame.png").convert("RGB"))
"""


def _write_video(path: Path, frames: Sequence[NDArray[np.uint8]]) -> None:
    height, width = frames[0].shape[:2]
    codec = cv2.VideoWriter_fourcc(*"MJPG")  # OpenCV has it built in
    writer = cv2.VideoWriter(str(path), codec, 10, (width, height))
    assert writer.isOpened()
    for frame in frames:
        writer.write(frame[..., ::-1])  # OpenCV wants BGR
    writer.release()


@pytest.fixture
def video(tmp_path: Path, pixels: NDArray[np.uint8]) -> Path:
    """The first four golden digits, 8 times as large."""
    digits = np.repeat(pixels[:4], 3, axis=3).repeat(8, axis=1).repeat(8, axis=2)
    _write_video(tmp_path / "video.avi", list(digits))
    return tmp_path / "video.avi"


def test_run(tiny: Path, bundle: Bundle, video: Path, capsys: pytest.CaptureFixture[str]) -> None:
    labels = bundle.manifest.output.labels
    best = [labels[i] for i in array(bundle.golden().outputs_int8[:4]).argmax(axis=1)]
    assert main(["run", str(tiny), "--camera", str(video), "--json"]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    answers = [json.loads(line) for line in captured.out.splitlines()]
    assert [answer["image"] for answer in answers] == [f"frame {i}" for i in (1, 2, 3, 4)]
    assert [answer["predictions"][0]["label"] for answer in answers] == best
    assert main(["run", str(tiny), "--camera", str(video), "--frames", "2"]) == 0
    assert [line.split(" ")[2] for line in capsys.readouterr().out.splitlines()] == best[:2]


def test_colors(tmp_path: Path) -> None:
    red = np.full((32, 48, 3), (250, 10, 20), np.uint8)
    _write_video(tmp_path / "red.avi", [red])
    (frame,) = camera_frames(str(tmp_path / "red.avi"))
    assert (frame.mode, frame.size) == ("RGB", (48, 32))
    # Motion JPEG loses a little.
    np.testing.assert_allclose(np.asarray(frame).astype(int), red, atol=6)


def test_what_does_not_open(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UsageError, match=r"none\.avi: no such video file, nor the number of a"):
        camera_frames(str(tmp_path / "none.avi"))
    (tmp_path / "text.avi").write_text("text")
    for source in (str(tmp_path / "text.avi"), "99"):
        with pytest.raises(TinsmithError, match="OpenCV gets no frame from it") as caught:
            list(camera_frames(source))
        assert caught.value.exit_status == 1
    assert capfd.readouterr() == ("", "")


def test_model_of_features(
    features: Path, video: Path, capsys: pytest.CaptureFixture[str], one_line: Callable[[str], str]
) -> None:
    assert main(["run", str(features), "--camera", str(video)]) == 2
    said = one_line(capsys.readouterr().err)
    assert "--camera: the model takes features, not images" in said


def test_without_opencv(
    monkeypatch: pytest.MonkeyPatch,
    tiny: Path,
    video: Path,
    capsys: pytest.CaptureFixture[str],
    one_line: Callable[[str], str],
) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    assert main(["run", str(tiny), "--camera", str(video)]) == 2
    said = one_line(capsys.readouterr().err)
    assert "pip install 'tinsmith-runtime[camera]'" in said
    assert "apt install python3-picamera2" in said


def test_picamera2(
    child: Callable[..., subprocess.CompletedProcess[str]],
    tiny: Path,
    bundle: Bundle,
    pixels: NDArray[np.uint8],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where it is installed, a camera's number means it, and OpenCV is not imported."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "picamera2.py").write_text(STAND_IN)
    Image.fromarray(pixels[0, ..., 0]).save("frame.png")
    script = """
import sys
from tinsmith_runtime.cli import main
status = main(sys.argv[1:])
print(status, "cv2" in sys.modules)
"""
    words = ["-c", script, "run", tiny, "--camera", "--frames", "3"]
    done = child(*words, PYTHONPATH=str(tmp_path))
    best = bundle.manifest.output.labels[bundle.golden().outputs_int8[0].argmax()]
    *lines, closed, end = done.stdout.splitlines()
    assert (done.stderr, closed, end) == ("", "closed", "0 False")
    assert [" ".join(line.split()[:3]) for line in lines] == [
        f"frame {number}: {best}" for number in (1, 2, 3)
    ]
    words[words.index("--camera") + 1 : words.index("--camera") + 1] = ["2"]
    done = child(*words, PYTHONPATH=str(tmp_path))
    assert done.stderr == (
        "tinsmith: error: camera 2: picamera2 failed: Camera __init__ sequence did not complete.\n"
    )
    assert done.stdout == "1 False\n"
