"""Plans that no export wrote, in libtinsmith, with sanitizers. As a script it runs libFuzzer:

    python tests/plan_fuzzer.py SECONDS

It needs clang and its run-time libraries (Debian: `clang`, `libclang-rt-14-dev` or newer). It
begins with a plan of every kind of operator, and goes on with what reaches code that none did
before.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from native_plans import plans_of_every_kind

from tinsmith_export.targets.native.plan import write_plan

ROOT = Path(__file__).parents[1]
NATIVE = ROOT / "runtime/native"
AVX2 = Path("/proc/cpuinfo").exists() and "avx2" in Path("/proc/cpuinfo").read_text().split()
# A plan that asks for more gets none.
LIMITS = "allocator_may_return_null=1:max_allocation_size_mb=64:detect_leaks=1"


def compile_fuzzer(compiler: str, program: Path, *options: str) -> None:
    """Compiles the library and `native/fuzz.c`, with two sanitizers."""
    line = [
        *(compiler, "-std=c11", "-O1", "-g", "-ffp-contract=off", '-DTIN_VERSION="fuzz"'),
        "-fsanitize=address,undefined,float-divide-by-zero,float-cast-overflow",
        "-fno-sanitize-recover=all",
        *options,
        *(("-mavx2", "-DTIN_WITH_AVX2") if AVX2 else ()),
        f"-I{NATIVE / 'include'}",
        *map(str, sorted(NATIVE.glob("src/**/*.c"))),
        str(Path(__file__).parent / "native/fuzz.c"),
        *("-lm", "-lpthread", "-o", str(program)),
    ]
    done = subprocess.run(line, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def write_plans(folder: Path) -> list[Path]:
    """Writes a plan of every kind of operator; gives the paths."""
    paths = []
    for kind, plan in plans_of_every_kind().items():
        paths.append(folder / kind)
        paths[-1].write_bytes(write_plan(plan))
    return paths


def main(seconds: int) -> int:
    """Runs libFuzzer; gives its exit status, 0 if it found nothing."""
    compiler = shutil.which("clang")
    if compiler is None:
        sys.exit("expected clang, which brings libFuzzer; Debian has it in `clang`")
    with tempfile.TemporaryDirectory() as folder:
        program, corpus = Path(folder, "fuzz"), Path(folder, "corpus")
        compile_fuzzer(compiler, program, "-fsanitize=fuzzer", "-DLIBFUZZER")
        corpus.mkdir()
        write_plans(corpus)
        limits = ("-rss_limit_mb=4000", "-malloc_limit_mb=8000", "-timeout=20", "-max_len=65536")
        line = [str(program), f"-max_total_time={seconds}", *limits, str(corpus)]
        return subprocess.run(line, env={**os.environ, "ASAN_OPTIONS": LIMITS}).returncode


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
