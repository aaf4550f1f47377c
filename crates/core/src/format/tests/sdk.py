"""Reads HTTP messages with the SDK of CloudEvents, one JSON object a line, and writes the events that it makes of them."""

import json
import sys

from cloudevents.core.bindings.http import HTTPMessage, from_http_event
from cloudevents.core.formats.json import JSONFormat

# All at once, so that whoever writes them need not read meanwhile.
for line in sys.stdin.readlines():
    message = json.loads(line)
    event = from_http_event(HTTPMessage(message["headers"], message["body"].encode()), JSONFormat())
    attributes = event.get_attributes()
    attributes["time"] = attributes["time"].isoformat()
    print(json.dumps({"attributes": attributes, "data": event.get_data()}))
