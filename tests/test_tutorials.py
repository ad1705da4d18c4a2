"""The service of docs/tutorials/onto-the-pi.md, by systemd's own judgement."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[1] / "docs/tutorials/onto-the-pi.md"


def test_the_service_is_one(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        reason = "systemd-analyze is missing: apt-get install systemd"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)
    ((name, text),) = re.findall(r"```ini file=(\S+)\n(.*?)```", PAGE.read_text(), re.DOTALL)
    said = {}
    for kind, content in (("whole", text), ("broken", text.replace("/usr/bin/env", "/nowhere"))):
        unit = tmp_path / kind / name
        unit.parent.mkdir()
        unit.write_text(content)
        line = ["systemd-analyze", "verify", "--man=no", str(unit)]
        done = subprocess.run(line, capture_output=True, text=True, timeout=60)
        said[kind] = done.returncode, "tinsmith" in done.stderr
    assert said["whole"] == (0, False)
    assert said["broken"] != (0, False)
