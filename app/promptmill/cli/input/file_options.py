"""Options for reading a file of prompts."""

from __future__ import annotations

from typing import Annotated

import typer

from promptmill.cli.input.prompts import Choice, refuse
from promptmill.prompts import Columns, Template
from promptmill.rows import FileFormat, Reading, UnreadableInput

_INPUT = "Input"
_ROWS = "Rows of a table, or objects of JSON"

File = Annotated[
    str | None,
    typer.Option(
        "--file",
        "-f",
        metavar="FILE",
        help="Read the prompts from this file, folder or 'pattern*'; `-` is stdin, which is also"
        " read when nothing else is given. A sheet of Excel is FILE.xlsx#Sheet.",
        rich_help_panel=_INPUT,
    ),
]
Format = Annotated[
    FileFormat | None,
    typer.Option(
        "--format",
        help="text: a prompt per line. jsonl, json: strings or prompt objects, a whole batch, or"
        " OpenAI's batch lines. csv: a table with any delimiter. If not given, the content says"
        " it.",
        rich_help_panel=_INPUT,
    ),
]
Encoding = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Such as cp1252. If not given: what a byte order mark says, else UTF-8.",
        rich_help_panel=_INPUT,
    ),
]
Delimiter = Annotated[
    str | None,
    typer.Option(
        metavar="CHARACTER",
        help="What separates the cells: , ; | or tab. If not given, it is found out.",
        rich_help_panel=_INPUT,
    ),
]
Limit = Annotated[
    int | None,
    typer.Option(min=1, help="Take only so many prompts.", rich_help_panel=_INPUT),
]
Shuffle = Annotated[
    int | None,
    typer.Option(
        metavar="SEED",
        help="Take the prompts in a random order, the same for the same seed; with --limit, a"
        " random choice.",
        rich_help_panel=_INPUT,
    ),
]
Column = Annotated[
    str | None,
    typer.Option(
        "--column",
        "--field",
        metavar="NAME",
        help="Take the prompt from this column or field; if not given, from `prompt` or the only"
        " one.",
        rich_help_panel=_ROWS,
    ),
]
TemplateText = Annotated[
    str | None,
    typer.Option(
        "--template",
        metavar="TEXT|@FILE",
        help="Make the prompt of columns, such as 'Classify: {{ text }}' (Jinja).",
        rich_help_panel=_ROWS,
    ),
]
IdColumn = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Take the prompts' ids from this column; if not given, from `id`. '' takes none.",
        rich_help_panel=_ROWS,
    ),
]
SystemColumn = Annotated[
    str | None,
    typer.Option(
        metavar="NAME", help="Take the system message from this column.", rich_help_panel=_ROWS
    ),
]
Keep = Annotated[
    str | None,
    typer.Option(
        metavar="NAME,NAME,…",
        help="Keep these columns with the prompts, and write them first into the results; * is"
        " all.",
        rich_help_panel=_ROWS,
    ),
]
ImageColumn = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Send the image whose file this column names, seen from the table's folder.",
        rich_help_panel=_ROWS,
    ),
]


def choice_of(
    *,
    file_format: FileFormat | None = None,
    encoding: str | None = None,
    delimiter: str | None = None,
    column: str | None = None,
    template: str | None = None,
    id_column: str | None = None,
    system_column: str | None = None,
    image_column: str | None = None,
    keep: str | None = None,
    limit: int | None = None,
    shuffle: int | None = None,
) -> Choice:
    """Build the options for reading a file.

    Raises:
        typer.BadParameter: Two options contradict each other.
        typer.Exit: The template is invalid.
    """
    if template is not None and column is not None:
        raise typer.BadParameter("give either --template or --column (--field), not both")
    try:
        made = None if template is None else Template(template)
    except UnreadableInput as error:
        refuse("cannot use --template", *error.faults)
    return Choice(
        reading=Reading(format=file_format, encoding=encoding, delimiter=delimiter),
        columns=Columns(
            prompt=column,
            id=id_column,
            system=system_column,
            image=image_column,
            keep=tuple(name.strip() for name in keep.split(",")) if keep else (),
            template=made,
        ),
        limit=limit,
        shuffle=shuffle,
    )
