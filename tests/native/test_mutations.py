"""Plans that are changed at random, under AddressSanitizer and UndefinedBehaviorSanitizer.

30,000 of them; `TINSMITH_PLAN_MUTATIONS=1000000` for more. `plan_fuzzer.py` runs libFuzzer.
"""

import os
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest
from plan_fuzzer import AVX2, LIMITS, compile_fuzzer, write_plans

COUNT = int(os.environ.get("TINSMITH_PLAN_MUTATIONS", "30000"))
ISAS = ["portable", "avx2"] if AVX2 else ["portable"]


@pytest.fixture(scope="module")
def fuzzer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library and `fuzz.c` with the sanitizers."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("there is no C compiler")
    program = tmp_path_factory.mktemp("fuzz") / "fuzz"
    compile_fuzzer(compiler, program)
    return program


@pytest.mark.slow
@pytest.mark.parametrize("isa", ISAS)
def test_no_plan_makes_it_crash(isa: str, fuzzer: Path, tmp_path: Path) -> None:
    paths = write_plans(tmp_path)
    bundle = tmp_path / "network.tin"
    with zipfile.ZipFile(bundle, "w") as archive:
        archive.write(tmp_path / "network", "model.int8.plan")
    paths.append(bundle)
    line = [str(fuzzer), str(COUNT), "1", *map(str, paths)]
    environment = {**os.environ, "ASAN_OPTIONS": LIMITS, "TINSMITH_ISA": isa}
    timeout = 120 + COUNT / 200
    done = subprocess.run(line, capture_output=True, text=True, env=environment, timeout=timeout)
    told = [row for row in done.stderr.splitlines() if "failed to allocate" not in row]
    assert (done.returncode, told) == (0, []), done.stderr[-4000:]
    rows = [line.split(maxsplit=2) for line in done.stdout.splitlines()]
    found = {int(status): int(count) for status, count, _ in rows}
    assert sum(found.values()) == COUNT
    # Neither is everything refused, nor does anything get by for want of a check.
    assert found[0] > COUNT / 20
    reasons = {status for status, count in found.items() if count}
    assert reasons >= {0, 3, 5, 6, 7, 8, 9, 10, 11}, done.stdout
