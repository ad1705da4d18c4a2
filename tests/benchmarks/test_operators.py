"""Where the time goes: profiles of real engines, and the table that is made of them."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from narrow import some

from tinsmith_bench.rendering.tables import MAX_NAME, operators_table
from tinsmith_bench.report_data import Operator, Profile
from tinsmith_bench.target import bundle_targets
from tinsmith_bench.timing.operators import profile
from tinsmith_report.tables import TextTable
from tinsmith_runtime import BackendError, read_bundle

TINY = Path(__file__).parents[1] / "data" / "tiny.tin"


def test_every_variant_is_profiled_on_its_engine() -> None:
    bundle, stages = read_bundle(TINY), []
    targets = list(bundle_targets("tiny", TINY, bundle, ""))
    inputs = bundle.golden().inputs
    profiles = profile(targets, inputs, 1, 10, 0, lambda *stage: stages.append(stage))
    assert [one.variant for one in profiles] == [one.id for one in targets]
    assert stages[-1] == ("profile", 4, 4)
    for one in profiles:
        integer = "int8" in one.variant
        assert {each.arithmetic for each in one.operators} == {"integer" if integer else "float"}
        if "onnx" in one.variant:
            assert sum(some(each.share) for each in one.operators) == pytest.approx(1)
        else:
            assert {each.share for each in one.operators} == {None}


def test_a_bundle_for_backends_that_are_not_known() -> None:
    bundle = read_bundle(TINY)
    variants = tuple(replace(variant, format="circle") for variant in bundle.manifest.variants)
    foreign = replace(bundle, manifest=replace(bundle.manifest, variants=variants))
    with pytest.raises(BackendError, match=r"^the bundle holds circle: no backend that is known"):
        list(bundle_targets("tiny", TINY, foreign, ""))


def _table(*operators: Operator) -> TextTable:
    variant = SimpleNamespace(id="a", name="int8 on Engine", engine_version="Engine 1.0")
    report: Any = SimpleNamespace(variants=(variant,))
    return operators_table(Profile("a", 200, operators), report)


def test_the_table_says_how_much_is_integer() -> None:
    table = _table(
        Operator("conv", "QLinearConv", "integer", 30.0, 0.75),
        Operator("x" * 100, "QuantizeLinear", "mixed", 10.0, 0.25),
    )
    assert table.title == "Where the time goes: int8 on Engine"
    assert table.rows[0] == ("conv", "QLinearConv", "integer", "30.0", "75.0")
    assert len(table.rows[1][0]) == MAX_NAME
    assert table.note.startswith("75 % integer, 25 % mixed. Mean of 200 calls")


def test_an_engine_that_tells_no_times_or_nothing_is_said_to() -> None:
    table = _table(Operator("conv", "CONV_2D", "integer", None, None))
    assert table.rows == (("conv", "CONV_2D", "integer", "-", "-"),)
    assert table.note == "The Python face of Engine 1.0 names its operators, but times none."
    assert _table().note == "Engine 1.0 does not tell which operators it runs."
