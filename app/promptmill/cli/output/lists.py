"""Lists for people: one line per item; on narrow terminals a paragraph per item."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from promptmill.cli.output.terminal import out

_GAP: Final = "  "
_LEADING: Final = 2


def print_list(
    heads: Sequence[str], rows: Sequence[Sequence[str]], notes: Sequence[str] = ()
) -> None:
    """Print rows of cells to stdout, without columns in which every cell is empty.

    The first two cells identify a row and give its state; they begin its paragraph. `notes` has a
    sentence for each row, or an empty text, which is printed below the row.
    """
    from rich.cells import cell_len, set_cell_size  # noqa: PLC0415 - slow to load
    from rich.padding import Padding  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    console = out()
    told = notes or [""] * len(rows)
    used = [place for place in range(len(heads)) if any(row[place] for row in rows)]
    widths = [max(cell_len(row[place]) for row in [heads, *rows]) for place in used]
    if console.is_terminal and sum(widths) + len(_GAP) * (len(used) - 1) > console.width:
        for row, note in zip(rows, told, strict=True):
            console.print(Text(_GAP.join(row[:_LEADING]), style="bold"))
            facts = [
                f"{head}: {cell}"
                for head, cell in zip(heads[_LEADING:], row[_LEADING:], strict=True)
                if cell
            ]
            for line in filter(None, ["; ".join(facts), note]):
                console.print(Padding(Text(line), (0, 0, 0, len(_GAP))))
        return
    console.soft_wrap = True
    for number, (row, note) in enumerate(zip([heads, *rows], ["", *told], strict=True)):
        cells = [
            set_cell_size(row[place], width) for place, width in zip(used, widths, strict=True)
        ]
        console.print(Text(_GAP.join(cells).rstrip(), style="" if number else "bold"))
        if note:
            console.print(Text(f"{_GAP}{note}"))
