"""The shape of the project: what a newcomer may count on."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
import yaml

from promptmill.domain.lifecycle import JobState, TaskState
from promptmill.domain.openai import FileState, Stage
from promptmill.domain.scheduling.downloads import PullState

ROOT = Path(__file__).parents[2]
MODULES = sorted((ROOT / "app").rglob("*.py"))
MOST_LINES = 400
MOST_MODULES = 15
BANNED = {"util", "utils", "helper", "helpers", "common", "misc", "handler", "handlers"}
RIDDLES = re.compile(
    r"(What|Who|Whoever|Whose|Which|How|Where|Those|These|It|They|So|Of|Nobody|Nothing)\b"
)
"""First words of docstrings that do not name their subject."""


def test_a_module_has_one_role_that_its_first_sentence_tells(subtests: pytest.Subtests) -> None:
    for module in MODULES:
        with subtests.test(str(module.relative_to(ROOT))):
            text = module.read_text()
            assert ast.get_docstring(ast.parse(text)), "says nothing of itself"
            assert len(text.splitlines()) <= MOST_LINES
            assert module.stem not in BANNED


def test_a_docstring_begins_with_its_subject() -> None:
    found = [
        f"{module.relative_to(ROOT)}:{each.lineno}: {each.value.value.splitlines()[0]}"
        for module in MODULES
        for each in ast.walk(ast.parse(module.read_text()))
        if isinstance(each, ast.Expr)
        and isinstance(each.value, ast.Constant)
        and isinstance(each.value.value, str)
        and RIDDLES.match(each.value.value)
    ]
    assert found == []


def test_links_between_pages_lead_somewhere(subtests: pytest.Subtests) -> None:
    for page in sorted(ROOT.glob("docs/**/*.md")) + sorted(ROOT.glob("*.md")):
        with subtests.test(page.name):
            for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text()):
                if not target.startswith(("http://", "https://", "mailto:")):
                    assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_the_compose_file_has_the_services_and_profiles_that_the_page_names() -> None:
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    services = compose["services"]
    assert set(services) == {"promptmill", "worker", "ollama", "simulator", "postgres"}
    assert services["simulator"]["profiles"] == ["simulator"]
    assert services["postgres"]["profiles"] == ["postgres", "workers"]
    assert services["worker"]["profiles"] == ["workers"]
    assert services["worker"]["command"] == ["worker"]
    assert "postgres" in services["worker"]["depends_on"]
    assert services["promptmill"]["ports"] == ["127.0.0.1:8000:8000"]
    named = {
        volume.partition(":")[0] for one in services.values() for volume in one.get("volumes", [])
    }
    assert named == set(compose["volumes"])


def test_no_package_has_more_than_fifteen_modules() -> None:
    rooms = {module.parent for module in MODULES}
    sizes = {str(room.relative_to(ROOT)): len(list(room.glob("*.py"))) for room in rooms}
    assert {room: size for room, size in sizes.items() if size > MOST_MODULES} == {}


def test_the_room_that_reads_and_writes_files_stays_small() -> None:
    rooms = (module for module in MODULES if module.parent.name == "rows")
    assert sum(len(module.read_text().splitlines()) for module in rooms) <= 1_500


def test_states_stand_in_sql_only_where_the_fragments_are_made() -> None:
    states = [*JobState, *TaskState, *PullState, *Stage, *FileState]
    literal = re.compile("'(?:" + "|".join(states) + ")'")
    modules = sorted((ROOT / "app/promptmill/store").rglob("*.py"))
    assert [str(module) for module in modules if literal.search(module.read_text())] == []


def recipe(title: str) -> tuple[str, list[str]]:
    """The example of a recipe, and the files that it names."""
    page = (ROOT / "CONTRIBUTING.md").read_text()
    text = page.partition(f"### {title}\n")[2].partition("\n### ")[0]
    (example,) = re.findall(r"The example is `(\w+)`", text)
    return example, [path for path in re.findall(r"`([\w./]+)`", text) if (ROOT / path).is_file()]


@pytest.mark.parametrize("title", ["A field of a result", "A setting"])
def test_every_file_of_a_recipe_has_the_recipes_example(title: str) -> None:
    example, files = recipe(title)
    assert len(files) > 1
    for file in files:
        text = (ROOT / file).read_text()
        assert example in text or f"PROMPTMILL_{example.upper()}" in text, file


def test_what_to_read_first_is_a_tenth_of_the_code() -> None:
    page = (ROOT / "ARCHITECTURE.md").read_text()
    text = page.partition("## What to read first\n")[2].partition("\n## ")[0]
    files = re.findall(r"\]\((app/[^)]+\.py)\)", text)
    lines = sum(len((ROOT / file).read_text().splitlines()) for file in files)
    assert 2_000 <= lines <= 3_600


def test_the_walk_of_a_prompt_passes_few_files() -> None:
    page = (ROOT / "ARCHITECTURE.md").read_text()
    text = page.partition("## Walkthrough: a prompt's life\n")[2].partition("\n## ")[0]
    assert len(set(re.findall(r"\]\((app/[^)]+\.py)\)", text))) <= 45
