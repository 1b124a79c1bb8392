"""The date of the hub's own answers."""

from __future__ import annotations

import time
from email.utils import parsedate_to_datetime

from hubd.dates import date_line, line_at


def test_the_form_every_recipient_reads():
    assert line_at(784111777) == b"Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"


def test_it_is_of_now():
    before = int(time.time())
    line = date_line()
    value = parsedate_to_datetime(line.decode().removeprefix("Date: ").rstrip())
    assert before <= value.timestamp() <= time.time()


async def test_every_answer_of_the_hub_has_one(start):
    bench = await start()
    for request, status in (
        (b"GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n", 200),
        (b"OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n", 204),
        (b"GET /nothing HTTP/1.1\r\nHost: h\r\n\r\n", 404),
        (b"GET /nothing HTTP/1.0\r\n\r\n", 404),
        (b"GET /api/v1/hubs/a HTTP/1.1\r\nHost: h\r\n\r\n", 426),
        (b"BAD\r\n\r\n", 400),
    ):
        visitor = await bench.visitor()
        await visitor.send(request)
        answer = await visitor.head()
        assert answer.status == status
        assert len(answer.fields["date"]) == 1, answer
