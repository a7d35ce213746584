"""The gate: every delivered file is read to its end before it may enter.

    inbox/<source>.<table>/ --waiting_files, inspect--> land -------> landing/
                                                  └---> quarantine -> quarantine/

A file is refused only when it cannot be read to its end, by this reader or by Spark's as far as
that is known of it, or when its columns cannot be told apart: no header, a column of the key
missing, a column of a type whose values the declared one does not all hold.
Bad lines in a readable file are no reason: they enter bronze raw. Nor are other columns, see
`ingestion.drift`. The names in landing hold nothing that Spark's file source stumbles over, and a
file's content decides its name.
"""

from __future__ import annotations

import errno
import hashlib
import itertools
import json
import os
import re
import shutil
import stat
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from io import FileIO
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ingestion.declaration import Column, SourceTable
from ingestion.drift import (
    NO_DRIFT,
    Drift,
    data_type_of,
    drift_of,
    fields_of,
    is_held,
    is_read,
    places_of,
    transcribed_batch,
    transcribed_lines,
    write_transcribed,
)
from ingestion.home import Home
from ingestion.stored import Place, Stored, below

# The longest line of text or value in Parquet, in bytes: below the 20,000,000 characters that
# Spark's JSON reader takes.
MAX_LINE_BYTES = 16 * 1024**2
# The most fields of a CSV line: Spark's reader fails the whole stream above 20,480.
MAX_CSV_FIELDS = 20_000
# The most, in bytes, that a compressed file may expand to: beyond any honest delivery.
MAX_EXPANDED_BYTES = 4 * 1024**3
# The longest name below the inbox folder, in bytes: encoded, it still fits into a path (4096).
MAX_NAME_BYTES = 1000

_CHUNK_BYTES = 128 * 1024
# So few that a large value which a dictionary repeats in every row does not fill the memory.
_BATCH_ROWS = 64
_BLANK = bytes(range(0x21))
_BOM = b"\xef\xbb\xbf"
# So much of the beginning tells what a file is: the name of tar stands at byte 257.
_HEAD_BYTES = 512
_GZIP = b"\x1f\x8b"
_ZIP = (b"PK\x03\x04", b"PK\x05\x06")
_PARQUET = b"PAR1"
_ENCRYPTED_PARQUET = b"PARE"
_UTF_16_32 = (b"\xff\xfe", b"\xfe\xff", b"\0\0\xfe\xff")
# What else files begin with that are delivered by mistake. No text begins with any of these.
_COMPRESSED = "it is compressed with {}; decompress it first"
_ARCHIVE = "it is a {} archive; deliver the files in it"
_OTHER_FORMAT = "it is {}; deliver it as {{format}}"
_SIGNATURES = tuple(
    (re.compile(pattern, re.DOTALL), reason)
    for pattern, reason in (
        (rb"\x28\xb5\x2f\xfd|\x50\x2a\x4d\x18", _COMPRESSED.format("zstd")),
        (rb"BZh[1-9]1AY&SY|BZh[1-9]\x17\x72", _COMPRESSED.format("bzip2")),
        (rb"\xfd7zXZ\0|\x5d\0\0", _COMPRESSED.format("xz")),
        (rb"\x04\x22\x4d\x18|\x02\x21\x4c\x18", _COMPRESSED.format("lz4")),
        (rb"\xff\x06\0\0sNaPpY", _COMPRESSED.format("snappy")),
        (rb"\x1f\x9d", _COMPRESSED.format("compress")),
        (rb"7z\xbc\xaf\x27\x1c", _ARCHIVE.format("7z")),
        (rb"Rar!\x1a\x07", _ARCHIVE.format("rar")),
        (rb"(?=[^\0]{1,150}\0).{257}ustar", _ARCHIVE.format("tar")),
        (rb"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", _OTHER_FORMAT.format("an old Excel or Office file")),
        (rb"PAR[1E]\x15", _OTHER_FORMAT.format("Parquet")),
        (rb"Obj\x01", _OTHER_FORMAT.format("Avro")),
        (rb"ORC(?=.*\0)", _OTHER_FORMAT.format("ORC")),
        (rb"ARROW1\0|FEA1\0", _OTHER_FORMAT.format("an Arrow file")),
        (rb"SQLite format 3\0", _OTHER_FORMAT.format("an SQLite database")),
    )
)
# Without limits on numbers (text is all that is needed) and with raw control characters.
_JSON = json.JSONDecoder(strict=False, parse_int=str, parse_float=str)
# How values may be written that Spark's reader takes; not among them is BYTE_STREAM_SPLIT.
_ENCODINGS = {
    "PLAIN",
    "RLE",
    "BIT_PACKED",
    "PLAIN_DICTIONARY",
    "RLE_DICTIONARY",
    "DELTA_BINARY_PACKED",
    "DELTA_LENGTH_BYTE_ARRAY",
    "DELTA_BYTE_ARRAY",
}
_CURE_OF_ENCODINGS = (
    "write it with none: parquet_version 'v1' in DuckDB, neither use_byte_stream_split nor "
    "column_encoding in pyarrow"
)
_CURE_OF_NANOSECONDS = (
    "write microseconds: coerce_timestamps='us', allow_truncated_timestamps=True in pyarrow and "
    "pandas, cast(... as timestamp) in DuckDB"
)

_ENCRYPTED = "it is encrypted; deliver it without encryption"
_EMPTY = "it is empty; deliver it with content"
_TOO_LONG = f"a line is longer than {MAX_LINE_BYTES} bytes; deliver shorter lines"
_NO_OBJECT = "no line is a JSON object; deliver one object a line, without an array around them"
_UTF_16_REASON = "it is UTF-16 or UTF-32; deliver it as UTF-8"
_CURE_OF_MOVES = "Give the user that runs lakehouse the rights to write it, and free space."

_UNFINISHED = (".tmp", ".part")
_MAX_FILE_NAME = 200
_CHUNK_OF_NAME = 180
_PLAIN_NAME = re.compile(r"[A-Za-z0-9._-]+")
_LANDING_PATH = re.compile(
    r"(?:.*/)?[0-9a-f]{64}(?:\.(?P<plain>[A-Za-z0-9._-]+)|[-_](?P<encoded>[A-Za-z0-9=/]+))"
    r"\.(?:csv|json|parquet|gz)"
)


class GateError(Exception):
    """The gate cannot do its work: a file or a folder cannot be read or written."""


class StillBeingWritten(Exception):  # noqa: N818 (no error: the file's turn is the next round)
    """The file changed or went away after it was first looked at; leave it for the next round."""


class _Refused(Exception):  # noqa: N818 (a verdict on the content)
    """Carries the reason from where it is found to the inspection."""


@dataclass(frozen=True)
class Inspection:
    """What the gate found out about a delivered file.

    Attributes:
        table: The table the file was delivered for.
        path: The file in the inbox; of one that is withdrawn, in landing.
        name: Its path below the table's inbox folder; bytes that are not UTF-8 show as hex.
        sha256: Hex digest of the delivered bytes; where the file was not opened, of its name and
            inode.
        size_bytes: The delivered size in bytes; 0 where the file was not opened.
        num_rows: The rows that bronze should receive; None when refused.
        extension: What the content is: csv, json, parquet or gz.
        reason: Why the file is refused, in plain words; None when accepted.
        seen: Inode, size and mtime (ns) at inspection, by which a later change is noticed.
        drift: How its columns differ from the declared ones. Of JSON nothing is known: each line
            has its own, and bronze tells.
    """

    table: SourceTable
    path: Place
    name: str
    sha256: str
    size_bytes: int
    num_rows: int | None
    extension: str
    reason: str | None
    seen: tuple[int, int, int]
    drift: Drift = NO_DRIFT

    @property
    def told(self) -> str | None:
        """Why it is refused, or how it has drifted; None where there is nothing to tell."""
        return self.reason or str(self.drift) or None


def waiting_files(home: Home, table: SourceTable) -> list[Path]:
    """Lists what waits in the table's inbox folder and its subfolders, sorted.

    Names that tell of a file which is still being written are left out, see `is_still_written`.
    Links are listed (to be refused), never followed.

    Raises:
        GateError: A folder cannot be read.
    """
    found: list[Path] = []
    folders = [home.inbox / table.folder]
    while folders:
        folder = folders.pop()
        with _explained(folder, "Give the user that runs lakehouse the rights to read it."):
            try:
                entries = list(os.scandir(folder))
            except FileNotFoundError:
                continue
            for entry in entries:
                if is_still_written(entry.name):
                    continue
                into = folders if entry.is_dir(follow_symlinks=False) else found
                into.append(Path(entry.path))
    return sorted(found)


def is_still_written(name: str) -> bool:
    """Says whether what has this name is left alone, as something that is yet to be renamed."""
    return name.startswith(".") or name.endswith(_UNFINISHED)


def accepted_name(name: str) -> str:
    """The nearest name to this one under which a file is taken in."""
    while len(display_name(os.fsencode(name)).encode()) > MAX_NAME_BYTES:
        name = name[1:]
    while is_still_written(name):
        name = name.lstrip(".")
        for ending in _UNFINISHED:
            name = name.removesuffix(ending)
    return name or "delivered"


def stray_entries(home: Home, tables: list[SourceTable]) -> list[Path]:
    """Lists what lies in `inbox/` and is never taken in, sorted: all but the tables' folders.

    Names that tell of a file which is still being written are left out.

    Raises:
        GateError: The inbox cannot be read.
    """
    expected = {table.folder for table in tables}
    with _explained(home.inbox, "Give the user that runs lakehouse the rights to read it."):
        try:
            paths = list(home.inbox.iterdir())
        except FileNotFoundError:
            return []
    return sorted(
        path for path in paths if not is_still_written(path.name) and path.name not in expected
    )


def inspect(path: Path, table: SourceTable, inbox_dir: Path) -> Inspection:
    """Reads a file to its end and decides whether it may enter.

    Text is read once, in constant memory; Parquet once for its digest and once batch by batch.

    Args:
        path: The file.
        table: The declaration it must fit.
        inbox_dir: The table's inbox folder.

    Raises:
        StillBeingWritten: The file changed, or was replaced or removed, while it was read.
        GateError: The file cannot be read, whatever is in it.
    """
    name = display_name(os.fsencode(path.relative_to(inbox_dir)))
    seen, mode = _state(path)
    if not stat.S_ISREG(mode):
        kind = "a link" if stat.S_ISLNK(mode) else "a device, pipe or socket"
        reason = f"it is {kind}, which is never opened; deliver the file itself"
        digest = hashlib.sha256(f"{name} {seen}".encode())  # no other's, whatever has this name
        return Inspection(
            table, path, name, digest.hexdigest(), 0, None, table.format, reason, seen
        )
    with (
        _explained(path, "Give the user that runs lakehouse the rights to read it."),
        _opened(path) as file,
    ):
        digest = hashlib.sha256()
        head = file.read(_HEAD_BYTES)
        file.seek(0)
        chunks = _read(file, digest)
        num_rows: int | None = None
        drift = NO_DRIFT
        refused_for: str | None = None
        try:
            num_rows, drift = _judge(file, chunks, head, table, name)
        except _Refused as refusal:
            refused_for = str(refusal)
        for _ in chunks:  # a file refused halfway is hashed to its end too
            pass
    if _state(path)[0] != seen:
        raise StillBeingWritten(f"{path} changed while it was read; it waits for the next round")
    extension = "gz" if head.startswith(_GZIP) else table.format
    return Inspection(
        table,
        path,
        name,
        digest.hexdigest(),
        seen[1],
        num_rows,
        extension,
        refused_for,
        seen,
        drift,
    )


def land(home: Home, inspection: Inspection) -> Place:
    """Moves an accepted file into landing, atomically and with the present as its mtime.

    A file that is there already is the same content under the same name, so the new one is
    removed. Of one that has to be transcribed the transcription lands, and the file itself goes
    into `archive/<source>.<table>/delivered/`. Repeating is harmless.

    Returns:
        Where the file stands now.

    Raises:
        StillBeingWritten: The file is not the one that was inspected any more.
        GateError: The file cannot be moved.
    """
    target = landing_path(home, inspection)
    with _explained(target.parent, _CURE_OF_MOVES):
        if _is_moved(inspection, target):
            return target
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists():
            inspection.path.unlink()
        elif inspection.drift.is_transcribed:
            _transcribe(home, inspection, target)
        else:
            with _explained(inspection.path, _CURE_OF_MOVES):
                os.utime(str(inspection.path))  # Spark passes over files much older than the newest
            _move(inspection.path, target)
    return target


def _transcribe(home: Home, inspection: Inspection, target: Place) -> None:
    """Lets the transcription of a file land, once the archive has a copy of the file."""
    table = inspection.table
    folder, name = f"{table.full_name}/delivered", _name_of_its_own(inspection)
    kept = home.archive / folder / name
    kept.parent.mkdir(parents=True, exist_ok=True)
    aside = home.aside / folder  # on this disk, wherever the archive is
    aside.mkdir(parents=True, exist_ok=True)
    copied, written = (aside / f"{name}.{part}.part" for part in ("file", "landing"))
    try:
        shutil.copyfile(str(inspection.path), copied, follow_symlinks=False)
        _check_unchanged(inspection)  # so that what is transcribed has been inspected
        with _opened(copied) as file:
            if table.format == "parquet":
                parquet = _parquet_file(file, _metadata(file))
                write_transcribed(_batches(parquet), table, written)
            else:
                lines = transcribed_lines(_filled_lines(file), table)
                with written.open("w", encoding="utf-8", newline="") as transcribed:
                    transcribed.writelines(lines)
        _check_unchanged(inspection)
        _move(copied, kept)
        _move(written, target)
    finally:
        copied.unlink(missing_ok=True)
        written.unlink(missing_ok=True)
    inspection.path.unlink()


def _filled_lines(file: FileIO) -> Iterator[str]:
    """The lines of a CSV file that has been accepted, but for those that are blank."""
    head = file.read(_HEAD_BYTES)
    file.seek(0)
    chunks = iter(lambda: file.read(_CHUNK_BYTES), b"")
    is_first = True
    for block in _blocks(gunzip(chunks) if head.startswith(_GZIP) else chunks):
        text = block.removeprefix(_BOM) if is_first else block
        is_first = False
        for line in text.replace(b"\r", b"\n").split(b"\n"):
            if line.strip(_BLANK):
                yield line.decode()


def quarantine(home: Home, inspection: Inspection) -> Path:
    """Moves a refused file into quarantine, beside a `.reason.txt`; a link itself is moved.

    Repeating is harmless.

    Returns:
        Where the file stands now.

    Raises:
        StillBeingWritten: The file is not the one that was inspected any more.
        GateError: The file cannot be moved.
    """
    folder = home.quarantine / inspection.table.folder
    target = folder / _name_of_its_own(inspection)
    with _explained(folder, _CURE_OF_MOVES):
        if _is_moved(inspection, target):
            return target
        folder.mkdir(parents=True, exist_ok=True)
        target.with_name(f"{target.name}.reason.txt").write_text(
            f"name: {inspection.name!r}\n"
            f"reason: {inspection.reason}\n"
            f"time: {datetime.now(UTC).isoformat(timespec='seconds')}\n",
            encoding="utf-8",
        )
        _move(inspection.path, target)
    return target


def _move(path: Place, target: Place) -> None:
    """Moves a file, from one filesystem to another by way of a copy under a hidden name."""
    match path, target:
        case Path(), Path():
            _move_on_disks(path, target)
        case Path(), Stored():
            state = _state(path)
            target.take(path)
            if _state(path) != state:
                target.unlink(missing_ok=True)
                raise StillBeingWritten(f"{path} changed while it was copied; next round")
            path.unlink()
        case Stored(), Path():
            copied = target.with_name(f".{target.name}.part")
            path.give(copied)
            copied.replace(target)
            path.unlink()
        case Stored(), Stored():
            path.replace(target)


def _move_on_disks(path: Path, target: Path) -> None:
    try:
        path.replace(target)
    except OSError as error:
        if error.errno not in (errno.EXDEV, errno.ENOTSUP):
            raise
        copied = target.with_name(f".{target.name}.part")
        state = _state(path)
        try:
            shutil.copyfile(path, copied, follow_symlinks=False)
            if _state(path) != state:
                raise StillBeingWritten(f"{path} changed while it was copied; next round") from None
            copied.replace(target)
        finally:
            copied.unlink(missing_ok=True)
        path.unlink()


def _name_of_its_own(inspection: Inspection) -> str:
    """A file's name where no other file has it, whatever that is called."""
    encoded = encode_name(inspection.name)
    if len(inspection.sha256) + 1 + len(encoded) > _MAX_FILE_NAME:
        encoded = f"{encoded[:100]}-{hashlib.sha256(encoded.encode()).hexdigest()[:16]}"
    return f"{inspection.sha256}-{encoded}"


def landed_files(home: Home, folder: str) -> dict[str, Place]:
    """All files in a table's landing, under whatever name, by their digest."""
    landing = home.landing / folder
    return {below(path, landing).partition("/")[0][:64]: path for path in _files_below(landing)}


def withdrawn(home: Home, table: SourceTable, path: Place, reason: str) -> Inspection:
    """What `quarantine` needs to know of a file in landing that cannot be read after all.

    Raises:
        GateError: The file cannot be looked at.
    """
    relative = below(path, home.landing / table.folder)
    seen, _ = _state(path)
    return Inspection(
        table=table,
        path=path,
        name=delivered_name(relative),
        sha256=relative[:64],
        size_bytes=seen[1],
        num_rows=None,
        extension=path.suffix.removeprefix("."),
        reason=reason,
        seen=seen,
    )


def archive_landed(home: Home, folder: str) -> int:
    """Moves all landed files of a table to `archive/<folder>/<day>/`; returns their number.

    Raises:
        GateError: A file cannot be moved.
    """
    landing = home.landing / folder
    archive = home.archive / folder / datetime.now(UTC).date().isoformat()
    with _explained(archive, _CURE_OF_MOVES):
        files = _files_below(landing)
        for path in files:
            target = archive / below(path, landing)
            target.parent.mkdir(parents=True, exist_ok=True)
            _move(path, target)
    return len(files)


def _files_below(folder: Place) -> list[Place]:
    # A hidden one is a copy that was broken off.
    paths = folder.rglob("*")
    return [path for path in paths if path.is_file() and not path.name.startswith(".")]


def discard(inspection: Inspection) -> None:
    """Removes an accepted file whose bytes have been taken in already.

    Raises:
        StillBeingWritten: The file is not the one that was inspected any more.
        GateError: The file cannot be removed.
    """
    with _explained(inspection.path, _CURE_OF_MOVES):
        if _state(inspection.path)[0] != inspection.seen:
            raise StillBeingWritten(f"{inspection.path} waits for the next round")
        inspection.path.unlink()


def landing_path(home: Home, inspection: Inspection) -> Place:
    """Returns `landing/<source>.<table>/<sha256>.<name>.<extension>`.

    A name with anything but ASCII letters, digits and `._-`, or one with which the file's name gets
    over 200 characters, is encoded: `<sha256>-<encoded name>.<extension>`. Where that is too long,
    it is cut, and all pieces but the last become folders. A transcription's is encoded too, after
    `_` in place of `-`.
    """
    folder = home.landing / inspection.table.folder
    is_transcribed = inspection.drift.is_transcribed
    extension = inspection.table.format if is_transcribed else inspection.extension
    plain = f"{inspection.sha256}.{inspection.name}.{extension}"
    is_plain = _PLAIN_NAME.fullmatch(inspection.name) and len(plain) <= _MAX_FILE_NAME
    if is_plain and not is_transcribed:
        return folder / plain
    start = f"{inspection.sha256}{'_' if is_transcribed else '-'}"
    rest = encode_name(inspection.name)
    pieces = []
    if len(f"{start}{rest}.{extension}") > _MAX_FILE_NAME:
        while len(rest) > _CHUNK_OF_NAME:
            last_escape = rest.rfind("=", _CHUNK_OF_NAME - 2, _CHUNK_OF_NAME)
            cut = last_escape if last_escape >= 0 else _CHUNK_OF_NAME
            pieces.append(rest[:cut])
            rest = rest[cut:]
    relative = "/".join([*pieces, rest])
    return folder / f"{start}{relative}.{extension}"


def delivered_name(landing_path_string: str) -> str:
    """Returns the name that a file in landing was delivered under, from its path.

    Raises:
        ValueError: The path is none that `landing_path` makes.
    """
    match = _LANDING_PATH.fullmatch(landing_path_string)
    if not match:
        raise ValueError(f"{landing_path_string!r} is no path of a landed file")
    if match["plain"]:
        return match["plain"]
    escaped = match["encoded"].replace("/", "")
    return re.sub(
        rb"=(..)", lambda code: bytes.fromhex(code[1].decode()), escaped.encode()
    ).decode()


def display_name(raw: bytes) -> str:
    r"""Returns a file name as valid Unicode: bytes that are not UTF-8 show as `\xff`."""
    return raw.decode("utf-8", "backslashreplace")


def encode_name(name: str) -> str:
    """Keeps ASCII letters and digits, and writes every other byte of the UTF-8 text as `=XX`."""
    return re.sub(rb"[^A-Za-z0-9]", lambda byte: b"=%02X" % ord(byte[0]), name.encode()).decode()


def count_rows(chunks: Iterator[bytes], table: SourceTable) -> tuple[int, Drift]:
    r"""Reads the text of a CSV or JSON file to its end and counts the rows that bronze receives.

    A row is a line with more than spaces and control characters (up to U+0020) in it; lines end
    with `\n`, `\r\n` or `\r`, as Hadoop's line reader has it. A CSV header is no row.

    Returns:
        The number of rows, and how the columns differ from the declared ones.

    Raises:
        _Refused: The text may not enter; holds the reason.
    """
    rows = line_ends = 0
    head = last = b""
    drift = NO_DRIFT
    is_awaited = True  # the CSV header, or the first JSON object
    for block in _blocks(chunks):
        if not head:
            _check_signature(block[:_HEAD_BYTES], table)
            head = block[:4]
        try:
            block.decode()
        except UnicodeDecodeError as error:
            line = line_ends + _line_ends(last, block[: error.start]) + 1
            raise _Refused(f"line {line} is not valid UTF-8; deliver the file as UTF-8") from error
        # \r\n makes a blank line more, which does not count
        lines = block.replace(b"\r", b"\n").split(b"\n")
        if len(block) > MAX_LINE_BYTES and max(map(len, lines)) > MAX_LINE_BYTES:
            raise _Refused(_TOO_LONG)
        if table.format == "csv" and len(block) >= MAX_CSV_FIELDS:
            _check_fields(lines)
        if not line_ends:
            lines[0] = lines[0].removeprefix(_BOM)
        filled = [line for line in lines if line.strip(_BLANK)]
        if is_awaited and filled and table.format == "csv":
            drift = _drift_of_header(filled[0], table, head)
            is_awaited = False
        elif table.format == "json":
            is_awaited = is_awaited and not any(_object(line) is not None for line in filled)
            if table.unknown_columns == "fail":
                _check_objects(filled, table)
        if table.format == "csv" and not drift.is_transcribed and _has_open_quote(block, filled):
            drift = replace(drift, is_transcribed=True)
        rows += len(filled)
        line_ends += _line_ends(last, block)
        last = block[-1:]
    if not rows:
        raise _Refused(_EMPTY)
    if is_awaited:
        raise _Refused(_UTF_16_REASON if b"\0" in head else _NO_OBJECT)
    return rows - (table.format == "csv"), drift


def gunzip(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Expands gzip data of one or more members, with checksums, to their very end.

    Raises:
        _Refused: The data is no whole gzip file or too large; holds the reason.
    """
    expanded = 0
    member = zlib.decompressobj(wbits=31)
    for chunk in chunks:
        rest = chunk
        while rest:
            if member.eof:
                if not _GZIP.startswith(rest[:2]):
                    raise _Refused("something else follows the gzip data; deliver it without")
                member = zlib.decompressobj(wbits=31)
            try:
                piece = member.decompress(rest, _CHUNK_BYTES)
            except zlib.error as error:
                raise _Refused("the gzip data is corrupt; deliver it again") from error
            rest = member.unused_data if member.eof else member.unconsumed_tail
            expanded += len(piece)
            if expanded > MAX_EXPANDED_BYTES:
                raise _Refused(_too_large())
            if piece:
                yield piece
    if not member.eof:
        raise _Refused("the gzip data is truncated; deliver it again")


def _judge(
    file: FileIO, chunks: Iterator[bytes], head: bytes, table: SourceTable, name: str
) -> tuple[int, Drift]:
    if len(name.encode()) > MAX_NAME_BYTES:
        raise _Refused(
            f"the name has more than {MAX_NAME_BYTES} bytes; deliver it under a shorter one"
        )
    if not head:
        raise _Refused(_EMPTY)
    is_gzip = head.startswith(_GZIP)
    if name.lower().endswith(".gz") and not is_gzip:
        raise _Refused("the name ends with .gz but the content is not gzip; name it as it is")
    if head.startswith(_ZIP):
        raise _Refused(
            "it is a zip archive; deliver the files in it, an Excel workbook (.xlsx) as "
            f"{table.format}"
        )
    if table.format != "parquet":
        return count_rows(gunzip(chunks) if is_gzip else chunks, table)
    if is_gzip:
        raise _Refused("it is gzip; deliver the Parquet file itself")
    for _ in chunks:  # Parquet is read from its end, so the digest needs a pass of its own
        pass
    return _read_parquet(file, head, table)


def _blocks(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Cuts chunks anew, after line ends: a block holds whole lines, at least one."""
    parts: list[bytes] = []
    size = 0
    for chunk in chunks:
        end = max(chunk.rfind(b"\n"), chunk.rfind(b"\r")) + 1
        if end:
            yield b"".join([*parts, chunk[:end]])
            parts, size = [], 0
        parts.append(chunk[end:])
        size += len(chunk) - end
        if size > MAX_LINE_BYTES:
            raise _Refused(_TOO_LONG)
    if size:
        yield b"".join(parts)


def _line_ends(last: bytes, text: bytes) -> int:
    r"""Counts line ends; a first `\n` belongs to a `\r` that came last before the text."""
    ends = text.count(b"\n") + text.count(b"\r") - text.count(b"\r\n")
    return ends - (last == b"\r" and text.startswith(b"\n"))


def _check_signature(head: bytes, table: SourceTable) -> None:
    if head.startswith((_GZIP, *_ZIP)):
        raise _Refused("there is another gzip or a zip inside the gzip; compress once, with gzip")
    _check_other_format(head, table)
    if head.startswith(_UTF_16_32):
        raise _Refused(_UTF_16_REASON)
    if head.startswith(_BOM) and table.format == "json":
        raise _Refused("it begins with a byte order mark; deliver JSON lines without one")


def _check_other_format(head: bytes, table: SourceTable) -> None:
    for signature, reason in _SIGNATURES:
        if signature.match(head):
            raise _Refused(reason.format(format=table.format))


def _has_open_quote(block: bytes, lines: list[bytes]) -> bool:
    """Whether a line may end within quotes, as before a line end in a field: Spark closes them.

    It would take a part of a value for all of it; the transcription does not.
    """
    return b'"' in block and any(line.count(b'"') % 2 for line in lines)


def _check_fields(lines: list[bytes]) -> None:
    if any(len(line) >= MAX_CSV_FIELDS and line.count(b",") >= MAX_CSV_FIELDS for line in lines):
        raise _Refused(
            f"a line has more than {MAX_CSV_FIELDS} fields; deliver lines like the header"
        )


def _drift_of_header(line: bytes, table: SourceTable, head: bytes) -> Drift:
    """How a CSV file's header differs from the declared columns; Spark binds them by position.

    Raises:
        _Refused: It is no header, or columns cannot be told apart.
    """
    text = line.decode()
    fields = fields_of(text)
    names = [text] if fields is None else [name or "" for name in fields]
    if set(table.key) - places_of(names, table).keys():
        if b"\0" in head:
            raise _Refused(_UTF_16_REASON)
        _check_separator(text, table)
    _check_names(names, table)
    declared = [column.name.lower() for column in table.columns]
    return drift_of(
        [Column(name, "string") for name in names],
        table,
        is_transcribed=[name.lower() for name in names] != declared,
    )


def _check_separator(text: str, table: SourceTable) -> None:
    for mark, word in ((";", "semicolons"), ("\t", "tabs")):
        others = [name.strip(' "') for name in text.split(mark)]
        if mark in text and not set(table.key) - places_of(others, table).keys():
            raise _Refused(f"{word} separate its columns; separate them by commas")


def _check_names(names: Sequence[str], table: SourceTable) -> None:
    """Looks at the delivered names of columns.

    Raises:
        _Refused: They cannot be told apart, one of the key is missing, or one is not declared and
            the source fails there.
    """
    there = places_of(names, table)
    if missing := [name for name in table.key if name not in there]:
        raise _Refused(
            f"columns of the key are missing: {_shorten(', '.join(missing))}; "
            f"found {_shorten(', '.join(names))}"
            + ("; begin with a header" if table.format == "csv" else "")
        )
    if len({name.lower() for name in names}) < len(names):
        raise _Refused(
            "two columns have one name (upper and lower case are the same): "
            f"{_shorten(', '.join(names))}"
        )
    declared = {column.name.lower() for column in table.columns}
    _check_declared([name for name in names if name.lower() not in declared], table)


def _check_declared(unknown: list[str], table: SourceTable) -> None:
    if unknown and table.unknown_columns == "fail":
        raise _Refused(
            f"columns are not declared: {_shorten(', '.join(unknown))}; "
            "leave them out or declare them"
        )


def _check_objects(lines: list[bytes], table: SourceTable) -> None:
    declared = {column.name for column in table.columns}
    for line in lines:
        _check_declared([name for name in _object(line) or () if name not in declared], table)


def _object(line: bytes) -> dict[str, Any] | None:
    try:
        found = _JSON.decode(line.strip(_BLANK).decode())
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _read_parquet(file: FileIO, head: bytes, table: SourceTable) -> tuple[int, Drift]:
    if head.startswith(_ENCRYPTED_PARQUET):
        raise _Refused(_ENCRYPTED)
    if not head.startswith(_PARQUET):
        _check_other_format(head, table)
        raise _Refused("it is not a Parquet file; deliver Parquet")
    file.seek(-len(_PARQUET), os.SEEK_END)
    if file.read() != _PARQUET:
        raise _Refused("the Parquet file is truncated; deliver it again")
    try:
        metadata = _metadata(file)
        parquet = _parquet_file(file, metadata)
        drift = _drift_of_schema(parquet.schema_arrow, table)
        groups = [metadata.row_group(index) for index in range(metadata.num_row_groups)]
        if sum(group.total_byte_size for group in groups) > MAX_EXPANDED_BYTES:
            raise _Refused(_too_large())
        coarser = _coarser_times(parquet.schema_arrow)
        num_rows = expanded = 0
        for batch in _batches(parquet):
            expanded += _checked_size(batch, coarser, num_rows)
            if drift.is_transcribed:
                transcribed_batch(batch, table)  # so that it does not fail when the file lands
            num_rows += batch.num_rows
            if expanded > MAX_EXPANDED_BYTES:
                raise _Refused(_too_large())
        _check_pages(groups, table)
    except _Refused:
        raise
    except Exception as error:  # whatever the reader makes of hostile bytes
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the disk's fault, not the content's
        if "decrypt" in str(error):
            raise _Refused(_ENCRYPTED) from error
        raise _Refused(
            f"the Parquet file cannot be read to its end: {_shorten(str(error))}; deliver it again"
        ) from error
    if num_rows != metadata.num_rows:
        raise _Refused(
            f"the Parquet file promises {metadata.num_rows} rows and holds {num_rows}; "
            "deliver it again"
        )
    return num_rows, drift


def _parquet_file(file: FileIO, metadata: pq.FileMetaData) -> pq.ParquetFile:
    return pq.ParquetFile(
        file,
        metadata=metadata,
        buffer_size=_CHUNK_BYTES,
        coerce_int96_timestamp_unit="us",
        page_checksum_verification=True,
    )


def _batches(parquet: pq.ParquetFile) -> Iterator[pa.RecordBatch]:
    return parquet.iter_batches(_BATCH_ROWS, use_threads=False)  # type: ignore[no-any-return]


def _metadata(file: FileIO) -> pq.FileMetaData:
    """The footer, without the types that Arrow notes down for itself and Spark does not know.

    By these a column of text would come with all its dictionary in each batch, and not at all from
    some encodings.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - 8))
    ending = file.read()
    start = size - 8 - int.from_bytes(ending[:4], "little")
    if start < len(_PARQUET):
        raise ValueError("its footer is longer than the file")
    file.seek(start)
    footer = file.read(size - 8 - start).replace(b"ARROW:schema", b"Arrow schema")
    return pq.read_metadata(pa.BufferReader(_PARQUET + footer + ending))


def _coarser_times(schema: pa.Schema) -> dict[int, pa.Field]:
    """The columns of times, by index, that Spark makes microseconds of."""
    return {
        index: field.with_type(pa.timestamp("us", field.type.tz))
        for index, field in enumerate(schema)
        if pa.types.is_timestamp(field.type) and field.type.unit in {"s", "ms"}
    }


def _checked_size(batch: pa.RecordBatch, coarser: dict[int, pa.Field], rows_before: int) -> int:
    """The size of a batch's values, in bytes.

    Raises:
        _Refused: A value is none that Spark holds: text that is not UTF-8, a time or a number that
            is too large, more bytes than a value may have.
    """
    values = batch
    try:
        for index, field in coarser.items():
            values = values.set_column(index, field, batch.column(index).cast(field.type))
        values.validate(full=True)
    except pa.ArrowInvalid as error:
        fields = {**dict(enumerate(batch.schema)), **coarser}
        for row, index in itertools.product(range(batch.num_rows), fields):
            value = batch.column(index)[row : row + 1]
            _check_value(value, fields[index], rows_before + row + 1)
        raise _Refused(f"the values are not valid: {_shorten(str(error))}") from error
    size: int = values.nbytes
    if size > MAX_LINE_BYTES:
        for field, column in zip(values.schema, values.columns, strict=True):
            _check_lengths(column, field)
    return size


def _check_value(value: pa.Array, field: pa.Field, row: int) -> None:
    try:
        value.cast(field.type).validate(full=True)
    except pa.ArrowInvalid as error:
        faults = {
            pa.types.is_timestamp: "a time beyond the year 294247, or as long ago; deliver null",
            pa.types.is_decimal: f"a number too large for {field.type}; deliver null",
            pa.types.is_string: "text that is not valid UTF-8; deliver it as UTF-8",
        }
        fault = next(
            (told for is_of_type, told in faults.items() if is_of_type(field.type)),
            f"a value that is not valid: {_shorten(str(error))}",
        )
        raise _Refused(f"column {field.name}, row {row}: {fault}") from error


def _check_lengths(values: pa.Array, field: pa.Field) -> None:
    if not pa.types.is_string(field.type):
        return
    longest = pc.max(pc.binary_length(values)).as_py() or 0
    if longest > MAX_LINE_BYTES:
        raise _Refused(
            f"column {field.name} holds a value of more than {MAX_LINE_BYTES} bytes; "
            "deliver shorter ones"
        )


def _check_pages(groups: list[Any], table: SourceTable) -> None:
    """Looks at how the declared columns are compressed and encoded.

    Not before all of them have been read, and only where there were rows to read: to ask a damaged
    footer for this ends the process.
    """
    declared = {column.name for column in table.columns}
    for group in groups:
        for index in range(group.num_columns) if group.num_rows else ():
            column = group.column(index)
            if (name := column.path_in_schema) not in declared:
                continue
            if column.compression == "BROTLI":
                raise _Refused("it is compressed with Brotli, which Spark cannot read; use zstd")
            if strange := set(column.encodings) - _ENCODINGS:
                raise _Refused(
                    f"column {name} has the encoding {min(strange)}, which Spark cannot read; "
                    f"{_CURE_OF_ENCODINGS}"
                )


def _drift_of_schema(schema: pa.Schema, table: SourceTable) -> Drift:
    """How a Parquet file's columns differ from the declared ones; Spark binds them by name.

    Raises:
        _Refused: Columns cannot be told apart, or one has values that its type does not hold.
    """
    _check_names(schema.names, table)
    places = places_of(schema.names, table)
    is_transcribed = len(places) < len(schema)
    for column in table.columns:
        if column.name not in places:
            continue
        field = schema.field(places[column.name])
        if not is_held(column.data_type, field.type):
            is_too_fine = column.data_type == "timestamp" and pa.types.is_timestamp(field.type)
            cure = f"; {_CURE_OF_NANOSECONDS}" if is_too_fine else ""
            raise _Refused(
                f"column {column.name} is {_shorten(str(field.type))}; "
                f"expected {column.data_type}{cure}"
            )
        is_transcribed |= field.name != column.name or not is_read(column.data_type, field.type)
    delivered = [Column(field.name, data_type_of(field.type)) for field in schema]
    return drift_of(delivered, table, is_transcribed=is_transcribed)


def _too_large() -> str:
    return f"it expands to more than {MAX_EXPANDED_BYTES} bytes; deliver it in smaller files"


def _shorten(text: str) -> str:
    return repr(text if len(text) <= 200 else f"{text[:200]}...")


@contextmanager
def _explained(path: Place, cure: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise GateError(f"{path}: {error.strerror or error}. {cure}") from error


def _opened(path: Path) -> FileIO:
    """Opens a file; should it be a link or a pipe by now, it neither follows nor waits for it."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENOENT):
            raise StillBeingWritten(f"{path} was replaced while it was looked at") from error
        raise
    return FileIO(descriptor)


def _read(file: FileIO, digest: hashlib._Hash) -> Iterator[bytes]:
    while chunk := file.read(_CHUNK_BYTES):
        digest.update(chunk)
        yield chunk


def _state(path: Place) -> tuple[tuple[int, int, int], int]:
    """Returns inode, size and mtime (ns), by which a change is noticed, and the mode."""
    with _explained(path, "Give the user that runs lakehouse the rights to read it."):
        try:
            state = path.lstat()
        except FileNotFoundError as error:
            raise StillBeingWritten(f"{path} went away before it was taken in") from error
    return (state.st_ino, state.st_size, state.st_mtime_ns), state.st_mode


def _is_moved(inspection: Inspection, target: Place) -> bool:
    """Says whether an earlier call has moved the file; raises when another stands in its place."""
    try:
        _state(inspection.path)
    except StillBeingWritten:
        if target.exists() if isinstance(target, Stored) else os.path.lexists(target):
            return True
        raise
    _check_unchanged(inspection)
    return False


def _check_unchanged(inspection: Inspection) -> None:
    if _state(inspection.path)[0] != inspection.seen:
        raise StillBeingWritten(f"{inspection.path} changed after it was read; next round")
