"""What an export gave, as JSON."""

import json
import math
from dataclasses import asdict
from typing import Any

from tinsmith_export.results import Exported, Witness
from tinsmith_export.verdict import advice


def as_json(exported: Exported) -> str:
    """Every number that was measured, whether the gates let the model through or not."""
    manifest, bundle, choice = exported.manifest, exported.bundle, exported.float_choice
    return json.dumps(
        {
            "bundle": None if bundle is None else str(bundle),
            "failures": exported.failures,
            "advice": advice(exported) or None,
            "verdicts": {name: asdict(found) for name, found in exported.verdicts.items()},
            "float_choice": None if choice is None else asdict(choice),
            "quality": asdict(manifest.quality),
            "variants": [asdict(variant) for variant in manifest.variants],
            "layers": [asdict(layer) for layer in manifest.layers],
            "attempts": [asdict(attempt) for attempt in exported.attempts],
            "checkpoints": [asdict(checkpoint) for checkpoint in exported.checkpoints],
            "kernels": {name: dict(found) for name, found in exported.kernels.items()},
            "sensitivity": [asdict(row) for row in exported.sensitivities],
            "witness": None if exported.witness is None else _witness(exported.witness),
            "warnings": exported.warnings,
            "cpu_notes": dict(exported.cpu_notes),
            "peak_memory_mb": round(exported.peak_memory_mb),
        }
    )


def _witness(witness: Witness) -> dict[str, Any]:
    """As fields; JSON has no NaN, which a wrong file may give: it is `null`."""
    differences = witness.differences.items()
    finite = {name: value if math.isfinite(value) else None for name, value in differences}
    return {**asdict(witness), "differences": finite}
