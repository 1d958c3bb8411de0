"""Lines out of a stream, however it is cut."""

from __future__ import annotations

import itertools
import json

from hypothesis import given
from hypothesis import strategies as st

from promptmill.client.ndjson import LineSplitter

TEXT = st.text(st.characters(exclude_categories=["Cs"]))


@given(texts=st.lists(TEXT), cuts=st.lists(st.integers(0, 400)), ends=st.booleans())
def test_every_cut_gives_back_the_lines_that_were_written(
    texts: list[str], cuts: list[int], ends: bool
) -> None:
    stream = "\n".join(json.dumps(text, ensure_ascii=False) for text in texts).encode()
    if ends and texts:
        stream += b"\n"
    places = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    splitter = LineSplitter()

    lines = [
        line
        for start, end in itertools.pairwise(places)
        for line in splitter.feed(stream[start:end])
    ]
    lines += splitter.end()

    assert [json.loads(line) for line in lines] == texts


def test_separators_that_may_stand_inside_json_do_not_end_a_line() -> None:
    line = json.dumps("one\u2028two\u0085three\x0c", ensure_ascii=False).encode()

    assert LineSplitter().feed(line + b"\n") == [line]


def test_a_long_line_in_many_pieces_costs_no_more_than_its_length() -> None:
    splitter = LineSplitter()
    for _ in range(20_000):
        assert splitter.feed(b"x" * 100) == []

    assert splitter.feed(b"\n") == [b"x" * 2_000_000]
