import hashlib
import subprocess
from collections.abc import Callable
from typing import Any

import pytest

from tinsmith_runtime.bundle import archive


@pytest.mark.parametrize("built_in", [archive._BUILT_IN, None])
@pytest.mark.parametrize("size_bytes", [0, 1000, (1 << 22) - 1, 1 << 22])
def test_sha256(built_in: Any, size_bytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "_BUILT_IN", built_in)
    data = bytes(range(250)) * (size_bytes // 250)
    assert archive.sha256(data) == hashlib.sha256(data).hexdigest()


def test_openssl_stays_away_until_it_is_worth_it(
    child: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    script = """
import sys
from tinsmith_runtime.bundle.archive import sha256
sha256(bytes(1000))
assert "_hashlib" not in sys.modules
sha256(bytes(1 << 22))
assert "_hashlib" in sys.modules
"""
    done = child("-c", script)
    assert (done.returncode, done.stderr) == (0, "")
