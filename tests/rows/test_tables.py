"""Tables in text: delimiters, widths, headers, quotation marks."""

from __future__ import annotations

import csv
import io
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from promptmill.rows import FileFormat
from tests.rows.conftest import ReadFile, Refused

SENTENCES = [
    "Name a river in Spain, and one in Portugal, please.",
    "Sort: plums; pears; and, if there are any, figs",
    "Is a|b the same as b|a, or not?",
    'She said "no, never"; he said nothing.',
    "Two\nlines, and a third;\nhere",
]


def table(rows: list[list[str]], delimiter: str, *, quoting: int = csv.QUOTE_MINIMAL) -> str:
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=delimiter, quoting=quoting).writerows(rows)  # type: ignore[arg-type]
    return text.getvalue()


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL])
def test_the_delimiter_is_found_out_among_texts_full_of_the_others(
    read: ReadFile, delimiter: str, quoting: int
) -> None:
    rows = [["id", "prompt"], *([str(number), text] for number, text in enumerate(SENTENCES))]

    found = read(table(rows, delimiter, quoting=quoting), "p.csv").prompts

    assert found == [{"id": str(number), "prompt": text} for number, text in enumerate(SENTENCES)]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    texts=st.lists(
        st.text(alphabet=st.sampled_from("ab ,;|\t\"\n\r'é👍=\u2028"), min_size=1).filter(
            str.strip
        ),
        min_size=1,
        max_size=12,
    ),
    delimiter=st.sampled_from([",", ";", "\t", "|"]),
)
def test_whatever_stands_in_the_cells_comes_back_unchanged(
    read: ReadFile, texts: list[str], delimiter: str
) -> None:
    rows = [["id", "prompt"], *([f"r{number}", text] for number, text in enumerate(texts))]

    found = read(table(rows, delimiter), "p.csv").prompts

    assert [prompt["prompt"] for prompt in found] == texts


@pytest.mark.parametrize(
    ("content", "prompts"),
    [
        ("id;price;prompt\n1;3,50;Name a lake.\n2;4,20;Name a sea.\n", ["Name a lake.", "Name a sea."]),
        ("id;price, in euro;prompt\n1;3,50;Name a lake.\n2;4,20;Name a sea.\n", ["Name a lake.", "Name a sea."]),
        ("prompt\nSalt; pepper; or both?\nName a lake.\n", ["Salt; pepper; or both?", "Name a lake."]),
        ('"prompt"\n"one, two"\n', ["one, two"]),
        ("sep=|\nid|prompt\n1|a, b\n", ["a, b"]),
        ("\n\n  \nprompt\n\nName a lake.\n\n", ["Name a lake."]),
        ("prompt\rName a lake.\rName a sea.", ["Name a lake.", "Name a sea."]),
        ('ID, Prompt\n1, "Name a lake, a large one."\n', ["Name a lake, a large one."]),
        ("id,PROMPT\n1,Name a lake.\n", ["Name a lake."]),
        ("id,prompt,Prompt\n1,this,that\n", ["this"]),
        ("question\nWhy?\n", ["Why?"]),
        ("Customer question\nWhy?\n", ["Why?"]),
        ('"sep=;"\r\nid;prompt\r\n1;a, b\r\n', ["a, b"]),
        ("sep=;;\nid;prompt\n1;a, b\n", ["a, b"]),
        ("id,prompt,,\n1,Name a lake.,,\n2,Name a sea.,,\n", ["Name a lake.", "Name a sea."]),
        (",prompt\n0,Name a lake.\n", ["Name a lake."]),
        ("id|prompt\n1|-\n", ["-"]),
    ],
)  # fmt: skip
def test_tables_as_people_write_them(read: ReadFile, content: str, prompts: list[str]) -> None:
    found = read(content, "p.csv").prompts

    assert [one if isinstance(one, str) else one["prompt"] for one in found] == prompts


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ("prompt\nrain, snow\nfine\na, b, c\n", "line 2: has 2 cells and the header 1"),
        ("prompt\nrain, snow\nfine\na, b, c\n", "line 4: has 3 cells and the header 1"),
        ("id,prompt\n1\n", "line 2: has 1 cell and the header 2"),
        ('id,prompt\n1,"two\nlines"\n2,a,b\n', "line 4: has 3 cells and the header 2"),
        ('prompt\nfine\n"never closed\nmore\n', "line 3: a quotation mark is opened in this row"),
        ('id,prompt\n1,"so" said she\n', "line 2: a text continues after its closing quotation mark"),
        ("a,b\n1,2\n", 'there is no column "prompt"; it has a, b; --column NAME takes another'),
        ("prompt,prompt\n1,2\n", 'more than one column is called "prompt"'),
        ("Prompt,PROMPT\n1,2\n", 'more than one column is called "prompt"'),
        ("a;b,c\n1;2,3\n4;5,6\n", "the cells may be separated by , or ;"),
        ("", "it has no prompts"),
        ("prompt\n\n", "it has no prompts"),
        ("prompt\nfine\n\ufeffcut\ufeffmore\n", "line 3: has a byte order mark inside"),
        ("| id | prompt |\n|----|:------:|\n| 1 | a |\n", "line 2: belongs to a Markdown table"),
        ("Name a lake.\nName a sea.\n", "the first line, `Name a lake.`, would be the name"),
        ("Name a lake\nName a sea\n", "the first line, `Name a lake`, would be the name"),
        ("Lakes?\nSeas?\n", "the first line, `Lakes?`, would be the name"),
        ("Lakes.\nSeas.\n", "the first line, `Lakes.`, would be the name"),
        ("id:prompt\n1:a\n", "the first line, `id:prompt`, would be the name"),
        ("id\x01prompt\n1\x01a\n", "--delimiter splits the cells"),
        ("sep=,\nid;prompt\n1;a\n", "the first line, `id;prompt`, would be the name"),
    ],
)  # fmt: skip
def test_a_table_that_is_wrong_is_refused_with_its_line(
    refused: Refused, content: str, fault: str
) -> None:
    assert fault in refused(content, "p.csv")


def test_a_delimiter_can_be_named(read: ReadFile) -> None:
    content = "a;b,c\n1;2,3\n"

    assert read(content, "p.csv", delimiter=";", prompt="b,c").prompts == ["2,3"]
    assert read(content, "p.csv", delimiter="comma", prompt="c").prompts == ["3"]
    assert read("a~prompt\n1~x, y\n", delimiter="~").prompts == ["x, y"]


@pytest.mark.parametrize("delimiter", ["", "ab", '"', "\n", "x"])
def test_a_delimiter_that_can_be_none_is_refused(refused: Refused, delimiter: str) -> None:
    assert "--delimiter takes one character" in refused("a,b\n1,2\n", "p.csv", delimiter=delimiter)


def test_the_only_column_is_said_where_its_name_may_be_a_prompt(read: ReadFile) -> None:
    content = "Lakes\nSeas\n"

    assert "`Lakes` in the first line is taken" in read(content, "p.csv").remarks[0]
    assert read(content, "p.csv", prompt="Lakes").remarks == []
    assert read("Prompt\nSeas\n", "p.csv").remarks == []
    assert read("Which lake?\nSeas\n", "p.csv", prompt="Which lake?").prompts == ["Seas"]
    assert read("Which lake?\nSeas\n", "p.csv", format=FileFormat.TEXT).prompts == [
        "Which lake?",
        "Seas",
    ]


def test_a_column_of_chats_is_read_where_none_is_the_prompt(
    read: ReadFile, refused: Refused
) -> None:
    chat = [{"role": "user", "content": "Why, though?"}]
    cell = json.dumps(chat).replace('"', '""')

    found = read(f'id,messages\n1,"{cell}"\n2,\n', "p.csv")

    assert found.prompts == [{"id": "1", "messages": chat}]
    assert found.remarks == ["line 3 has no prompt and is left out"]
    assert read("messages,prompt\na,b\n", "p.csv").prompts == ["b"]
    assert read("id,messages\n1,a\n", "p.csv", prompt="messages").prompts == [
        {"id": "1", "prompt": "a"}
    ]
    assert 'line 2: the column "messages" is not JSON' in refused("id,messages\n1,a\n", "p.csv")
    assert "is not a list of messages" in refused("id,messages\n1,{}\n", "p.csv")


def test_a_named_column_tells_two_delimiters_apart(read: ReadFile) -> None:
    assert read("a;b,c\n1;2,3\n4;5,6\n", "p.csv", prompt="c").prompts == ["3", "6"]


def test_rows_without_a_prompt_are_said_and_counted(read: ReadFile) -> None:
    rows = "".join(f"r{number},{'' if number % 2 else 'text'}\n" for number in range(20))

    found = read(f"id,prompt\n{rows}", "p.csv")

    assert [one["id"] for one in found.prompts] == [f"r{number}" for number in range(0, 20, 2)]
    assert found.remarks == [
        f"line {line} has no prompt and is left out" for line in (3, 5, 7, 9, 11)
    ]
    assert found.source.notes.left_out == 10


def test_the_header_of_a_joined_file_is_no_prompt(read: ReadFile) -> None:
    found = read("\ufeffid,prompt\n1,a\n\ufeffid,prompt\n2,b\n", "p.csv")

    assert found.prompts == [{"id": "1", "prompt": "a"}, {"id": "2", "prompt": "b"}]
    assert found.remarks == ["line 3 is the header again and is left out"]


def test_places_are_the_lines_where_rows_begin(read: ReadFile) -> None:
    found = read('prompt\n"a\nb"\n\n"c"\n', "p.csv")

    assert found.prompts == ["a\nb", "c"]
    assert found.places == ["line 2", "line 5"]
    assert found.source.place_of(2) is None


def test_a_cell_may_be_as_long_as_a_prompt(read: ReadFile) -> None:
    long = "x, " * 100_000

    assert read(f'prompt\n"{long}"\n', "p.csv").prompts == [long]


def test_ids_can_come_from_another_column_or_from_none(read: ReadFile) -> None:
    content = "id,key,prompt\n1,k1,a\n,k2,b\n"

    assert read(content, "p.csv").prompts == [{"id": "1", "prompt": "a"}, "b"]
    assert [one["id"] for one in read(content, "p.csv", id="KEY").prompts] == ["k1", "k2"]
    assert read(content, "p.csv", id="").prompts == ["a", "b"]


def test_a_system_message_can_come_from_a_column(read: ReadFile) -> None:
    content = "who,prompt\nBe brief.,a\n,b\n"

    assert read(content, "p.csv", system="who").prompts == [
        {"prompt": "a", "system": "Be brief."},
        "b",
    ]


def test_images_are_read_from_the_folder_of_the_table(read: ReadFile, refused: Refused, tmp_path) -> None:  # fmt: skip
    (tmp_path / "a.png").write_bytes(b"\x89PNG")

    found = read("picture,prompt\na.png,What is it?\n", "p.csv", image="picture").prompts

    assert found == [{"prompt": "What is it?", "images": ["iVBORw=="]}]
    assert "line 2: the image" in refused("i,prompt\nnone.png,x\n", "p.csv", image="i")
