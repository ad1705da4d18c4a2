"""What is sent to a board that is to be measured: our own code and what it works on."""

import json
import zipfile
from collections.abc import Mapping
from importlib.metadata import distribution
from importlib.resources import files
from pathlib import Path
from typing import Any

CODE = "code"
REQUEST = "request.json"
_PACKAGES = ("tinsmith_runtime", "tinsmith_report", "tinsmith_bench", "tinsmith_data")
_DISTRIBUTIONS = ("tinsmith", "tinsmith-runtime")


def pack(path: Path, request: Mapping[str, Any], contents: Mapping[str, bytes]) -> int:
    """Writes a zip file that a Python with numpy and an engine can measure bundles with.

    The code is that of this very process, whether it was installed or is being worked on: both ends
    speak the same version, and nothing is installed over there. It is plain Python.

    Args:
        path: the zip file to write.
        request: what `worker.py` is to do.
        contents: the files that it needs for that, by name.

    Returns:
        How many bytes it will be over there, unpacked.
    """
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for package in _PACKAGES:
            folder = Path(str(files(package)))
            for source in sorted(folder.rglob("*.py")):
                name = source.relative_to(folder.parent).as_posix()
                archive.writestr(f"{CODE}/{name}", source.read_bytes())
        for name in _DISTRIBUTIONS:
            found = distribution(name)
            lines = f"Metadata-Version: 2.1\nName: {name}\nVersion: {found.version}\n"
            info = f"{name.replace('-', '_')}-{found.version}.dist-info"
            archive.writestr(f"{CODE}/{info}/METADATA", lines)
        archive.writestr(REQUEST, json.dumps(request))
        for name, content in contents.items():
            archive.writestr(name, content)
        return sum(entry.file_size for entry in archive.infolist())
