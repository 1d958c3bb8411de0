"""Texts, encodings, byte order marks, what is packed, folders and samples."""

from __future__ import annotations

import bz2
import codecs
import gzip
import io
import lzma
import os
import sys
import threading
import tracemalloc
from pathlib import Path

import pytest

from promptmill.prompts import PromptFile
from promptmill.rows import FileFormat, Reading, UnreadableInput
from tests.rows.conftest import ReadFile, Refused, prompt_file


def test_each_line_is_a_prompt_and_blank_ones_are_none(read: ReadFile) -> None:
    found = read("\ufeffWhy?\r\n\n  \nOù ?\n  indented stays\n\n")

    assert found.prompts == ["Why?", "Où ?", "  indented stays"]
    assert found.places == ["line 1", "line 4", "line 5"]
    assert (found.source.notes.blank_lines, found.source.notes.left_out) == (2, 0)


def test_only_a_line_end_ends_a_line(read: ReadFile) -> None:
    text = "a\u2028b\x0cc\u0085d\x1ce\u200b\u202ef 👩\u200d👧"

    assert read(text).prompts == [text]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-8-sig"])
@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("p.txt", "Name a lake.\r\n\r\nOù est 日本?\r\n"),
        ("p.csv", "id;prompt\r\n1;Name a lake.\r\n2;Où est 日本?\r\n"),
        ("p.txt", "id\tprompt\n1\tName a lake.\n2\tOù est 日本?\n"),
        ("p.json", '["Name a lake.",\n "Où est 日本?"]'),
        ("p.jsonl", '"Name a lake."\n"Où est 日本?"\n'),
    ],
)
def test_a_byte_order_mark_tells_the_encoding(
    read: ReadFile, encoding: str, name: str, content: str
) -> None:
    marks = {"utf-16-le": codecs.BOM_UTF16_LE, "utf-16-be": codecs.BOM_UTF16_BE}

    found = read(marks.get(encoding, b"") + content.encode(encoding), name).prompts

    texts = [one if isinstance(one, str) else one["prompt"] for one in found]
    assert texts == ["Name a lake.", "Où est 日本?"]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_marks_of_joined_files_are_no_part_of_a_prompt(read: ReadFile, encoding: str) -> None:
    joined = "a\n".encode(encoding) + "b\n".encode(encoding) + "c".encode(encoding)

    assert read(joined).prompts == ["a", "b", "c"]


def test_a_mark_inside_a_line_is_refused_unless_the_encoding_is_named(
    read: ReadFile, refused: Refused
) -> None:
    assert "line 2: has a byte order mark inside" in refused("a\nb\ufeffc\n")
    assert read("a\nb\ufeffc\n", encoding="utf-8").prompts == ["a", "b\ufeffc"]


def test_another_encoding_is_named(read: ReadFile, refused: Refused) -> None:
    content = "prompt\nOù est la gare ? 5 €\n".encode("cp1252")

    assert "line 2: is not UTF-8 at byte 2; --encoding NAME" in refused(content, "p.csv")
    assert read(content, "p.csv", encoding="cp1252").prompts == ["Où est la gare ? 5 €"]
    assert read("駅は?\n表\n".encode("shift_jis"), encoding="shift_jis").prompts == ["駅は?", "表"]


@pytest.mark.parametrize(
    ("content", "encoding", "fault"),
    [
        (b"a", "klingon", "--encoding klingon is not known"),
        (b"a", "base64", "--encoding base64 is not known"),
        (b"\xef\xbb\xbfa", "cp1252", "begins with the byte order mark of utf-8"),
        (b"ok\n\x81\n", "cp1252", "is not cp1252"),
        (b"a\0b\0", None, "--encoding utf-16-le"),
        (b"\xff\xfea", None, "is not utf-16-le"),
        (b"\xff\xfea\0\n\0\0\xdc", None, "is not utf-16-le"),
    ],
)
def test_bytes_that_are_not_in_the_encoding_are_refused(
    refused: Refused, content: bytes, encoding: str | None, fault: str
) -> None:
    assert fault in refused(content, encoding=encoding)


def test_gzip_is_unpacked_by_its_content(read: ReadFile, refused: Refused) -> None:
    packed = gzip.compress(b"id,prompt\n1,a\n") + gzip.compress(b"2,b\n")

    for name in ("p.csv.gz", "p.csv"):
        assert [one["prompt"] for one in read(packed, name).prompts] == ["a", "b"]
    for broken in (packed[:-9], packed[:20], b"\x1f\x8bnonsense"):
        assert refused(broken, "p.csv.gz") == "is packed with gzip, and broken or cut off"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (bz2.compress(b"a"), "bzip2 -dc"),
        (lzma.compress(b"a"), "xz -dc"),
        (b"%PDF-1.7\n", "is a PDF or an image"),
        (b"\x89PNG\r\n\x1a\n", "is a PDF or an image"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1", "save it as .xlsx or .csv"),
        (b"ARROW1\0\0", "save it as Parquet"),
        (b"PK\x05\x06" + bytes(18), "is an archive, or packed twice"),
        (b"a.csv".ljust(257, b"\0") + b"ustar\x0000", "is an archive, or packed twice"),
        (gzip.compress(gzip.compress(b"a", mtime=0), mtime=0), "is an archive, or packed twice"),
        (b"SQLite format 3\0", "is a database"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\n", "git lfs pull"),
        (b"<!DOCTYPE html>\n<html><head><title>Sign in</title>", "is YAML, XML, HTML"),
        (b'<?xml version="1.0"?><rows/>', "is YAML, XML, HTML"),
        (b"{\\rtf1\\ansi hello}", "is YAML, XML, HTML"),
    ],
)
def test_what_is_no_text_is_refused_by_its_kind(
    refused: Refused, content: bytes, said: str
) -> None:
    assert said in refused(content)


@pytest.mark.parametrize(
    ("content", "format_named", "said"),
    [
        ("id\tquestion\n1\tWhy?\n2\tHow?\n", "csv", "looks like a table"),
        ("prompt\nName a lake.\n", "csv", "looks like a table"),
    ],
)
def test_what_may_be_a_table_or_texts_is_refused(
    refused: Refused, content: str, format_named: str, said: str
) -> None:
    told = refused(content)

    assert said in told
    assert f"--format {format_named}" in told
    assert "--format text" in told


@pytest.mark.parametrize(
    "content",
    ["id,prompt\n1,a\n", "id;prompt\n1;a\n", "id\tprompt\n1\ta\n", "sep=;\nid;prompt\n1;a\n"],
)
def test_a_header_that_names_the_prompt_says_that_it_is_a_table(
    read: ReadFile, content: str
) -> None:
    assert read(content, "p.txt").prompts == [{"id": "1", "prompt": "a"}]


@pytest.mark.parametrize("name", ["p.yaml", "p.yml", "p.toml", "p.xml", "p.html", "p.json5"])
def test_a_file_of_another_format_is_text_only_if_it_is_said(
    read: ReadFile, refused: Refused, name: str
) -> None:
    assert "--format text" in refused("- prompt: a\n", name)
    assert read("- prompt: a\n", name, format=FileFormat.TEXT).prompts == ["- prompt: a"]


def test_an_input_without_a_prompt_is_refused(refused: Refused) -> None:
    for content in ("", "\n\n", "\ufeff", "  \r\n"):
        assert refused(content) == "it has no prompts"
    assert "line 2 has no prompt and is left out" in refused("id,prompt\n1,\n", "p.csv")


def test_stdin_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    packed = gzip.compress(b'{"id": "a", "prompt": "Why?"}\n')
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(packed)))

    source = PromptFile("-")

    assert source.is_read_once
    assert list(source) == [{"id": "a", "prompt": "Why?"}]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="a system without named pipes")
def test_a_pipe_with_a_name_is_read_once(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.jsonl"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_text, args=['{"prompt": "Why?"}\n'])
    writer.start()

    source = PromptFile(str(pipe))

    assert source.is_read_once
    assert list(source) == [{"prompt": "Why?"}]
    writer.join()


def test_a_folder_is_read_file_by_file(read: ReadFile, tmp_path: Path) -> None:
    folder = tmp_path / "texts"
    folder.mkdir()
    (folder / "b.txt").write_bytes(b"\xef\xbb\xbfSecond,\nof two lines.\n")
    (folder / "a.md").write_text("First.")
    (folder / "empty.txt").write_text("\n")
    (folder / ".hidden").write_text("no")

    source = PromptFile(str(folder))

    assert list(source) == [
        {"id": "a.md", "prompt": "First."},
        {"id": "b.txt", "prompt": "Second,\nof two lines."},
    ]
    assert source.place_of(1) == "b.txt"
    assert source.notes.remarks == ["empty.txt has no prompt and is left out"]
    pattern = prompt_file(f"{folder}/*.txt", template="{{ name }}: {{ text }}", id="")
    assert list(pattern) == ["b.txt: Second,\nof two lines."]


def test_a_folder_of_tables_or_of_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnreadableInput, match="it has no files"):
        list(PromptFile(str(tmp_path)))
    (tmp_path / "a.csv").write_text("prompt\nx\n")
    with pytest.raises(UnreadableInput, match=r"a\.csv is a table or JSON"):
        list(PromptFile(str(tmp_path)))
    with pytest.raises(UnreadableInput, match="it has no files"):
        list(PromptFile(str(tmp_path / "*.md")))


def test_a_sample_is_random_and_the_same_for_the_same_seed(read: ReadFile) -> None:
    content = "".join(f"{number}\n" for number in range(1000))

    first = read(content, limit=20, shuffle=1).prompts

    assert len(set(first)) == 20
    assert first != sorted(first, key=int)
    assert read(content, limit=20, shuffle=1).prompts == first
    assert read(content, limit=20, shuffle=2).prompts != first
    assert sorted(read(content, shuffle=1).prompts, key=int) == content.split()
    assert read(content, limit=3).prompts == ["0", "1", "2"]
    assert read(content, limit=20, shuffle=1).places == [f"line {int(one) + 1}" for one in first]


@pytest.mark.parametrize("kind", ["text", "csv", "jsonl"])
def test_lines_are_read_in_constant_memory(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"p.{kind}"
    row = {"text": "x" * 500, "csv": f'1,"{"x" * 500}"', "jsonl": f'{{"prompt": "{"x" * 500}"}}'}
    with path.open("w") as file:
        file.write("id,prompt\n" if kind == "csv" else "")
        file.writelines(f"{row[kind]}\n" for _ in range(20_000))

    tracemalloc.start()
    count = sum(1 for _ in PromptFile(str(path), Reading(format=FileFormat(kind))))
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert count == 20_000
    assert path.stat().st_size > 10_000_000
    assert most < 5_000_000
