"""Lets Schemathesis ask each operation with the token that it wants."""

import json
import os

import schemathesis

TOKENS = json.loads(os.environ["CONTRACT_TOKENS"])


@schemathesis.hook
def before_call(context, case, kwargs):
    wanted = [name for way in case.operation.definition.raw.get("security") or [] for name in way]
    if wanted:
        case.headers = case.headers or {}
        case.headers["Authorization"] = f"Bearer {TOKENS[wanted[0]]}"


@schemathesis.serializer("application/x-ndjson")
def ndjson(context, value):
    return value if isinstance(value, bytes) else str(value).encode()
