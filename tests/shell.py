"""The `tinsmith` command as a person types it."""

import subprocess
import sys
from pathlib import Path


def tinsmith(*words: str, folder: Path) -> str:
    """Types a command line in a folder; gives what it says, and fails if it fails."""
    command = [str(Path(sys.executable).with_name("tinsmith")), *words]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(words)}: {done.stderr}"
    assert "INFO" not in done.stderr
    assert "WARNING" not in done.stderr
    return done.stdout
