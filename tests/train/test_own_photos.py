"""docs/tutorials/own-photos.md: its four commands are typed, and the page recognises new photos."""

import io
import os
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from chrome import open_tab
from PIL import Image
from serving import Server, serving
from shared_files import PHOTOGRAPHS
from shell import tinsmith

pytestmark = pytest.mark.slow
TUTORIAL = (Path(__file__).parents[2] / "docs/tutorials/own-photos.md").read_text()
BLOCKS = re.findall(r"```sh\n(.*?)```", TUTORIAL, re.DOTALL)
COMMANDS = [
    shlex.split(line)[1:]
    for block in BLOCKS
    for line in block.splitlines()
    if line.startswith("tinsmith ")
]
CLASSES = {"airplane": 0, "car": 1, "frog": 6}  # of CIFAR-10
OF_EACH = 60
Photos = dict[str, list[bytes]]


def jpeg(pixels: np.ndarray) -> bytes:
    """A photo as a camera writes it, if a small one: 320 by 240."""
    file = io.BytesIO()
    photo = Image.fromarray(pixels).resize((320, 240), Image.Resampling.BICUBIC)
    photo.save(file, "JPEG", quality=92)
    return file.getvalue()


def photographs(path: Path) -> tuple[Photos, Photos]:
    """60 photos of each class to learn from, and others, that nobody learns from."""
    known, new = {}, {}
    with np.load(path) as arrays:
        for name, label in CLASSES.items():
            train = arrays["x_train"][arrays["y_train"] == label][:OF_EACH]
            test = arrays["x_test"][arrays["y_test"] == label]
            known[name], new[name] = [*map(jpeg, train)], [*map(jpeg, test)]
    return known, new


def made() -> tuple[Photos, Photos]:
    """The same of patterns in any colours and places: stripes, bars and spots."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:32, :32]

    def one(name: str) -> bytes:
        step, start = rng.uniform(0.6, 1.1), rng.uniform(0, 6, 2)
        across, down = np.sin(step * x + start[0]), np.sin(step * y + start[1])
        wave = {"airplane": down, "car": across, "frog": across * down * 2}[name]
        colours = rng.integers(40, 216, (2, 3))
        mixed = colours[0] + np.clip(wave[..., None] / 2 + 0.5, 0, 1) * (colours[1] - colours[0])
        return jpeg(np.clip(mixed + rng.normal(0, 12, mixed.shape), 0, 255).astype(np.uint8))

    known = {name: [one(name) for _ in range(OF_EACH)] for name in CLASSES}
    return known, {name: [one(name) for _ in range(100)] for name in CLASSES}


@pytest.fixture(scope="module")
def photos() -> tuple[Photos, Photos]:
    root = os.environ.get("TINSMITH_DATA")
    path = Path(root, PHOTOGRAPHS) if root else None
    return photographs(path) if path and path.is_file() else made()


@pytest.fixture(scope="module")
def folder(photos: tuple[Photos, Photos], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a newcomer has before the first command."""
    folder = tmp_path_factory.mktemp("newcomer")
    known, new = photos
    for name, files in known.items():
        (folder / "photos" / name).mkdir(parents=True)
        for number, file in enumerate(files):
            (folder / "photos" / name / f"{number:02}.jpg").write_bytes(file)
    (folder / "photo.jpg").write_bytes(new["frog"][0])
    return folder


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Server]:
    """The page, after the commands of the tutorial."""
    assert [words[0] for words in COMMANDS] == ["train", "export", "run", "serve"]
    *before, (_, bundle, *words) = COMMANDS
    said = [tinsmith(*line, folder=folder) for line in before]
    assert re.match(r"photo\.jpg: (airplane|car|frog) \d+\.\d%", said[2])
    with serving(folder / bundle, *words) as server:
        yield server


def test_the_page_recognises_new_photos(server: Server, photos: tuple[Photos, Photos]) -> None:
    assert server.ask("/healthz").status == 200
    right = []
    for name, files in photos[1].items():
        for file in files:
            said = server.ask("/v1/predict?top=1", file, "image/jpeg").json()
            (result,) = said["results"]
            right.append(result["predictions"][0]["label"] == name)
    # Measured: 511 of 598, as the tutorial says. Another CPU rounds in another way, and training
    # comes to another model; guessing is right in a third.
    assert np.mean(right) > 0.75, f"{sum(right)} of {len(right)}"


def test_a_photo_is_chosen_on_the_page(server: Server, folder: Path, tmp_path: Path) -> None:
    photo = (folder / "photo.jpg").read_bytes()
    (result,) = server.ask("/v1/predict?top=1", photo, "image/jpeg").json()["results"]
    (best,) = result["predictions"]
    with open_tab(tmp_path) as tab:
        for width, height in ((1280, 800), (390, 844)):
            tab.look_as(width, height, touch=width < 500)
            tab.open(server.url)
            tab.choose("#file", folder / "photo.jpg")
            label = f"{best['label']}, {best['probability']:.1%}"
            tab.wait(f"document.querySelector('#best').textContent === '{label}'")
            assert tab.run("document.querySelectorAll('#bars li').length") == len(CLASSES)
            assert tab.run("document.documentElement.scrollWidth <= innerWidth")
            assert tab.accessibility_faults() == []
            tab.photograph(tmp_path / f"{width}.png")
        assert tab.complaints == []
