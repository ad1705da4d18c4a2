"""What no emulated board runs of release.md, camera-and-folder.md and serve.md: their services."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from pi_guide import FILES, GUIDE
from PIL import Image

ROOT = Path(__file__).parents[1]
SOURCE = "".join(path.read_text() for path in sorted((ROOT / "runtime").rglob("*.py")))
# What others say: pip, Python, the kernel, the shell.
FOREIGN = {
    "externally-managed-environment",
    "No matching distribution found for ai-edge-litert",
    "Illegal instruction",
    "No module named 'picamera2'",
    "numpy.dtype size changed",
    "Killed",
}


def test_symptoms_are_what_the_runtime_says() -> None:
    table = GUIDE[GUIDE.index("| what you see") :]
    cells = [line.split("|")[1] for line in table.splitlines()[2:]]
    symptoms = {words for cell in cells for words in re.findall("`([^`]+)`", cell)}
    symptoms -= {*FOREIGN, "tflite-runtime", "install", "tinsmith run"}
    assert len(symptoms) > 10
    for words in symptoms:
        assert words in re.sub(r'"\s*\n\s*f?"', "", SOURCE), words


def test_units(tmp_path: Path) -> None:
    """Systemd's own judgement, with the script where the unit says it is."""
    if shutil.which("systemd-analyze") is None:
        reason = "systemd-analyze is missing: apt-get install systemd"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)
    script = tmp_path / "classify.sh"
    script.write_text(FILES["classify.sh"])
    units = []
    for name in ("tinsmith-inbox.path", "tinsmith-inbox.service", "tinsmith-watch.service",
                 "tinsmith-serve.service"):  # fmt: skip
        unit = tmp_path / name
        text = FILES[name].replace("/srv/tinsmith/classify.sh", str(script))
        unit.write_text(text.replace("/srv/tinsmith/watch.sh", str(script)))
        units.append(str(unit))
    line = ["systemd-analyze", "verify", "--man=no", *units]
    done = subprocess.run(line, capture_output=True, text=True, timeout=60)
    said = [
        line for line in done.stderr.splitlines() if str(tmp_path) in line or "tinsmith" in line
    ]
    assert (done.returncode, said) == (0, [])
    broken = tmp_path / "tinsmith-broken.service"
    broken.write_text(FILES["tinsmith-inbox.service"].replace("/bin/sh", "/nowhere/sh"))
    done = subprocess.run([*line[:3], str(broken)], capture_output=True, text=True, timeout=60)
    assert done.returncode or "tinsmith-broken" in done.stderr


@pytest.mark.parametrize("name", ["classify.sh", "watch.sh"])
def test_script_is_a_script(name: str) -> None:
    done = subprocess.run(["/bin/sh", "-n"], input=FILES[name], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_trial(tmp_path: Path) -> None:
    """The guide's install, then the service's two lines, as systemd would start them."""
    folder = tmp_path / "srv"
    folder.mkdir()
    (tmp_path / "opt").mkdir()
    (tmp_path / "bin").mkdir()
    for name, line in (("tinsmith", "-m tinsmith_runtime"), ("python", "-c 'print(1)'")):
        (tmp_path / "bin" / name).write_text(f'#!/bin/sh\nexec {sys.executable} {line} "$@"\n')
        (tmp_path / "bin" / name).chmod(0o755)

    def types(text: str) -> subprocess.CompletedProcess[str]:
        text = text.replace("/opt/models", f"{tmp_path}/opt").replace("/srv/tinsmith", str(folder))
        path = f"{tmp_path}/bin:{os.environ['PATH']}"
        return subprocess.run(
            ["/bin/sh", "-c", text],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
            env={**os.environ, "PATH": path},
        )

    shutil.copy(ROOT / "tests" / "data" / "version1" / "tiny.tin", tmp_path / "digits.tin")
    assert types("tinsmith install digits.tin /opt/models/digits").returncode == 0
    shutil.copy(ROOT / "tests" / "data" / "tiny.tin", tmp_path / "digits.tin")
    (install,) = re.findall(r"^tinsmith install --confirm .*$", GUIDE, re.MULTILINE)
    assert "on trial" in types(install).stdout
    (boot,) = re.findall(r"ExecStartPre=-/bin/sh -c '(.*)'", FILES["tinsmith-watch.service"])
    for said in ("starts", "went back to"):  # the picture is missing, so the service fails
        assert said in types(boot).stdout
        assert types(FILES["watch.sh"]).returncode == 1
    assert "--allow-failed" in types(install).stderr
    Image.new("L", (8, 8)).save(folder / "probe.png")
    assert types(install + " --allow-failed").returncode == 0
    for said in ("on trial", "starts"):
        assert said in types(boot).stdout
        assert types(FILES["watch.sh"]).returncode == 0
    assert "on trial" not in types(boot).stdout


def test_python_is_ten_lines_at_most() -> None:
    (code,) = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)
    compile(code, "camera.py", "exec")
    assert len([line for line in code.splitlines() if line]) <= 10


def test_readme_links_it() -> None:
    assert "](docs/how-to/raspberry-pi.md)" in (ROOT / "README.md").read_text()
