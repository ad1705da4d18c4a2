"""The JSON Schema of a report, made of its dataclasses.

What a field means is read from its class's docstring, in Google's form.
"""

import re
import types
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

_PLAIN = {str: "string", int: "integer", float: "number", bool: "boolean", types.NoneType: "null"}
_FIELD = re.compile(r"^    ( {4})?(\w+): (.+(?:\n {12}.+)*)$", re.MULTILINE)


def json_schema(kind: type, title: str, version: int) -> dict[str, Any]:
    """Describes a report as JSON Schema of draft 2020-12.

    Args:
        kind: the report's dataclass; its fields may be dataclasses, numbers, text, and tuples and
            dicts of them. As JSON it begins with a `schema_version`.
        title: what the report is.
        version: its `schema_version`.
    """
    definitions: dict[str, Any] = {}
    _define(kind, definitions)
    report = definitions.pop(kind.__name__)
    said = {"const": version, "description": "Grows when a field changes its meaning."}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": title,
        **report,
        "properties": {"schema_version": said, **report["properties"]},
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
    if origin is Literal:
        return {"enum": list(inner)}
    if origin in (types.UnionType, Union):
        return {"anyOf": [_describe(part, definitions) for part in inner]}
    if origin is dict:
        return {"type": "object", "additionalProperties": _describe(inner[1], definitions)}
    if origin is tuple and inner[1:] == (...,):
        return {"type": "array", "items": _describe(inner[0], definitions)}
    if origin is tuple:
        items = [_describe(part, definitions) for part in inner]
        return {"type": "array", "prefixItems": items, "minItems": len(items), "items": False}
    if issubclass(hint, Enum):
        return {"enum": [member.value for member in hint]}
    return {"type": _PLAIN[hint]}
