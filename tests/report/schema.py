"""The JSON Schema of report.json, `report/report.schema.json`."""

import json
from importlib.resources import files

from record.structs import Json

SCHEMA: dict[str, Json] = json.loads(
    files("report").joinpath("report.schema.json").read_text()
)
