"""What is sent to a board that is to be measured: our own code and what it works on."""

import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import distribution
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from tinsmith_bench.competitors import Competitor
from tinsmith_bench.options import Options
from tinsmith_bench.test_set import Samples
from tinsmith_runtime import Bundle
from tinsmith_runtime.batch import numbered, parts
from tinsmith_runtime.bundle import archive as bundle_archive

CODE = "code"
REQUEST = "request.json"
PAYLOAD = "payload.zip"
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


def requested(
    paths: Sequence[Path],
    bundles: Sequence[Bundle],
    samples: Samples,
    options: Options,
    competitors: Sequence[Competitor],
    is_tested: bool,
) -> tuple[dict[str, Any], dict[str, bytes]]:
    """What the worker over there is to do, and the files that it needs for that, by name."""
    # A folder each: two bundles may have the same name.
    contents = {
        f"{number}/{path.name}": bundle_archive.pack(bundle.files)
        for number, (path, bundle) in enumerate(zip(paths, bundles, strict=True))
    }
    files = {f"competitors/{one.path.name}": one for one in competitors}
    request = {
        "bundles": list(contents),
        "samples": {"name": samples.name, "sha256": samples.sha256},
        "options": asdict(options),
        "is_tested": is_tested,
        "competitors": [{**asdict(one), "path": name} for name, one in files.items()],
    }
    contents |= {name: one.path.read_bytes() for name, one in files.items()}
    return request, {**contents, "samples.npz": _arrays(samples)}


def _arrays(samples: Samples) -> bytes:
    buffer = io.BytesIO()
    inputs = parts(samples.inputs)
    arrays: dict[str, Any] = dict(zip(numbered("inputs", len(inputs)), inputs, strict=True))
    if samples.targets is not None:
        arrays["targets"] = samples.targets
    np.savez(buffer, **arrays)
    return buffer.getvalue()
