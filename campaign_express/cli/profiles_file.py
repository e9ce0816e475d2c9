"""Files of profiles: JSON lines or CSV, a person a line. A line that is wrong is told with its number and left out."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, BinaryIO

import msgspec
from msgspec import Meta, Struct

from campaign_express.adapters.users_profiles import Row
from campaign_express.bidding.identity import MAX_ID, normal

COLUMNS = ("ids", "segments", "interests", "ttl_days")
_SEPARATOR = "|"  # of several values in one CSV column

_Id = Annotated[str, Meta(min_length=3, max_length=MAX_ID, pattern=r"^[^:\s]+:\S+$")]
_Segment = Annotated[str, Meta(min_length=1, max_length=128)]
_Days = Annotated[float, Meta(gt=0, le=3650)]


class _Line(Struct, forbid_unknown_fields=True):
    ids: Annotated[tuple[_Id, ...], Meta(min_length=1, max_length=16)]
    segments: Annotated[tuple[_Segment, ...], Meta(max_length=1000)] = ()
    interests: Annotated[tuple[float, ...], Meta(max_length=512)] = ()
    ttl_days: _Days | None = None


_json = msgspec.json.Decoder(_Line)


class BadLine(Struct):
    """A line that is no person, and why."""

    line: int
    why: str


def lines_of(path: Path, file: BinaryIO) -> Iterator[tuple[int, Row | BadLine]]:
    """(end of the line in bytes, row or what is wrong), line by line. `.csv` is CSV with a header, all else JSON lines.

    Empty lines are passed over. A CSV without its header is one bad line.
    """
    return _csv_lines(file) if path.suffix.lower() == ".csv" else _json_lines(file)


def _json_lines(file: BinaryIO) -> Iterator[tuple[int, Row | BadLine]]:
    end = 0
    for number, line in enumerate(file, 1):
        end += len(line)
        if not line.isspace():
            try:
                yield end, _row(_json.decode(line))
            except (msgspec.DecodeError, ValueError) as error:
                yield end, BadLine(number, str(error))


def _csv_lines(file: BinaryIO) -> Iterator[tuple[int, Row | BadLine]]:
    end = 0

    def text() -> Iterator[str]:
        nonlocal end
        for raw in file:
            end += len(raw)
            yield raw.decode("utf-8-sig" if end == len(raw) else "utf-8", "surrogateescape")

    reader = csv.reader(text())
    header = next(reader, [])
    if "ids" not in header or not set(header) <= set(COLUMNS):
        yield end, BadLine(1, f"the columns must be some of {', '.join(COLUMNS)}, with ids among them")
        return
    while True:
        try:
            values = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield end, BadLine(reader.line_num, str(error))
            continue
        if not values:
            continue
        try:
            if any("\udc80" <= character <= "\udcff" for value in values for character in value):
                raise ValueError("is not UTF-8")
            if len(values) != len(header):
                raise ValueError(f"has {len(values)} columns, the header {len(header)}")
            yield end, _row(msgspec.convert(_cells(dict(zip(header, values, strict=True))), _Line, strict=False))
        except (msgspec.ValidationError, ValueError) as error:
            yield end, BadLine(reader.line_num, str(error))


def _cells(cells: dict[str, str]) -> dict[str, object]:
    made: dict[str, object] = {
        name: [part for part in cells[name].split(_SEPARATOR) if part]
        for name in ("ids", "segments", "interests")
        if name in cells
    }
    if cells.get("ttl_days"):
        made["ttl_days"] = cells["ttl_days"]
    return made


def _row(line: _Line) -> Row:
    for value in line.interests:
        if not abs(value) <= 3.4e38:  # also what is no number
            raise ValueError(f"{value} is no interest: not a 32-bit number - at `$.interests`")
    return Row(tuple(map(normal, line.ids)), line.segments, line.interests, int((line.ttl_days or 0) * 86_400))
