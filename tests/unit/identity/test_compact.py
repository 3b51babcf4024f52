"""The compact serialisation and the JSON in it, read strictly: the bounds, and one text for one meaning."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.identity import compact, strict_json
from gateway.identity.compact import LARGEST_HEADER, LARGEST_SIGNATURE, base64url_decode
from gateway.identity.strict_json import DEEPEST, LARGEST_INTEGER
from tests.sim.provider import base64url


def token(header: bytes = b'{"alg":"x"}', payload: bytes = b"{}", signature: bytes = b"s") -> bytes:
    return ".".join(base64url(part) for part in (header, payload, signature)).encode()


def test_a_token_is_taken_apart_without_being_believed() -> None:
    jws = compact.parse(token(payload=b'{"a": 1}', signature=b"any"), largest=1000)
    assert (jws.header, jws.payload, jws.signature) == ({"alg": "x"}, b'{"a": 1}', b"any")
    assert jws.signing_input == token(payload=b'{"a": 1}').rpartition(b".")[0]
    assert jws.claims() == {"a": 1}


def test_a_payload_may_be_anything_until_its_claims_are_asked_for() -> None:
    jws = compact.parse(token(payload=b"\xff"), largest=1000)
    with pytest.raises(ValueError, match="the payload must be UTF-8"):
        jws.claims()


def test_a_token_has_as_many_bytes_as_allowed_and_no_more() -> None:
    whole = token()
    assert compact.parse(whole, largest=len(whole)).header
    with pytest.raises(ValueError, match=f"has {len(whole)} bytes, allowed are {len(whole) - 1}"):
        compact.parse(whole, largest=len(whole) - 1)


def header_of(size: int) -> bytes:
    """A header whose encoded text has `size` characters."""
    return b'{"a":"' + b"a" * (size * 3 // 4 - 8) + b'"}'


def test_a_header_and_a_signature_have_bounds_of_their_own() -> None:
    largest = token(header_of(LARGEST_HEADER), signature=bytes(LARGEST_SIGNATURE * 3 // 4))
    assert [len(part) for part in largest.split(b".")] == [LARGEST_HEADER, len("e30"), LARGEST_SIGNATURE]
    assert compact.parse(largest, largest=1 << 16).header
    for broken in (
        token(header_of(LARGEST_HEADER) + b" "),
        token(signature=bytes(LARGEST_SIGNATURE * 3 // 4 + 1)),
    ):
        with pytest.raises(ValueError, match="longer than any honest one"):
            compact.parse(broken, largest=1 << 16)


@pytest.mark.parametrize("parts", [b"", b"a", b"a.b", b"a.b.c.d", b"a.b.c.d.e"])
def test_a_token_has_three_parts(parts: bytes) -> None:
    with pytest.raises(ValueError, match="three parts"):
        compact.parse(parts, largest=1000)


@pytest.mark.parametrize("text", ["AB", "AAB", "A", "AA=", "AA==", "A+A/", "AA\n", " AA", "AA.", "ÄÄ", "AAAAA"])
def test_a_text_that_is_not_the_one_of_its_bytes_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="base64url"):
        base64url_decode(text)


@pytest.mark.parametrize(("text", "data"), [("", b""), ("AA", b"\0"), ("AAA", b"\0\0"), ("-_-_", b"\xfb\xff\xbf")])
def test_the_one_text_of_some_bytes_is_read(text: str, data: bytes) -> None:
    assert base64url_decode(text) == base64url_decode(text.encode()) == data


def nested(depth: int) -> bytes:
    """An object with lists in it, `depth` levels of containers."""
    return b'{"a": ' + b"[" * (depth - 1) + b"]" * (depth - 1) + b"}"


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (b"{}", {}),
        (b' {"a" : [1, -2.5, true, false, null, "x"]} \n', {"a": [1, -2.5, True, False, None, "x"]}),
        (json.dumps({"a": LARGEST_INTEGER, "b": -LARGEST_INTEGER}).encode(), {"a": 2**53 - 1, "b": 1 - 2**53}),
        (b'{"a": 1e308, "b": 5e-324, "c": 1e-999}', {"a": 1e308, "b": 5e-324, "c": 0.0}),
        ('{"ä": "☃𐍈"}'.encode(), {"ä": "☃𐍈"}),
        (rb'{"a": "\ud800\udf48"}', {"a": "𐍈"}),
        (b'{"a": {"b": 1}, "b": 1}', {"a": {"b": 1}, "b": 1}),
    ],
)
def test_plain_json_is_read(data: bytes, value: dict[str, Any]) -> None:
    assert strict_json.loads_object(data) == value


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (b"", "is not JSON"),
        (b"{}{}", "is not JSON"),
        (b"{'a': 1}", "is not JSON"),
        (b'{"a": 1,}', "is not JSON"),
        (b'{"a": 01}', "is not JSON"),
        (b'{"a": "\n"}', "is not JSON"),
        (b'{"a": Infinity}', "Infinity is not JSON"),
        (b'{"a": -Infinity}', "-Infinity is not JSON"),
        (b'{"a": NaN}', "NaN is not JSON"),
        (b"1", "must be a JSON object"),
        (b"[{}]", "must be a JSON object"),
        (b'{"a": 1, "\\u0061": 1}', "has a member twice"),
        (b'{"x": [{"a": 1, "a": 1}]}', "has a member twice"),
        (b'{"a": 9007199254740992}', "has an integer beyond"),
        (b'{"a": -9007199254740992}', "has an integer beyond"),
        (b'{"a": 1' + b"0" * 5000 + b"}", "has an integer beyond"),
        (b'{"a": -1e309}', "beyond all bounds"),
        (b'{"a\\u0000": 1}', "NUL"),
        (b'{"a": ["\\u0000"]}', "NUL"),
        (rb'{"\udfff": 1}', "lone surrogate"),
        (rb'{"a": {"b": "x\ud800y"}}', "lone surrogate"),
        (rb'{"a": "\udf48\ud800"}', "lone surrogate"),
        (b'{"a": "\xed\xa0\x80"}', "UTF-8"),
        (b"\xef\xbb\xbf{}", "is not JSON"),
    ],
)
def test_what_two_readers_could_read_in_two_ways_is_refused(data: bytes, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        strict_json.loads_object(data)


def test_json_may_be_32_levels_deep() -> None:
    assert strict_json.loads_object(nested(DEEPEST))
    for depth in (DEEPEST + 1, 100, 1000, 100_000):
        with pytest.raises(ValueError, match="nested deeper than 32 levels"):
            strict_json.loads_object(nested(depth))
