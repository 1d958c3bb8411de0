"""Which requests are let through by where they come from, as one table."""

from __future__ import annotations

from dataclasses import replace

import pytest

from promptmill.access.browser import Asked, Let, Policy, judge
from promptmill.domain.access.authority import Authority, parse_authority
from promptmill.domain.errors import CrossOrigin, HostNotAllowed, MalformedHost

OPEN = Policy()
KEYS = Policy(needs_key=True)
NAMED = Policy(allowed_hosts=(Authority(name="mill.example"), Authority(name="box", port=8000)))
NAMED_WITH_KEYS = replace(NAMED, needs_key=True)
CORS = Policy(cors_origins=frozenset({"https://app.example", "http://localhost:3000"}))
ANY = Policy(cors_origins=frozenset({"*"}))
ANY_WITH_KEYS = replace(ANY, needs_key=True)

LOCAL = "127.0.0.1:8000"
PAGE = {"fetch_mode": "navigate", "fetch_dest": "document", "is_page": True}
OF = "https://app.example"

# What is asked, the policy, and what comes of it.
TABLE = [
    # curl, Python, the command line: neither Origin nor Sec-Fetch-Site
    ({}, OPEN, Let),
    ({"method": "POST"}, OPEN, Let),
    ({"method": "DELETE"}, OPEN, Let),
    ({"method": "POST", "hosts": ["localhost:8000"]}, OPEN, Let),
    ({"hosts": ["127.0.0.1"]}, OPEN, Let),
    ({"hosts": ["[::1]:8000"]}, OPEN, Let),
    ({"hosts": ["[::1]"]}, OPEN, Let),
    ({"hosts": ["192.168.1.20:8000"]}, OPEN, Let),
    ({"hosts": ["[fe80::1%eth0]:8000"]}, OPEN, Let),
    ({"hosts": ["0.0.0.0:8000"]}, OPEN, Let),
    ({"hosts": ["LOCALHOST:8000"]}, OPEN, Let),
    ({"hosts": ["localhost."]}, OPEN, Let),
    ({"hosts": ["mill.localhost:8000"]}, OPEN, Let),
    ({}, KEYS, Let),
    # 1: the Host header
    ({"hosts": []}, OPEN, MalformedHost),
    ({"hosts": [""]}, OPEN, MalformedHost),
    ({"hosts": [LOCAL, LOCAL]}, OPEN, MalformedHost),
    ({"hosts": [LOCAL, "evil.example"]}, OPEN, MalformedHost),
    ({"hosts": ["user@127.0.0.1:8000"]}, OPEN, MalformedHost),
    ({"hosts": ["127.0.0.1:8000/x"]}, OPEN, MalformedHost),
    ({"hosts": ["127.0.0.1:x"]}, OPEN, MalformedHost),
    ({"hosts": ["127.0.0.1:99999"]}, OPEN, MalformedHost),
    ({"hosts": ["127.0.0.1, evil.example"]}, OPEN, MalformedHost),
    ({"hosts": ["::1"]}, OPEN, MalformedHost),
    ({"hosts": ["[::1"]}, OPEN, MalformedHost),
    ({"hosts": ["."]}, OPEN, MalformedHost),
    ({"hosts": ["löcalhost"]}, OPEN, MalformedHost),
    ({"hosts": []}, KEYS, MalformedHost),
    # 2: the name
    ({"hosts": ["evil.example"]}, OPEN, HostNotAllowed),
    ({"hosts": ["evil.example:8000"], "fetch_site": "same-origin"}, OPEN, HostNotAllowed),
    ({"hosts": ["evil.example:8000"], "origin": "http://evil.example:8000"}, OPEN, HostNotAllowed),
    ({"hosts": ["localhost.evil.example"]}, OPEN, HostNotAllowed),
    ({"hosts": ["127.0.0.1.nip.io"]}, OPEN, HostNotAllowed),
    ({"hosts": ["notlocalhost"]}, OPEN, HostNotAllowed),
    ({"hosts": ["gpu-box.local:8000"]}, OPEN, HostNotAllowed),
    ({"hosts": ["2130706433"]}, OPEN, HostNotAllowed),
    ({"hosts": ["127.1"]}, OPEN, HostNotAllowed),
    ({"hosts": ["mill.example"]}, NAMED, Let),
    ({"hosts": ["mill.example:443"]}, NAMED, Let),
    ({"hosts": ["Mill.Example."]}, NAMED, Let),
    ({"hosts": ["box:8000"]}, NAMED, Let),
    ({"hosts": ["box:9000"]}, NAMED, HostNotAllowed),
    ({"hosts": ["other.example"]}, NAMED, HostNotAllowed),
    ({"hosts": [LOCAL]}, NAMED, Let),
    ({"hosts": ["any.example"]}, KEYS, Let),
    ({"hosts": ["any.example"]}, NAMED_WITH_KEYS, HostNotAllowed),
    ({"hosts": ["mill.example"]}, NAMED_WITH_KEYS, Let),
    ({"hosts": [LOCAL]}, NAMED_WITH_KEYS, Let),
    # 3: origins that the operator trusts
    ({"origin": OF, "fetch_site": "cross-site"}, CORS, Let),
    ({"origin": OF, "fetch_site": "cross-site", "method": "POST"}, CORS, Let),
    ({"origin": OF}, CORS, Let),
    ({"origin": "http://localhost:3000", "fetch_site": "same-site"}, CORS, Let),
    ({"origin": "http://localhost:3001", "fetch_site": "same-site"}, CORS, CrossOrigin),
    ({"origin": "http://app.example", "fetch_site": "cross-site"}, CORS, CrossOrigin),
    ({"origin": "https://app.example:444", "fetch_site": "cross-site"}, CORS, CrossOrigin),
    ({"origin": "https://app.example.evil", "fetch_site": "cross-site"}, CORS, CrossOrigin),
    ({"origin": "null", "fetch_site": "cross-site"}, ANY_WITH_KEYS, CrossOrigin),
    ({"origin": OF, "fetch_site": "cross-site"}, ANY_WITH_KEYS, Let),
    ({"origin": OF, "fetch_site": "cross-site"}, ANY, CrossOrigin),
    ({"origin": OF, "hosts": ["evil.example"]}, CORS, HostNotAllowed),
    # 4: the service's own pages, the address bar
    ({"fetch_site": "same-origin"}, OPEN, Let),
    ({"fetch_site": "same-origin", "method": "POST", "origin": f"http://{LOCAL}"}, OPEN, Let),
    ({"fetch_site": "none"}, OPEN, Let),
    ({"fetch_site": "none", "fetch_mode": "navigate", "fetch_dest": "document"}, OPEN, Let),
    # 5: everything else that a browser says of itself
    ({"fetch_site": "cross-site"}, OPEN, CrossOrigin),
    ({"fetch_site": "same-site"}, OPEN, CrossOrigin),
    ({"fetch_site": "cross-site", "method": "POST", "origin": OF}, OPEN, CrossOrigin),
    ({"fetch_site": "same-site", "method": "POST"}, OPEN, CrossOrigin),
    ({"fetch_site": "cross-site", "method": "OPTIONS", "origin": OF}, OPEN, CrossOrigin),
    (
        {"fetch_site": "cross-site", "fetch_mode": "no-cors", "fetch_dest": "image"},
        OPEN,
        CrossOrigin,
    ),
    ({"fetch_site": "cross-site", "fetch_mode": "cors", "fetch_dest": "empty"}, OPEN, CrossOrigin),
    ({"fetch_site": "cross-site", **PAGE}, OPEN, Let),
    ({"fetch_site": "same-site", **PAGE}, OPEN, Let),
    ({"fetch_site": "cross-site", **PAGE, "is_page": False}, OPEN, CrossOrigin),
    ({"fetch_site": "cross-site", **PAGE, "fetch_dest": "iframe"}, OPEN, CrossOrigin),
    ({"fetch_site": "cross-site", **PAGE, "fetch_dest": "embed"}, OPEN, CrossOrigin),
    ({"fetch_site": "cross-site", **PAGE, "fetch_mode": "no-cors"}, OPEN, CrossOrigin),
    ({"fetch_site": "cross-site", **PAGE, "method": "POST"}, OPEN, CrossOrigin),
    ({"fetch_site": "cross-site", **PAGE, "method": "HEAD"}, OPEN, CrossOrigin),
    ({"fetch_site": "", **PAGE}, OPEN, Let),
    ({"fetch_site": "nonsense"}, OPEN, CrossOrigin),
    ({"fetch_site": "same-origin, cross-site"}, OPEN, CrossOrigin),
    ({"fetch_site": "cross-site", "method": "POST"}, KEYS, CrossOrigin),
    # 6: a browser on a network without TLS sends Origin alone
    ({"origin": f"http://{LOCAL}", "method": "POST"}, OPEN, Let),
    ({"origin": "http://192.168.1.20", "hosts": ["192.168.1.20"]}, OPEN, Let),
    ({"origin": "http://192.168.1.20", "hosts": ["192.168.1.20:80"]}, OPEN, Let),
    ({"origin": "https://192.168.1.20", "hosts": ["192.168.1.20"]}, OPEN, Let),
    ({"origin": "https://192.168.1.20", "hosts": ["192.168.1.20:443"]}, OPEN, Let),
    ({"origin": "http://127.0.0.1:3000", "method": "POST"}, OPEN, CrossOrigin),
    ({"origin": "http://127.0.0.1", "method": "POST"}, OPEN, CrossOrigin),
    ({"origin": "http://localhost:8000", "method": "POST"}, OPEN, CrossOrigin),
    ({"origin": "http://evil.example", "method": "POST"}, OPEN, CrossOrigin),
    ({"origin": "http://evil.example"}, OPEN, CrossOrigin),
    ({"origin": "null", "method": "POST"}, OPEN, CrossOrigin),
    ({"origin": "", "method": "POST"}, OPEN, CrossOrigin),
    ({"origin": "file://", "method": "POST"}, OPEN, CrossOrigin),
    ({"origin": "chrome-extension://abcdef", "method": "POST"}, OPEN, CrossOrigin),
    ({"origin": f"http://{LOCAL}.evil.example", "method": "POST"}, OPEN, CrossOrigin),
    ({"origin": f"http://x@{LOCAL}", "method": "POST"}, OPEN, CrossOrigin),
    (
        {"origin": f"http://{LOCAL}", "fetch_site": "cross-site", "method": "POST"},
        OPEN,
        CrossOrigin,
    ),
    ({"origin": "https://mill.example", "hosts": ["127.0.0.1:9999"]}, NAMED, Let),
    ({"origin": "https://mill.example", "hosts": ["127.0.0.1:9999"]}, OPEN, CrossOrigin),
    ({"origin": "http://evil.example", "method": "POST"}, KEYS, CrossOrigin),
]


@pytest.mark.parametrize(("asked", "policy", "expected"), TABLE)
def test_a_request_is_let_through_or_refused_by_where_it_comes_from(
    asked: dict[str, object], policy: Policy, expected: type
) -> None:
    assert type(judge(Asked(**asked), policy)) is expected


def test_the_table_is_long_enough_and_has_no_row_twice() -> None:
    assert len({repr(row) for row in TABLE}) == len(TABLE) >= 60


@pytest.mark.parametrize("policy", [CORS, ANY_WITH_KEYS])
def test_only_a_trusted_origin_may_read_the_answer(policy: Policy) -> None:
    assert judge(Asked(origin=OF, fetch_site="cross-site"), policy) == Let(cors_origin=OF)
    own = judge(Asked(origin=f"http://{LOCAL}", fetch_site="same-origin"), CORS)
    assert own == Let(cors_origin=None)


@pytest.mark.parametrize(
    "text", ["", " ", "a b", "a:b", "[::1", "::1", "http://a", "a/b", "a:1:2", "a,b", "\x00", "é"]
)
def test_what_is_no_authority_is_not_read_as_one(text: str) -> None:
    assert parse_authority(text) is None
