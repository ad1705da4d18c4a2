"""The JSON Schema of a report, made of its dataclasses.

To print it: `python -m tinsmith_bench.report_data.schema`.

`docs/report.schema.json` holds what this prints; a test says so.
"""

import json
import re
import types
from dataclasses import fields, is_dataclass
from typing import Any, Union, get_args, get_origin, get_type_hints

from tinsmith_bench.report_data.report import SCHEMA_VERSION, Report

_PLAIN = {str: "string", int: "integer", float: "number", bool: "boolean", types.NoneType: "null"}
_FIELD = re.compile(r"^    ( {4})?(\w+): (.+(?:\n {12}.+)*)$", re.MULTILINE)


def report_schema() -> dict[str, Any]:
    """Describes what `Report.to_json` writes, as JSON Schema of draft 2020-12."""
    definitions: dict[str, Any] = {}
    _define(Report, definitions)
    report = definitions.pop("Report")
    version = {"const": SCHEMA_VERSION, "description": "Grows when a field changes its meaning."}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A report of tinsmith bench",
        **report,
        "properties": {"schema_version": version, **report["properties"]},
        "required": ["schema_version", *report["required"]],
        "$defs": dict(sorted(definitions.items())),
    }


def _define(kind: Any, definitions: dict[str, Any]) -> dict[str, str]:
    """Describes a dataclass once, and refers to it."""
    if kind.__name__ not in definitions:
        definitions[kind.__name__] = {}  # holds the place
        hints, said = get_type_hints(kind), _descriptions(kind)
        definitions[kind.__name__] = {
            "type": "object",
            "description": kind.__doc__.partition("\n")[0],
            "properties": {
                field.name: {
                    **_describe(hints[field.name], definitions),
                    "description": said[field.name],
                }
                for field in fields(kind)
            },
            "required": [field.name for field in fields(kind)],
            "additionalProperties": False,
        }
    return {"$ref": f"#/$defs/{kind.__name__}"}


def _descriptions(kind: Any) -> dict[str, str]:
    """What a Google docstring says of each attribute."""
    _, _, section = kind.__doc__.partition("Attributes:\n")
    return {name: " ".join(text.split()) for _, name, text in _FIELD.findall(section)}


def _describe(hint: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    origin, inner = get_origin(hint), get_args(hint)
    if is_dataclass(hint):
        return _define(hint, definitions)
    if origin in (types.UnionType, Union):
        return {"anyOf": [_describe(part, definitions) for part in inner]}
    if origin is dict:
        return {"type": "object", "additionalProperties": _describe(inner[1], definitions)}
    if origin is tuple and inner[1:] == (...,):
        return {"type": "array", "items": _describe(inner[0], definitions)}
    if origin is tuple:
        items = [_describe(part, definitions) for part in inner]
        return {"type": "array", "prefixItems": items, "minItems": len(items), "items": False}
    return {"type": _PLAIN[hint]}


if __name__ == "__main__":
    print(json.dumps(report_schema(), indent=1, ensure_ascii=False))
