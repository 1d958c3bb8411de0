"""Prompts made of columns."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from promptmill.prompts import Template
from promptmill.rows import UnreadableInput
from tests.rows.conftest import ReadFile, Refused

TABLE = "id,text,lang,a b\n1,Bon jour,fr,x\n2,,,\n3,Hello,,y\n"


def test_a_template_is_filled_in_row_by_row(read: ReadFile) -> None:
    found = read(TABLE, "p.csv", template="Classify ({{ lang or 'en' }}): {{ text }}")

    assert found.prompts == [
        {"id": "1", "prompt": "Classify (fr): Bon jour"},
        {"id": "3", "prompt": "Classify (en): Hello"},
    ]
    assert found.remarks == ["line 3 has no prompt and is left out"]


def test_names_of_columns_need_no_case_and_may_be_no_identifiers(read: ReadFile) -> None:
    found = read(TABLE, "p.csv", template="{{ TEXT }} {{ row['a b'] }}", id="")

    assert found.prompts == ["Bon jour x", "Hello y"]


def test_a_template_takes_objects_of_json_and_lines_of_text(read: ReadFile) -> None:
    objects = json.dumps([{"id": 1, "q": "Why?", "choices": ["A", "B"], "note": None}])

    assert read(
        objects, "p.json", template="{{ q }} {{ choices | join('/') }}{{ note }}"
    ).prompts == [{"id": "1", "prompt": "Why? A/B"}]
    assert read("a\nb\n", template="Sum up: {{ text }}").prompts == ["Sum up: a", "Sum up: b"]


def test_a_template_comes_from_a_file(read: ReadFile, tmp_path: Path) -> None:
    path = tmp_path / "t.j2"
    path.write_text("\ufeffClassify:\n{{ text }}\n")

    assert read("a\n", template=f"@{path}").prompts == ["Classify:\na"]


@pytest.mark.parametrize(
    ("template", "fault"),
    [
        ("{{ txet }}", 'there is no column "txet"; it has id, text, lang, a b'),
        ("{{ text.upper( }}", "the template: line 1:"),
        ("{{ text }}\n{% if %}", "the template: line 2:"),
        ("Classify: text", "the template uses no column"),
        ("Classify: {text}", "the template uses no column"),
        ("{{ text.missing.deeper }}", "line 2: the template fails:"),
        ("{{ text + 1 }}", "line 2: the template fails:"),
        ("{{ row.nothing }}", "line 2: the template fails:"),
        ("{{ text.__class__.__mro__ }}", "line 2: the template fails:"),
        ("{% for i in range(10**9) %}{{ text }}{% endfor %}", "line 2: the template fails:"),
        ("@/no/such/file", "the template cannot be read from /no/such/file: No such file"),
    ],
)
def test_a_template_that_fails_is_explained(refused: Refused, template: str, fault: str) -> None:
    if template.startswith("@") or "the template: " in fault or "uses no" in fault:
        with pytest.raises(UnreadableInput) as caught:
            Template(template)
        assert fault in str(caught.value)
    else:
        assert fault in refused(TABLE, "p.csv", template=template)


def test_kept_columns_go_with_the_prompt(read: ReadFile, refused: Refused) -> None:
    kept = read(TABLE, "p.csv", prompt="text", keep=("lang", "TEXT"), id="").prompts
    every = read(TABLE, "p.csv", prompt="text", keep=("*",)).prompts

    assert kept == [
        {"prompt": "Bon jour", "data": {"lang": "fr", "text": "Bon jour"}},
        {"prompt": "Hello", "data": {"lang": "", "text": "Hello"}},
    ]
    assert every[0]["data"] == {"id": "1", "text": "Bon jour", "lang": "fr", "a b": "x"}
    assert 'there is no column "x"' in refused(TABLE, "p.csv", prompt="text", keep=("x",))


def test_kept_fields_of_json_keep_their_types(read: ReadFile) -> None:
    found = read('{"prompt": "a", "n": 1.5, "l": [1], "o": {"x": null}}', "p.json", keep=("*",))

    assert found.prompts[0]["data"] == {"prompt": "a", "n": 1.5, "l": [1], "o": {"x": None}}
