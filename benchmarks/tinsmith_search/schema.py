"""The JSON Schema of a search's report, made of its dataclasses.

To print it: `python -m tinsmith_search.schema`.

`docs/search.schema.json` holds what this prints; a test says so.
"""

import json
from typing import Any

from tinsmith_report.schema import json_schema
from tinsmith_search.report import SCHEMA_VERSION, SearchReport


def search_schema() -> dict[str, Any]:
    """Describes what `SearchReport.to_json` writes, as JSON Schema of draft 2020-12."""
    return json_schema(SearchReport, "A report of tinsmith search", SCHEMA_VERSION)


if __name__ == "__main__":
    print(json.dumps(search_schema(), indent=1, ensure_ascii=False))
