"""JSON Schemas of dataclasses: of a report, and of a bundle's manifest for the documentation.

What a field means is read from its class's docstring, in Google's form.
"""

import re
import types
from dataclasses import Field, fields, is_dataclass
from enum import Enum
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

_PLAIN = {str: "string", int: "integer", float: "number", bool: "boolean", types.NoneType: "null"}
_FIELD = re.compile(r"^    (?: {4})?(\w+): (.+(?:\n {12}.+)*)$", re.MULTILINE)


def json_schema(kind: type, title: str, version: int) -> dict[str, Any]:
    """Describes a report as JSON Schema of draft 2020-12.

    Args:
        kind: the report's dataclass, as `record_schema` takes it. As JSON it begins with a
            `schema_version`.
        title: what the report is.
        version: its `schema_version`.
    """
    report = record_schema(kind)
    said = {"const": version, "description": "Grows when a field changes its meaning."}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": title,
        **report,
        "properties": {"schema_version": said, **report["properties"]},
        "required": ["schema_version", *report["required"]],
    }


def record_schema(kind: type) -> dict[str, Any]:
    """Describes a dataclass, and in `$defs` those that it is made of.

    Args:
        kind: its fields are dataclasses, numbers, text, and tuples and dicts of them; an
            `Annotated` field has a rule that says what it expects.
    """
    definitions: dict[str, Any] = {}
    _define(kind, definitions)
    whole = definitions.pop(kind.__name__)
    return {**whole, "$defs": dict(sorted(definitions.items()))}


def _define(kind: Any, definitions: dict[str, Any]) -> dict[str, str]:
    """Describes a dataclass once, and refers to it."""
    if kind.__name__ not in definitions:
        definitions[kind.__name__] = {}  # holds the place
        hints = get_type_hints(kind, include_extras=True)
        about, _, attributes = kind.__doc__.partition("Attributes:\n")
        said = {name: " ".join(text.split()) for name, text in _FIELD.findall(attributes)}
        definitions[kind.__name__] = {
            "type": "object",
            "description": " ".join(about.split()),
            "properties": {
                field.name: {
                    **_describe(hints[field.name], definitions),
                    **_default(field),
                    "description": _said(said.get(field.name, ""), hints[field.name]),
                }
                for field in fields(kind)
            },
            "required": [field.name for field in fields(kind)],
            "additionalProperties": False,
        }
    return {"$ref": f"#/$defs/{kind.__name__}"}


def _default(field: Field[Any]) -> dict[str, Any]:
    value = field.default
    return {"default": value} if isinstance(value, bool | int | float | str | None) else {}


def _said(said: str, hint: Any) -> str:
    """What the docstring says of a field, and what its rules expect."""
    if get_origin(hint) is not Annotated:
        return said
    rules = (rule.expected for rule in get_args(hint)[1:])
    return "; ".join(text for text in (said.rstrip("."), *rules) if text) + "."


def _describe(hint: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _describe(inner[0], definitions)
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
