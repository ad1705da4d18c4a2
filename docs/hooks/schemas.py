"""A JSON Schema as tables: one for each object, a row for each of its fields."""

import json
from collections.abc import Iterator
from typing import Any

from tables import code, prose, table

Schema = dict[str, Any]


def schema_tables(schema: Schema) -> str:
    """Gives the tables of the objects that a schema's `$defs` define, and of the whole first."""
    definitions = schema.get("$defs", {})
    parts = [_fields(schema)]
    for name, entry in definitions.items():
        parts.append(f"## {name}\n\n{prose(entry.get('description', ''))}\n\n{_fields(entry)}")
    return "\n".join(parts)


def section_tables(schema: Schema) -> str:
    """Gives a table for each of the objects that a schema's own fields are."""
    return "\n".join(
        f"## `[{name}]`\n\n{_sentence(entry)}{_fields(entry)}"
        for name, entry in schema["properties"].items()
    )


def _sentence(entry: Schema) -> str:
    said = entry.get("description")
    return f"`tinsmith {entry['title']}`: {prose(said)}.\n\n" if said and "title" in entry else ""


def _fields(entry: Schema) -> str:
    rows = [
        (code(name), type_of(field), " ".join(_meaning(field)))
        for name, field in entry["properties"].items()
    ]
    return table(("field", "type", "meaning"), rows)


def _meaning(field: Schema) -> Iterator[str]:
    if said := field.get("description"):
        yield prose(said)
    if "default" in field and "default" not in field.get("description", ""):
        yield f"Default: {code(json.dumps(field['default'], ensure_ascii=False))}."


def type_of(field: Schema) -> str:
    """Says in words what a field holds."""
    if "$ref" in field:
        name = field["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "enum" in field:
        return ", ".join(code(json.dumps(value)) for value in field["enum"])
    if "const" in field:
        return code(json.dumps(field["const"]))
    if "anyOf" in field:
        return " or ".join(map(type_of, field["anyOf"]))
    if field.get("type") == "array":
        return _list(field)
    if "additionalProperties" in field and isinstance(field["additionalProperties"], dict):
        return f"object of {type_of(field['additionalProperties'])}"
    kinds = field["type"] if isinstance(field["type"], list) else [field["type"]]
    return " or ".join(kinds)


def _list(field: Schema) -> str:
    if "prefixItems" in field:
        return "list: " + ", ".join(map(type_of, field["prefixItems"]))
    least, most = field.get("minItems", 0), field.get("maxItems")
    count = f"{least} " if most == least else "1 or more " if least else ""
    return f"list of {count}{type_of(field['items'])}"
