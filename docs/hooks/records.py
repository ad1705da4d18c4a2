"""The manifest's frozen dataclasses as a JSON Schema, with the rules of their fields in words."""

import re
import types
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

from schemas import Schema
from tinsmith_runtime.bundle.schema import Manifest

_PLAIN = {str: "string", int: "integer", float: "number", bool: "boolean", types.NoneType: "null"}
_FIELD = re.compile(r"^ {8}(\w+): (.+(?:\n {12}.+)*)$", re.MULTILINE)


def manifest_schema() -> Schema:
    """Describes `manifest.json`: `Manifest` itself, and in `$defs` what it is made of."""
    definitions: dict[str, Schema] = {}
    _define(Manifest, definitions)
    return {**definitions.pop("Manifest"), "$defs": definitions}


def _define(kind: Any, definitions: dict[str, Schema]) -> Schema:
    if kind.__name__ not in definitions:
        definitions[kind.__name__] = {}  # holds the place
        about, _, attributes = (kind.__doc__ or "").partition("Attributes:\n")
        said = {name: " ".join(text.split()) for name, text in _FIELD.findall(attributes)}
        properties = {}
        for name, hint in get_type_hints(kind, include_extras=True).items():
            field = {**_describe(hint, definitions), **_default(kind, name)}
            texts = [text for text in (said.get(name), field.pop("rule", None)) if text]
            properties[name] = {**field, "description": ". ".join(_capital(t) for t in texts)}
        definitions[kind.__name__] = {"description": about.strip(), "properties": properties}
    return {"$ref": f"#/$defs/{kind.__name__}"}


def _capital(text: str) -> str:
    text = text.rstrip(".")
    return text if text.startswith("`") else text[:1].upper() + text[1:]


def _default(kind: Any, name: str) -> Schema:
    value = vars(kind).get(name, ...)
    return {"default": value} if isinstance(value, bool | int | float | str | None) else {}


def _describe(hint: Any, definitions: dict[str, Schema]) -> Schema:
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return {**_describe(inner[0], definitions), "rule": inner[1].expected}
    if origin in (types.UnionType, Union):
        return {"anyOf": [_describe(part, definitions) for part in inner]}
    if origin is dict:
        return {"type": "object", "additionalProperties": _describe(inner[1], definitions)}
    if origin is tuple and inner[1:] == (...,):
        return {"type": "array", "items": _describe(inner[0], definitions)}
    if origin is tuple:
        return {"type": "array", "prefixItems": [_describe(part, definitions) for part in inner]}
    return {"type": _PLAIN[hint]} if hint in _PLAIN else _define(hint, definitions)
