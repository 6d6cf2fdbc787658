"""Reads the text of an export: UTF-8 or UTF-16, with commas, semicolons or tabs between its cells.

Every error names the line of the file, where the header is line 1.
"""

import codecs
import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from services.core.errors import Invalid

_SEPARATORS = ",;\t"
_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


@dataclass(frozen=True)
class Table:
    """A header, and each record with the line that it starts on."""

    header: list[str]
    records: Iterator[tuple[int, list[str]]]
    separator: str


def line_error(line: int, column: str, message: str) -> Invalid:
    """Return the error about a cell or, with an empty column, about a line."""
    position = f"Line {line}, {column}" if column else f"Line {line}"
    return Invalid(f"{position}: {message}", field=f"file.{line}.{column}")


def read_table(path: Path) -> Table:
    """Read a file; its records are parsed as they are asked for.

    Raises:
        Invalid: the file cannot be read, is empty, or is no text.
    """
    text = _read_text(path)
    separator = _find_separator(text)
    records = _parse_records(text, separator)
    _, header = next(records, (1, []))
    header = [name.strip() for name in header]
    if not any(header):
        raise line_error(1, "", "the file is empty")
    return Table(header, records, separator)


def _read_text(path: Path) -> str:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise Invalid(f"{path} cannot be read: {error.strerror}", field="file") from error
    encoding = "utf-16" if data.startswith(_UTF_16) else "utf-8-sig"
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        if encoding == "utf-16":
            raise line_error(1, "", "the file is not UTF-16, although it begins like it") from error
        raise line_error(data.count(b"\n", 0, error.start) + 1, "", "the file is not UTF-8") from error
    if "\x00" in text:
        raise line_error(text.count("\n", 0, text.index("\x00")) + 1, "", "the file contains a NUL character")
    return text


def _find_separator(text: str) -> str:
    """Return the separator that the header has most of; without any, the comma."""
    header = text.lstrip().partition("\n")[0]
    return max(_SEPARATORS, key=header.count)


def _parse_records(text: str, separator: str) -> Iterator[tuple[int, list[str]]]:
    """Yield each record with the line that it starts on, skipping blank lines."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True, delimiter=separator)
    while True:
        line = reader.line_num + 1
        try:
            record = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise line_error(line, "", f"the file is not CSV: {error}") from error
        if record:
            yield line, record
