"""A tab of headless Chromium that a test drives: pointer, keys, files, screenshots, axe-core.

It speaks the Chrome DevTools Protocol over two pipes, which needs nothing but Python.
"""

import base64
import json
import os
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib.resources import files
from pathlib import Path
from typing import Any, BinaryIO

from browser import find_browser

_FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--disable-dev-shm-usage", "--remote-debugging-pipe"),
)
_WAIT_S = 20


class Tab:
    """One tab.

    Attributes:
        complaints: what the browser logged: errors of scripts, what the page's policy forbade.
    """

    def __init__(self, send: BinaryIO, receive: int) -> None:
        self._send, self._receive = send, receive
        self._number, self._said = 0, b""
        self._session: str | None = None
        self.complaints: list[str] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "DOM"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> Any:
        """Calls a method of the protocol and waits for its result."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        self._send.write(json.dumps(message).encode() + b"\0")
        self._send.flush()
        while True:
            said = self._read()
            if said.get("id") == self._number:
                assert "error" not in said, said["error"]
                return said["result"]
            if said.get("method") in ("Log.entryAdded", "Runtime.exceptionThrown"):
                self.complaints.append(json.dumps(said["params"]))

    def _read(self) -> Any:
        while b"\0" not in self._said:
            part = os.read(self._receive, 1 << 20)
            assert part, "the browser ended"
            self._said += part
        text, _, self._said = self._said.partition(b"\0")
        return json.loads(text)

    def run(self, script: str) -> Any:
        """Evaluates JavaScript, waits for a promise, gives its value."""
        said = self.call(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in said, said["exceptionDetails"]
        return said["result"].get("value")

    def wait(self, condition: str) -> Any:
        """Waits until a JavaScript expression is true, and gives its value."""
        end = time.monotonic() + _WAIT_S
        while not (found := self.run(condition)):
            assert time.monotonic() < end, (condition, self.run("document.body.innerText"))
            time.sleep(0.05)
        return found

    def visit(self, url: str) -> None:
        """Opens a page, and waits until all of it is there."""
        self.call("Page.navigate", url=url)
        self.wait(f"document.readyState === 'complete' && location.href === {json.dumps(url)}")

    def open(self, url: str) -> None:
        """Opens a page of `tinsmith serve`, and waits until it has shown its model."""
        self.call("Page.navigate", url=url)
        self.wait("document.readyState === 'complete' && !!document.querySelector('#about')")
        self.wait("document.querySelector('#about').textContent")

    def look_as(self, width: int, height: int, scheme: str = "light", touch: bool = False) -> None:
        """Sets the size, the colours that are preferred, and whether fingers point."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height,
                  deviceScaleFactor=2 if touch else 1, mobile=touch)  # fmt: skip
        self.call("Emulation.setTouchEmulationEnabled", enabled=touch)
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.call("Emulation.setEmulatedMedia", features=features)

    def photograph(self, path: Path) -> None:
        """Writes a PNG of the whole page."""
        said = self.call("Page.captureScreenshot", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(said["data"]))

    def choose(self, selector: str, *paths: Path) -> None:
        """Chooses files in a file input."""
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        node = self.call("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.call("DOM.setFileInputFiles", nodeId=node, files=[str(path) for path in paths])

    def drop(self, selector: str, path: Path) -> None:
        """Drops a file on the middle of an element."""
        (place,) = self.place(selector, [(0.5, 0.5)])
        data = {"items": [], "files": [str(path)], "dragOperationsMask": 1}
        for kind in ("dragEnter", "dragOver", "drop"):
            self.call("Input.dispatchDragEvent", type=kind, data=data, **place)

    def place(self, selector: str, points: Sequence[tuple[float, float]]) -> list[dict[str, float]]:
        """Places in an element, given as fractions of it, as places of the window."""
        box = self.run(
            f"(() => {{ const b = document.querySelector('{selector}').getBoundingClientRect();"
            "return [b.left, b.top, b.width, b.height]; })()"
        )
        left, top, width, height = box
        return [{"x": left + x * width, "y": top + y * height} for x, y in points]

    def drag(self, places: Sequence[dict[str, float]]) -> None:
        """Presses the mouse's button at the first place, and lets it go at the last."""
        for kind, place in _stroke("mousePressed", "mouseMoved", "mouseReleased", places):
            self.call("Input.dispatchMouseEvent", type=kind, button="left", clickCount=1, **place)

    def swipe(self, places: Sequence[dict[str, float]]) -> None:
        """The same with a finger."""
        for kind, place in _stroke("touchStart", "touchMove", "touchEnd", places):
            points = [] if kind == "touchEnd" else [place]
            self.call("Input.dispatchTouchEvent", type=kind, touchPoints=points)

    def press(self, key: str, times: int = 1) -> None:
        """Presses a key on the keyboard."""
        codes = {"Tab": 9, "Enter": 13, " ": 32, "ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39,
                 "ArrowDown": 40, "Delete": 46}  # fmt: skip
        text = {"Enter": "\r", " ": " "}.get(key, "")
        for _ in range(times):
            for kind in ("keyDown", "keyUp"):
                more = {"text": text} if text and kind == "keyDown" else {}
                self.call("Input.dispatchKeyEvent", type=kind, key=key,
                          windowsVirtualKeyCode=codes[key], **more)  # fmt: skip

    def accessibility_faults(self) -> list[str]:
        """What axe-core finds, of every weight."""
        self.run(files("axe_core_python").joinpath("axe.min.js").read_text() + "; 0")
        found = self.run("axe.run().then((said) => said.violations)")
        return [f"{one['impact']} {one['id']}: {one['nodes'][0]['html']}" for one in found]


def _stroke(
    first: str, then: str, last: str, places: Sequence[dict[str, float]]
) -> Iterator[tuple[str, dict[str, float]]]:
    yield first, places[0]
    for place in places[1:]:
        yield then, place
    yield last, places[-1]


@contextmanager
def open_tab(folder: Path) -> Iterator[Tab]:
    """Starts a browser; skips the test where there is none, see `find_browser`."""
    program = find_browser(folder).program
    theirs_in, ours_out = os.pipe()
    ours_in, theirs_out = os.pipe()

    def place_pipes() -> None:
        # The protocol's numbers; a copy of each, so that neither overwrites the other.
        found = os.dup(theirs_in), os.dup(theirs_out)
        os.dup2(found[0], 3)
        os.dup2(found[1], 4)

    command = [program, *_FLAGS, f"--user-data-dir={folder / 'profile'}", "about:blank"]
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(
        command, preexec_fn=place_pipes, pass_fds=(3, 4), stdout=quiet, stderr=quiet
    )
    os.close(theirs_in)
    os.close(theirs_out)
    with os.fdopen(ours_out, "wb") as send, os.fdopen(ours_in, "rb") as receive:
        try:
            tab = Tab(send, receive.fileno())
            yield tab
            tab._session = None
            with suppress(AssertionError, OSError):
                tab.call("Browser.close")
        finally:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
