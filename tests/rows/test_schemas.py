"""Schemas for answers: in short, from a file, as JSON, from a class."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydantic import BaseModel

from promptmill.prompts.schemas import schema_of
from promptmill.rows import UnreadableInput

PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
    "required": ["name", "age"],
}


@pytest.mark.parametrize(
    "source",
    [
        "name, age int",
        " name str ,age  int, ",
        "name\nage int\n",
        json.dumps(PERSON),
        PERSON,
    ],
)
def test_the_same_schema_can_be_written_in_many_ways(source: object) -> None:
    assert schema_of(source) == PERSON


@pytest.mark.parametrize("name", ["person.json", "PERSON.JSON", "@person"])
def test_a_schema_comes_from_a_file(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(name.removeprefix("@")).write_text("\ufeff" + json.dumps(PERSON))

    assert schema_of(name) == PERSON


def test_types_and_descriptions_go_into_the_properties() -> None:
    found = schema_of("ok bool: is it, or not?\nshare float\nnote: a word, at most\n")

    assert found["properties"] == {
        "ok": {"type": "boolean", "description": "is it, or not?"},
        "share": {"type": "number"},
        "note": {"type": "string", "description": "a word, at most"},
    }


def test_a_class_of_pydantic_is_its_schema() -> None:
    class Person(BaseModel):
        name: str
        age: int

    assert schema_of(Person)["required"] == ["name", "age"]


@pytest.mark.parametrize(
    ("source", "fault"),
    [
        ("age integer", '"age integer" is not a field: write `name`, `name type`'),
        ("the first name", "the types are str, int, float, bool"),
        ("a, b, a int", 'the field "a" occurs twice'),
        (" , ", "the schema names no field; such as 'name, age int'"),
        ("", "the schema names no field"),
        ("nothing.json", "the schema cannot be read from nothing.json: No such file"),
        ("@nothing", "the schema cannot be read from nothing: No such file"),
        ('{"type": "object"', "the schema is not JSON"),
        ('{"a": 1, "a": 2}', 'the schema has the name "a" twice'),
        (int, "is not a schema: pass a text, an object or a pydantic class"),
    ],
)
def test_what_is_no_schema_is_refused(source: object, fault: str) -> None:
    with pytest.raises(UnreadableInput) as refused:
        schema_of(source)
    assert fault in str(refused.value)


def test_a_file_with_something_else_than_an_object_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "list.json"
    path.write_text("[1]")

    with pytest.raises(UnreadableInput, match="is not a JSON object"):
        schema_of(str(path))
