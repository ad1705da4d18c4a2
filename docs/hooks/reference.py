"""Fills the pages of `docs/reference`: MkDocs calls what is here.

A line `<!-- generated: NAME -->` becomes what the parsers, dataclasses, schemas and docstrings say.
"""

import json
import re
from collections.abc import Callable
from types import ModuleType

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import Files
from mkdocs.structure.pages import Page

import tinsmith
import tinsmith_runtime
from command_line import command_line
from repository import DOCS
from schemas import schema_tables, section_tables
from tinsmith.schema import settings_schema
from tinsmith_report.schema import record_schema
from tinsmith_runtime.bundle.schema import Manifest

# mkdocstrings would take the module of the same name.
_FUNCTIONS = {"selftest": "tinsmith_runtime.selftest.selftest"}


def public_names(package: ModuleType) -> str:
    """Names what a package has in its `__all__`, each in a line by which mkdocstrings reads it."""
    kinds: dict[str, list[str]] = {"Functions": [], "Classes": [], "Errors": []}
    for name in package.__all__:
        kind = "Functions" if name[0].islower() else "Classes"
        path = _FUNCTIONS.get(name, f"{package.__name__}.{name}")
        kinds["Errors" if name.endswith("Error") else kind].append(f"::: {path}\n")
    return "\n".join("\n".join([f"## {kind}\n", *lines]) for kind, lines in kinds.items())


PARTS: dict[str, Callable[[], str]] = {
    "command line": command_line,
    "recipe file": lambda: section_tables(settings_schema()),
    "manifest": lambda: schema_tables(record_schema(Manifest)),
    "report": lambda: schema_tables(json.loads((DOCS / "report.schema.json").read_text())),
    "search report": lambda: schema_tables(json.loads((DOCS / "search.schema.json").read_text())),
    "tinsmith": lambda: public_names(tinsmith),
    "tinsmith_runtime": lambda: public_names(tinsmith_runtime),
}


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Puts in what is generated."""
    return re.sub(
        r"^<!-- generated: (.+) -->$", lambda mark: PARTS[mark[1]](), markdown, flags=re.MULTILINE
    )
