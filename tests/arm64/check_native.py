"""Runs on the board: computes plans on libtinsmith, and compares the codes with those expected.

Usage: `python check_native.py VECTORS BUNDLE`, where `VECTORS` is what `plans.save` writes. Prints
one JSON object: the machine, how many codes were compared and how many differ, for each plan and
for the bundle's golden vectors, and the kernels that computed products.
"""

import json
import platform
import sys

import numpy as np

from tinsmith_native.backend import NativeBackend
from tinsmith_runtime import load, read_bundle
from tinsmith_runtime.batch import joined, parts


def main(vectors: str, bundle: str) -> None:
    with np.load(vectors) as arrays:
        found = dict(arrays)
    codes, unequal, kernels = 0, {}, set()
    for name in sorted({key.partition("/")[0] for key in found}):
        keys = sorted(key for key in found if key.startswith(f"{name}/"))
        batch = joined([found[key] for key in keys if "/input" in key])
        wanted = [found[key] for key in keys if "/output" in key]
        backend = NativeBackend(found[f"{name}/plan"].tobytes(), 1)
        outputs = parts(backend.run(batch))
        unequal[name] = sum(int((a != b).sum()) for a, b in zip(outputs, wanted, strict=True))
        codes += sum(output.size for output in outputs)
        kernels |= {one.kind for one in backend.profile(batch) if one.kind.startswith("product")}
    golden = read_bundle(bundle).golden()
    with load(bundle, "native") as model:
        outputs = parts(model.predict_raw(golden.inputs))
        unequal["golden"] = int((outputs[0] != golden.outputs_int8).sum())
        codes += outputs[0].size
    print(
        json.dumps(
            {
                "machine": platform.machine(),
                "codes": codes,
                "unequal": {name: count for name, count in unequal.items() if count},
                "kernels": sorted(kernels),
            }
        )
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
