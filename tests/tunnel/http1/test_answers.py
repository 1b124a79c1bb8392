from __future__ import annotations

import pytest

from tunnel.http1 import Answers, ResponseReader
from tunnel.http1.answers import HEADS, LARGEST

HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"


def read(answers: Answers, data: bytes, method: bytes = b"GET") -> object:
    reader = ResponseReader(answers=answers)
    reader.expect(method)
    reader.feed(data)
    return reader.next_head()


def test_a_whole_response_with_a_head_met_before_is_known_again() -> None:
    answers = Answers()
    assert answers.whole(HEAD + b"ok") is None
    head = read(answers, HEAD + b"ok")
    assert answers.whole(HEAD + b"no") is head
    assert read(answers, HEAD) is head, "all readers share what they met"


@pytest.mark.parametrize(
    "data", [HEAD, HEAD + b"o", HEAD + b"ok!", HEAD + HEAD, HEAD[:-1], b"", HEAD[:9] + b"1" + HEAD[10:] + b"ok"]
)
def test_all_else_must_be_read(data: bytes) -> None:
    answers = Answers()
    read(answers, HEAD)
    assert answers.whole(data) is None


@pytest.mark.parametrize(
    ("head", "whole"),
    [
        (b"HTTP/1.1 204 No Content\r\n\r\n", True),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", True),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", False),
        (b"HTTP/1.1 200 OK\r\n\r\n", False),
    ],
)
def test_only_heads_that_tell_where_the_response_ends(head: bytes, whole: bool) -> None:
    answers = Answers()
    known = read(answers, head)
    assert answers.whole(head) is (known if whole else None)
    assert answers.whole(head + b"extra") is None


def test_a_304_has_no_body_whatever_its_length_says() -> None:
    answers = Answers()
    head = b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n"
    read(answers, head)
    assert answers.whole(head + b"12345") is None


def test_answers_to_head_and_interim_ones_are_not_kept() -> None:
    answers = Answers()
    read(answers, HEAD, b"HEAD")
    assert answers.whole(HEAD + b"ok") is None
    early = b"HTTP/1.1 103 Early Hints\r\n\r\n"
    read(answers, early)
    assert answers.whole(early) is None


def test_large_heads_are_not_kept_and_the_oldest_is_forgotten() -> None:
    answers = Answers()
    large = b"HTTP/1.1 204 No Content\r\nA: %b\r\n\r\n" % (b"x" * LARGEST)
    read(answers, large)
    assert answers.recall(large) is None
    heads = [b"HTTP/1.1 204 No Content\r\nA: %d\r\n\r\n" % number for number in range(HEADS + 1)]
    for head in heads:
        read(answers, head)
    assert answers.recall(heads[0]) is None
    assert all(answers.recall(head) is not None for head in heads[1:])
