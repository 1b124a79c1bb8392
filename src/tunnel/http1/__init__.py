"""HTTP/1.1 heads and framing without I/O: strict readers on httptools, and encoders.

    reader = RequestReader()
    reader.feed(data)
    if (head := reader.next_head()) is not None:
        pieces = reader.read_body()   # again after each feed(), until reader.body_done

A BadMessage says which status to answer with; the connection is closed after it.
"""

from __future__ import annotations

from tunnel.http1.answers import Answers
from tunnel.http1.bodies import Piece
from tunnel.http1.encode import LAST_CHUNK, encode_chunk, encode_request, encode_response
from tunnel.http1.errors import BadMessage, Fields, MessageError, Truncated
from tunnel.http1.framing import Framing, list_members
from tunnel.http1.heads import RequestHead, ResponseHead
from tunnel.http1.hosts import same_authority, split_host, valid_host
from tunnel.http1.limits import DEFAULT_LIMITS, Limits, Underscores
from tunnel.http1.names import Special
from tunnel.http1.reader import RequestReader, ResponseReader

__all__ = [
    "DEFAULT_LIMITS",
    "LAST_CHUNK",
    "Answers",
    "BadMessage",
    "Fields",
    "Framing",
    "Limits",
    "MessageError",
    "Piece",
    "RequestHead",
    "RequestReader",
    "ResponseHead",
    "ResponseReader",
    "Special",
    "Truncated",
    "Underscores",
    "encode_chunk",
    "encode_request",
    "encode_response",
    "list_members",
    "same_authority",
    "split_host",
    "valid_host",
]
