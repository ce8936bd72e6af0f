"""Markdown: tables, aligned so that they read in a terminal too, and text that stays text."""

from collections.abc import Collection, Iterable, Sequence

# What would be a tag, a new column or a new line; a backslash first, or it would undo the others.
ESCAPES = str.maketrans({"\\": r"\\", "|": r"\|", "<": r"\<", "\n": " ", "\r": " "})


def markdown_table(
    head: Sequence[str], rows: Iterable[Sequence[str]], left: Collection[int] = (0,)
) -> str:
    """Return a table as Markdown, without a final line break; their text is escaped.

    Args:
        head: the headings.
        rows: as many cells each as there are headings; emphasis in them is kept.
        left: columns of text, aligned to the left; the others are aligned to the right.
    """
    lines = [[escaped(cell) for cell in line] for line in (head, *rows)]
    widths = [max(3, *map(len, column)) for column in zip(*lines, strict=True)]
    ruler = ["-" * (w - (k not in left)) + ":" * (k not in left) for k, w in enumerate(widths)]
    aligned = [
        [
            cell.ljust(width) if k in left else cell.rjust(width)
            for k, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        for line in (lines[0], ruler, *lines[1:])
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in aligned)


def escaped(text: str) -> str:
    """Return text in one line without tags, links and bars of its own; emphasis is kept."""
    return text.translate(ESCAPES).replace("](", r"]\(")
