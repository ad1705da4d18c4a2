"""A page as a browser shows it: headless Chromium at a given width."""

import json
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from html import escape, unescape
from pathlib import Path
from typing import Any

import pytest

_NAMES = ("chromium", "chromium-browser", "google-chrome")
# A page must not reach for the network, and neither may its browser.
_FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--hide-scrollbars", "--virtual-time-budget=5000"),
)
# The page stands in a frame of the wanted width: a window of a phone's width there is none.
_FRAME = """<!doctype html>
<body style="margin:0"><iframe id="page" srcdoc="{page}"
 style="border:0;width:{width}px;height:{height}px"></iframe><pre id="found"></pre><script>
const frame = document.getElementById("page");
frame.addEventListener("load", () => {{
  const page = frame.contentDocument, root = page.documentElement;
  const all = [...page.querySelectorAll("body *")];
  const beyond = all.filter((node) => !node.closest(".scroll table, svg *") &&
    node.getBoundingClientRect().right > root.clientWidth + 0.5);
  const said = {{
    width: root.clientWidth,
    height: root.scrollHeight,
    overflow: root.scrollWidth - root.clientWidth,
    beyond: beyond.map((node) => node.tagName + "." + node.className),
    sections: [...page.querySelectorAll("section")].filter((node) => node.offsetHeight > 20)
      .map((node) => node.id),
    missing: [...page.images].filter((image) => !image.complete || !image.naturalWidth)
      .map((image) => image.alt),
    pictures: page.images.length,
    plots: [...page.querySelectorAll("svg")].map((node) => {{
      const box = node.getBoundingClientRect(); return [box.width, box.height];
    }}),
    fetched: frame.contentWindow.performance.getEntriesByType("resource").map((e) => e.name)
      .filter((name) => !name.startsWith("data:")),
  }};
  document.getElementById("found").textContent = JSON.stringify(said);
}});
</script></body>"""


@dataclass(frozen=True)
class Browser:
    """Headless Chromium.

    Attributes:
        program: its path.
        folder: where its profiles and pages go.
    """

    program: str
    folder: Path

    def look(self, page: str, width: int) -> dict[str, Any]:
        """Says what a page looks like: see `_FRAME`."""
        dom = self._run(self._frame(page, width, 3000), "--dump-dom", width=width).decode()
        found = re.search(r'<pre id="found">(.*?)</pre>', dom, re.DOTALL)
        assert found, dom[:500]
        said: dict[str, Any] = json.loads(unescape(found[1]))
        return said

    def photograph(self, page: str, width: int, height: int, path: Path) -> None:
        """Writes a PNG of the page."""
        frame = self._frame(page, width, height)
        self._run(frame, f"--screenshot={path}", f"--window-size={width},{height}", width=width)

    def _frame(self, page: str, width: int, height: int) -> Path:
        frame = self.folder / f"frame-{width}.html"
        frame.write_text(_FRAME.format(page=escape(page), width=width, height=height))
        return frame

    def _run(self, frame: Path, *words: str, width: int) -> bytes:
        profile = f"--user-data-dir={self.folder / f'profile-{width}'}"
        command = [self.program, *_FLAGS, profile, *words, frame.as_uri()]
        return subprocess.run(command, capture_output=True, check=True, timeout=120).stdout


def find_browser(folder: Path) -> Browser:
    """Finds a browser, or skips the test and says what to install; fails where `CI` is set."""
    program = next(filter(None, map(shutil.which, _NAMES)), None)
    if program is None:
        reason = f"no browser: expected one of {', '.join(_NAMES)} (apt-get install chromium)"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return Browser(program, folder)
