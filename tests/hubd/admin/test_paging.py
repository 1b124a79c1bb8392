"""Pages of lists."""

from __future__ import annotations

import pytest

from hubd.admin.errors import ApiError
from hubd.admin.paging import paginate
from tunnelpb.hub.v1.session_pb2 import ListSessionsRequest, SessionFilter

ROWS = [f"{number:04}" for number in range(1200)]


def page(rows, mark=0, **fields):
    return paginate(ListSessionsRequest(**fields), rows, str, mark=mark)


def test_sizes():
    assert len(page(ROWS).rows) == 50
    assert len(page(ROWS, page_size=7).rows) == 7
    assert len(page(ROWS, page_size=5000).rows) == 1000
    with pytest.raises(ApiError, match="negative"):
        page(ROWS, page_size=-1)


def test_pages_join_up_while_rows_come_and_go():
    first = page(ROWS, page_size=1000, mark=7)
    left = [row for row in ROWS if row not in ("0003", "0999", "1001")] + ["2000"]
    second = page(left, page_size=1000, mark=9, page_token=first.next_token)
    assert second.rows == [row for row in left if row > "0999"] and second.next_token == ""
    assert (first.total, second.total) == (1200, 1198)
    assert second.mark == 7, "what was marked with the first page stays"


def test_the_last_page_has_no_token():
    assert page(ROWS[:50]).next_token == ""
    assert page([]).rows == []


@pytest.mark.parametrize("token", ["x", "!!", "bm9wZQ", "WzEsMiwzXQ"])
def test_what_is_no_token(token):
    with pytest.raises(ApiError, match="page_token"):
        page(ROWS, page_token=token)


def test_a_token_belongs_to_its_filter():
    token = page(ROWS).next_token
    with pytest.raises(ApiError, match="another filter"):
        page(ROWS, page_token=token, filter=SessionFilter(agent="agents/a"))
