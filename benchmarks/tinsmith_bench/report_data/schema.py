"""The JSON Schema of a report, made of its dataclasses.

To print it: `python -m tinsmith_bench.report_data.schema`.

`docs/report.schema.json` holds what this prints; a test says so.
"""

import json
from typing import Any

from tinsmith_bench.report_data.report import SCHEMA_VERSION, Report
from tinsmith_report.schema import json_schema


def report_schema() -> dict[str, Any]:
    """Describes what `Report.to_json` writes, as JSON Schema of draft 2020-12."""
    return json_schema(Report, "A report of tinsmith bench", SCHEMA_VERSION)


if __name__ == "__main__":
    print(json.dumps(report_schema(), indent=1, ensure_ascii=False))
