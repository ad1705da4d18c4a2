"""The page of `tinsmith serve` in a real browser: what people do with it, and how it looks."""

import json
import math
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from chrome import Tab, open_tab
from PIL import Image
from serving import Server, serving

from tinsmith_runtime import load, read_bundle

pytestmark = [
    pytest.mark.slow,
    pytest.mark.not_on_a_board(reason="there is no browser there"),
]
BOXES = Path(__file__).parents[1] / "data" / "boxes.tin"
DIGITS = Path(__file__).parents[1] / "data" / "digits.tin"
Stroke = list[tuple[float, float]]
RING: Stroke = [
    (0.5 + 0.27 * math.sin(a), 0.5 - 0.38 * math.cos(a)) for a in np.linspace(0, 6.3, 24)
]
STROKES: dict[str, list[Stroke]] = {
    "0": [RING],
    "1": [[(0.5, 0.08), (0.5, 0.92)]],
    "4": [[(0.45, 0.08), (0.15, 0.6), (0.85, 0.6)], [(0.6, 0.35), (0.6, 0.95)]],
    "7": [[(0.2, 0.12), (0.78, 0.12), (0.42, 0.92)], [(0.3, 0.5), (0.7, 0.5)]],
}
NOTHING = "\u2013"
BEST = "document.querySelector('#best').textContent"
# What sticks out of the window, and what a finger could miss: WCAG 2.2 asks for 44 px (AAA).
FLAWS = """[...document.querySelectorAll("body *")].filter((node) => node.checkVisibility())
  .flatMap((node) => {
    const box = node.getBoundingClientRect(), name = node.tagName + "#" + node.id;
    const beyond = box.left < 0 || box.right > innerWidth + 0.5;
    const cut = beyond || node.clientWidth > 0 && node.scrollWidth > node.clientWidth + 1
      && getComputedStyle(node).overflowX === "visible";
    const small = node.matches("button, .button, footer a") && box.height < 44;
    return [...(cut ? ["cut " + name] : []), ...(small ? ["small " + name] : [])];
  })"""


@pytest.fixture(scope="module")
def softmax(
    seal: Callable[[Any], bytes],
    zipped: Callable[[dict[str, bytes]], bytes],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """The classifier of digits, with the probabilities that it was exported without."""
    files = read_bundle(DIGITS).files
    with zipfile.ZipFile(DIGITS) as archive:
        tree = json.loads(archive.read("manifest.json"))
    tree["outputs"][0]["activation"] = "softmax"
    path = tmp_path_factory.mktemp("softmax") / "digits.tin"
    path.write_bytes(zipped({**files, "manifest.json": seal(tree)}))
    return path


@pytest.fixture(scope="module")
def server(softmax: Path) -> Iterator[Server]:
    with serving(softmax) as found:
        yield found


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    with open_tab(tmp_path_factory.mktemp("browser")) as found:
        yield found


@pytest.fixture(autouse=True)
def _no_complaints(tab: Tab) -> Iterator[None]:
    tab.look_as(1280, 800)
    tab.complaints.clear()
    yield
    assert tab.complaints == []


def test_a_digit_is_drawn_with_the_pointer(server: Server, tab: Tab) -> None:
    tab.open(server.url)
    for digit, strokes in STROKES.items():
        for stroke in strokes:
            tab.drag(tab.place("#paper", stroke))
        tab.wait(f"{BEST}.startsWith('{digit}, ')")
        assert tab.run("document.querySelectorAll('#bars li').length") == 10
        assert " ms on " in tab.run("document.querySelector('#facts').textContent")
        tab.run("document.querySelector('#clear').click()")
        assert tab.run(BEST) == NOTHING
    asked = tab.run("performance.getEntriesByType('resource').map((one) => one.name)")
    assert asked
    assert all(name.startswith(server.url) for name in asked)


def test_a_digit_is_drawn_with_keys(server: Server, tab: Tab) -> None:
    tab.open(server.url)
    tab.press("Tab")
    assert tab.run("document.activeElement.id") == "paper"
    tab.press("ArrowUp", 3)
    tab.press(" ")
    tab.press("ArrowDown", 13)
    tab.wait(f"{BEST}.startsWith('1, ')")
    tab.press("Delete")
    assert tab.run(BEST) == NOTHING
    order = []
    for _ in range(5):
        tab.press("Tab")
        order.append(tab.run("document.activeElement.id || document.activeElement.textContent"))
    assert order == ["clear", "file", "API", "Model", "Metrics"]


@pytest.mark.parametrize(
    ("width", "height", "scheme"),
    [(1280, 800, "light"), (1280, 800, "dark"), (390, 844, "dark"), (320, 568, "light")],
)
def test_it_fits_and_is_accessible(
    server: Server, tab: Tab, width: int, height: int, scheme: str, tmp_path: Path
) -> None:
    touch = width < 500
    tab.look_as(width, height, scheme, touch)
    tab.open(server.url)
    takes = "document.querySelector('#photo').parentElement.checkVisibility()"
    assert tab.run(takes) == touch  # a desk has no camera to take a photo with
    (tab.swipe if touch else tab.drag)(tab.place("#paper", RING))
    tab.wait(f"{BEST}.startsWith('0, ')")
    assert tab.run("scrollY") == 0  # a finger draws, and does not scroll
    assert tab.run(FLAWS) == []
    assert tab.accessibility_faults() == []
    dark = tab.run("getComputedStyle(document.body).backgroundColor") != "rgb(255, 255, 255)"
    assert dark == (scheme == "dark")
    tab.photograph(tmp_path / f"{scheme}-{width}.png")


def test_pictures_are_chosen(server: Server, softmax: Path, tab: Tab, tmp_path: Path) -> None:
    """By the file dialog, and dropped."""
    drawing = Image.new("L", (200, 200))
    drawing.paste(255, (80, 10, 115, 190))
    drawing.save(tmp_path / "one.png")
    drawing.save(tmp_path / "one.webp", lossless=True)  # of which the browser makes a PNG
    (tmp_path / "none.png").write_text("no picture")
    with load(softmax) as model:
        (expected,) = model.classify(tmp_path / "one.png", top=1)
    for name in ("one.png", "one.webp"):
        tab.open(server.url)
        tab.choose("#file", tmp_path / name)
        tab.wait(f"{BEST} === '{expected.label}, {expected.probability:.1%}'")
        assert tab.run("document.querySelector('#picture').naturalWidth") == 200
    tab.open(server.url)
    tab.drop("#stage", tmp_path / "one.png")
    tab.wait(f"{BEST} === '{expected.label}, {expected.probability:.1%}'")
    tab.choose("#file", tmp_path / "none.png")
    tab.wait(f"{BEST}.includes('no picture')")
    assert tab.accessibility_faults() == []


def test_boxes_are_drawn_where_the_model_detects(tab: Tab, tmp_path: Path) -> None:
    scene = Image.new("L", (96, 48), 20)
    scene.paste(220, (40, 12, 64, 36))
    scene.save(tmp_path / "scene.png")
    with load(BOXES) as model:
        found = model.detect(tmp_path / "scene.png")[0]
    left, top, _, bottom = found.box
    with serving(BOXES) as server:
        tab.open(server.url)
        tab.choose("#file", tmp_path / "scene.png")
        tab.wait(f"{BEST} === '{found.label}, {found.probability:.1%}'")
        # The picture is as wide as the stage, and stands in the middle of it.
        painted = tab.run(
            """((x, y) => {
          const canvas = document.querySelector("#boxes"), scale = canvas.width / 96;
          const up = (canvas.height - 48 * scale) / 2;
          return [...canvas.getContext("2d").getImageData(x * scale, y * scale + up, 1, 1).data];
        })"""
            + f"({left}, {(top + bottom) / 2})"
        )
        assert painted[3] > 0
        tab.photograph(tmp_path / "boxes.png")
        tab.run("document.querySelector('#clear').click()")
        tab.drag(tab.place("#paper", [(0.4, 0.5), (0.6, 0.5)]))
        tab.wait(f"{BEST} !== '{NOTHING}'")


def test_the_boards_camera(softmax: Path, tab: Tab, tmp_path: Path) -> None:
    cv2 = pytest.importorskip("cv2", reason="opencv-python-headless is not installed")
    path = tmp_path / "video.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10, (64, 64))
    for _ in range(20):
        frame = np.zeros((64, 64, 3), np.uint8)
        frame[4:60, 26:38] = 255
        writer.write(frame)
    writer.release()
    with serving(softmax, "--camera", path) as server:
        tab.open(server.url)
        tab.run("document.querySelector('#camera').click()")
        tab.wait(f"{BEST}.startsWith('1, ')")
        assert tab.run("document.querySelector('#camera').getAttribute('aria-pressed')") == "true"
        tab.run("document.querySelector('#camera').click()")
        before = server.ask("/metrics").body
        assert b'path="/v1/camera",status="200"' in before
        tab.run("document.querySelector('#clear').click()")
        assert tab.run(BEST) == NOTHING


def test_numbers_are_typed(features: Path, pair: Path, tab: Tab) -> None:
    with serving(features) as server:
        tab.open(server.url)
        tab.run("document.querySelector('button[type=submit]').click()")
        tab.wait("document.querySelectorAll('#bars li').length")
        tab.run("document.querySelector('#instance').value = '[1, 2'")
        tab.run("document.querySelector('button[type=submit]').click()")
        tab.wait(f"{BEST}.startsWith('body: expected JSON')")
        assert tab.accessibility_faults() == []
        # The browser itself logs an answer of 400.
        assert all("400 (Bad Request)" in one for one in tab.complaints)
        tab.complaints.clear()
    with serving(pair) as server:
        tab.look_as(390, 844, touch=True)
        tab.open(server.url)
        tab.run("document.querySelector('button[type=submit]').click()")
        tab.wait("document.querySelector('#values').textContent.length > 10")
        assert tab.run(FLAWS) == []
        assert tab.accessibility_faults() == []


def test_the_token_opens_the_page(softmax: Path, tab: Tab) -> None:
    with serving(softmax, "--host", "0.0.0.0") as server:
        url = f"http://127.0.0.1:{server.port}/"
        tab.open(f"{url}?token={server.token}")
        assert tab.run("location.href") == url  # the token is not left in the address bar
        assert tab.run("document.cookie") == ""
        tab.drag(tab.place("#paper", RING))
        tab.wait(f"{BEST}.startsWith('0, ')")


def test_no_script_of_others_runs(forge: Callable[..., Path], tab: Tab) -> None:
    """A label is text, whatever the bundle's author wrote."""

    def edit(tree: Any) -> None:
        tree["outputs"][0]["labels"] = ["<img src=x onerror=alert(1)>", "<b>b</b>", "c" * 200]

    with serving(forge(edit=edit)) as server:
        tab.look_as(320, 568, touch=True)
        tab.open(server.url)
        tab.swipe(tab.place("#paper", RING))
        tab.wait("document.querySelectorAll('#bars li').length === 3")
        assert tab.run("document.querySelectorAll('#bars img, #bars b').length") == 0
        assert tab.run(FLAWS) == []
