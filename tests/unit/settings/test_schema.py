from __future__ import annotations

import json

from deploykit.settings.schema import json_schema


def test_the_schema_for_editors_wants_nothing_and_explains_the_fields():
    schema = json.loads(json.dumps(json_schema()))
    assert "required" not in schema
    assert schema["additionalProperties"] is False
    assert {"service", "database", "environments"} <= set(schema["properties"])
    definitions = schema["$defs"]
    assert definitions["EnvironmentSettings"]["properties"]["branch"]["description"].startswith(
        "The branch that may deploy"
    )
    assert definitions["Service"]["properties"]["smoke"]["items"]["anyOf"][0] == {"type": "string", "pattern": "^/"}
