"""Calls with a request id: done once, however often they are sent."""

from __future__ import annotations

import re

from hubd.admin.errors import Faults

_REQUEST_ID = re.compile(r"[\x21-\x7e]{0,100}")


def check_request_id(given: str, faults: Faults) -> str:
    """A request id as given; "" for none."""
    if not _REQUEST_ID.fullmatch(given):
        faults.add("request_id", "must be at most 100 printable ASCII characters without spaces")
    return given
