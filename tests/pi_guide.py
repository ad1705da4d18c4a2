"""The pages of the documentation about a Raspberry Pi: what they say, their blocks and files."""

import re
from pathlib import Path

_PAGES = ("raspberry-pi", "release", "camera-and-folder", "serve", "raspberry-pi-problems")
_HOW_TO = Path(__file__).parents[1] / "docs" / "how-to"
GUIDE = "\n".join((_HOW_TO / f"{name}.md").read_text() for name in _PAGES)
# Of each: its language, the file that it is, if it is one, and its text.
BLOCKS: list[tuple[str, str, str]] = re.findall(
    r"```(\w+)(?: file=(\S+))?\n(.*?)```", GUIDE, re.DOTALL
)
FILES = {name: text for _, name, text in BLOCKS if name}
