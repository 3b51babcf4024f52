"""The JSON Schema of policy files, for editors. What it accepts may still be refused: names are resolved by `load.py` alone."""

from __future__ import annotations

from typing import Any

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import core_schema

from gateway.policy.document import Document

DIALECT = "https://json-schema.org/draft/2020-12/schema"


class _WithoutNull(GenerateJsonSchema):
    """A key without a value is refused (`source.py`), so no schema may offer null."""

    def nullable_schema(self, schema: core_schema.NullableSchema) -> dict[str, Any]:
        return self.generate_inner(schema["schema"])

    def dict_schema(self, schema: core_schema.DictSchema) -> dict[str, Any]:
        """Names are refused too, not only what they stand for."""
        values = self.generate_inner(schema["values_schema"])
        return {
            "type": "object",
            "propertyNames": self.generate_inner(schema["keys_schema"]),
            "additionalProperties": values,
        }

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> dict[str, Any]:
        described = super().default_schema(schema)
        if described.get("default", "") is None:
            del described["default"]
        return described


def json_schema() -> dict[str, Any]:
    """Make the schema. The same code gives the same schema, key for key."""
    made = TypeAdapter(Document).json_schema(schema_generator=_WithoutNull)
    return {"$schema": DIALECT, **made, "title": "Sallyport policy", "description": "A policy, or a part of it."}
