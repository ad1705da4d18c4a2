"""What runs on the board while it is measured from the desk: it comes, works, leaves no trace.

`remote.py` sends the text of this file through ssh to the Python that is there, so it imports the
standard library alone.

Standard input is the desk's hand on it: a line of JSON is an order, an empty line says that the
desk is still there. When it ends, or is silent for too long, whatever was started is killed and the
one folder that was made is removed. Standard output carries the messages of `say`, and those that
the measuring process writes there itself.
"""

import contextlib
import json
import os
import platform
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from importlib import metadata
from pathlib import Path
from typing import Any

# A login shell may print whatever it likes into the same channel.
MARK = "@tinsmith "
# The desk writes every 10 s; from a network cable that is pulled comes nothing, not even an end.
SILENCE_S = 60
PACKAGES = ("numpy", "ai-edge-litert", "tflite-runtime", "onnxruntime")

Events = queue.Queue[Any]


def say(**message: object) -> None:
    """Sends the desk one message."""
    sys.stdout.write(MARK + json.dumps(message) + "\n")
    sys.stdout.flush()


def facts(folder: Path) -> dict[str, Any]:
    """What the desk must know before it copies anything."""
    versions = {}
    for name in PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[name] = metadata.version(name)
    return {
        "folder": str(folder),
        "free_bytes": shutil.disk_usage(folder).free,
        "python": platform.python_version(),
        "executable": sys.executable,
        "architecture": platform.machine(),
        "packages": versions,
    }


def listen(events: Events) -> None:
    """Passes on the desk's lines, and `None` when there will be no more."""
    for line in sys.stdin:
        events.put(line.strip())
    events.put(None)


def start(folder: Path, order: dict[str, Any], events: Events) -> subprocess.Popen[str]:
    """Unpacks what was copied and starts the measuring process, in a process group of its own."""
    luggage = folder / order["luggage"]
    with zipfile.ZipFile(luggage) as archive:
        archive.extractall(folder)
    luggage.unlink()
    paths = filter(None, (str(folder / order["code"]), os.environ.get("PYTHONPATH")))
    environment = {"TMPDIR": str(folder), "PYTHONPATH": os.pathsep.join(paths)}
    worker = subprocess.Popen(
        [sys.executable, *order["words"]],
        cwd=folder,
        env=os.environ | environment,
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )

    def wait() -> None:
        _, words = worker.communicate()
        events.put({"ended": worker.returncode, "last_words": words.strip().split("\n")[-1]})

    threading.Thread(target=wait, daemon=True).start()
    return worker


def leave(folder: Path, worker: subprocess.Popen[str] | None) -> None:
    """Kills what was started and removes what was made."""
    for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    if worker:
        with contextlib.suppress(OSError):
            os.killpg(worker.pid, signal.SIGKILL)
        worker.wait()
    for _ in range(50):  # a copy that is being broken off may still add to the folder
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return
        time.sleep(0.1)


def visit() -> None:
    """Stays until the work is done or the desk is gone."""
    for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(1))
    events: Events = queue.Queue()
    worker = None
    try:
        folder = Path(tempfile.mkdtemp(prefix="tinsmith-"))
    except OSError as error:
        say(trouble=f"no folder can be made there: {error}")
        return
    try:
        say(arrived=facts(folder))
        threading.Thread(target=listen, args=(events,), daemon=True).start()
        while (event := events.get(timeout=SILENCE_S)) is not None:
            if isinstance(event, dict):
                say(**event)
                return
            if event:
                worker = start(folder, json.loads(event), events)
    except queue.Empty:
        return
    except (OSError, zipfile.BadZipFile) as error:
        say(trouble=f"{type(error).__name__}: {error}")
    finally:
        leave(folder, worker)


if __name__ == "__main__":
    visit()
