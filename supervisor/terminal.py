"""What the commands share about where they print: colours, tables, a width; and how they end when the reader does.

Law: on a terminal colours and cut columns, in a pipe plain text and all of it. Nothing that is shown can steer the
terminal: what does not print is shown escaped.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import MappingProxyType
from typing import Final, Literal, NoReturn, TextIO, TypeAlias

import attrs
import typer

from .streams import INTERRUPTED, in_colours, silence

Style: TypeAlias = Literal["plain", "dim", "bold", "red", "green", "yellow", "cyan", "bold red"]

_CODES: Final[Mapping[str, str]] = MappingProxyType(
    {"dim": "2", "bold": "1", "red": "31", "green": "32", "yellow": "33", "cyan": "36", "bold red": "1;31"}
)


@attrs.frozen
class Terminal:
    """Where a command prints. `width` in characters; None: a pipe or a file, nothing is cut."""

    stream: TextIO
    colours: bool = False
    width: int | None = None

    @classmethod
    def of(cls, stream: TextIO, environ: Mapping[str, str]) -> Terminal:
        """What `stream` is. NO_COLOR in the environment, whatever it says, means no colours; so does TERM=dumb."""
        if not stream.isatty():
            return cls(stream)
        return cls(stream, colours=in_colours(environ), width=shutil.get_terminal_size().columns)

    def paint(self, text: str, style: Style) -> str:
        """`text` in that style, or as it is."""
        return f"\x1b[{_CODES[style]}m{text}\x1b[0m" if self.colours and style in _CODES and text else text

    def print(self, text: str = "") -> None:
        """One line, or several."""
        self.stream.write(f"{text}\n")

    def table(self, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Columns as wide as their widest cell; the last one is cut at the edge of a terminal."""
        widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
        for number, row in enumerate((head, *rows)):
            cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
            line = "  ".join(cells).rstrip()
            if self.width is not None and len(line) > self.width:
                line = f"{line[: self.width - 1]}…"
            self.print(self.paint(line, "bold" if number == 0 else "plain"))


def printable(text: str) -> str:
    """`text` on one line, with what does not print escaped."""
    return text if text.isprintable() else "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)


def refuse(command: str, why: str, code: int) -> NoReturn:
    """One line on the standard error, and the end."""
    typer.echo(f"tars {command}: {why}", err=True)
    raise typer.Exit(code)


@contextmanager
def ending_quietly() -> Iterator[None]:
    """Ctrl-C is exit code 130, a reader that has gone is 0, a full disk is 1 and a line; none is a traceback."""
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        silence(sys.stdout)
        raise typer.Exit(0) from None
    except OSError as error:
        silence(sys.stdout)
        what = "the standard output" if error.filename is None else error.filename
        typer.echo(f"tars: {what}: {(error.strerror or str(error)).lower()}", err=True)
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None
