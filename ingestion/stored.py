"""Paths in S3-compatible storage, for the few things that ingestion does to folders of a home.

A driver on another machine finds there what this one has landed, and the cluster's workers read it.
Which storage, and with which keys, is told by the environment as for every client of S3:
`AWS_ENDPOINT_URL`, `AWS_REGION`, `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, or the machine's
role.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import pyarrow as pa
from pyarrow import fs

# The pieces in which a file goes there and back.
_CHUNK_BYTES = 8 * 1024**2
_ADDRESS = re.compile(r"s3a://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9](?:/[A-Za-z0-9._=-]+)*)/?")


class State(NamedTuple):
    """What a disk tells of a file, as far as storage knows it: sizes in bytes, times in ns or s."""

    st_mode: int
    st_size: int
    st_mtime_ns: int
    st_ino: int = 0

    @property
    def st_mtime(self) -> float:
        """When it was written, in epoch seconds."""
        return self.st_mtime_ns / 1e9


@dataclass(frozen=True, order=True)
class Stored:
    """A path in storage, which is used as a `Path` is: `s3a://<bucket>/<folder>/...`.

    An object is there whole or not at all, under its name from the first moment, so nothing is
    written under another name first. What fails raises OSError, as a disk does.

    Attributes:
        key: The bucket and what follows.
        listed: What the listing that found it has told; to ask for each anew would take its time.
    """

    key: PurePosixPath
    listed: fs.FileInfo | None = field(default=None, compare=False, repr=False)

    @classmethod
    def at(cls, address: str) -> Stored:
        """The path of an address.

        Raises:
            ValueError: It is none of S3-compatible storage.
        """
        match = _ADDRESS.fullmatch(address)
        if not match:
            raise ValueError(f"{address!r} is no address like s3a://bucket/folder")
        return cls(PurePosixPath(match[1]))

    def __str__(self) -> str:
        return f"s3a://{self.key}"

    def __truediv__(self, name: str | PurePosixPath) -> Stored:
        return Stored(self.key / name)

    @property
    def name(self) -> str:
        """The last piece."""
        return self.key.name

    @property
    def stem(self) -> str:
        """The last piece without its extension."""
        return self.key.stem

    @property
    def suffix(self) -> str:
        """The extension, with its dot."""
        return self.key.suffix

    @property
    def parent(self) -> Stored:
        """The folder that it is in."""
        return Stored(self.key.parent)

    @property
    def parts(self) -> tuple[str, ...]:
        """The pieces, the bucket first."""
        return self.key.parts

    def with_name(self, name: str) -> Stored:
        """The same path with another last piece."""
        return Stored(self.key.with_name(name))

    def exists(self) -> bool:
        """Whether there is an object, or anything below it."""
        return bool(self._info().type != fs.FileType.NotFound)

    def is_file(self) -> bool:
        """Whether there is an object of this name."""
        return bool(self._info().type == fs.FileType.File)

    def is_dir(self) -> bool:
        """Whether there is anything below it, or was made to be."""
        return bool(self._info().type == fs.FileType.Directory)

    def lstat(self) -> State:
        """What is known of it.

        Raises:
            FileNotFoundError: There is nothing.
        """
        info = self._info()
        if info.type == fs.FileType.NotFound:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(self))
        kind = stat.S_IFREG if info.type == fs.FileType.File else stat.S_IFDIR
        return State(kind | stat.S_IRUSR | stat.S_IWUSR, info.size or 0, info.mtime_ns or 0)

    def stat(self) -> State:
        """As `lstat`: there are no links."""
        return self.lstat()

    def mkdir(self, *, parents: bool = True, exist_ok: bool = True) -> None:
        """Marks a folder, without which a stream would not begin to read in it."""
        _storage().create_dir(str(self.key), recursive=parents)

    def iterdir(self) -> Iterator[Stored]:
        """What is right below it; nothing where it is not there."""
        return self._below(recursive=False)

    def rglob(self, pattern: str) -> Iterator[Stored]:
        """All below it whose last piece has the pattern."""
        return (path for path in self._below(recursive=True) if fnmatchcase(path.name, pattern))

    def glob(self, pattern: str) -> Iterator[Stored]:
        """What is right below it and has the pattern."""
        return (path for path in self._below(recursive=False) if fnmatchcase(path.name, pattern))

    def read_text(self, encoding: str = "utf-8") -> str:
        """What an object holds."""
        with self._reader() as stream:
            text: str = stream.read().decode(encoding)
            return text

    def write_bytes(self, content: bytes) -> None:
        """Writes an object, in the place of what it was."""
        with self._writer() as stream:
            stream.write(content)

    def write_text(self, text: str) -> None:
        """Writes an object as UTF-8."""
        self.write_bytes(text.encode())

    def unlink(self, *, missing_ok: bool = False) -> None:
        """Removes an object.

        Raises:
            FileNotFoundError: There is none.
        """
        try:
            _storage().delete_file(str(self.key))
        except FileNotFoundError:
            if not missing_ok:
                raise

    def remove(self) -> None:
        """Removes all that is below it."""
        _storage().delete_dir(str(self.key))

    def replace(self, target: Stored) -> None:
        """Copies an object, and then removes it."""
        _storage().move(str(self.key), str(target.key))

    def take(self, file: Path) -> None:
        """Writes an object from a file."""
        with file.open("rb") as source, self._writer() as stream:
            while chunk := source.read(_CHUNK_BYTES):
                stream.write(chunk)

    def give(self, file: Path) -> None:
        """Writes a file from an object."""
        with self._reader() as source, file.open("wb") as stream:
            while chunk := source.read(_CHUNK_BYTES):
                stream.write(chunk)

    # Left to itself, Arrow would compress what has `.gz` at the end of its name, once more.
    def _reader(self) -> pa.NativeFile:
        return _storage().open_input_stream(str(self.key), compression=None)

    def _writer(self) -> pa.NativeFile:
        return _storage().open_output_stream(str(self.key), compression=None)

    def _info(self) -> fs.FileInfo:
        return self.listed or _storage().get_file_info(str(self.key))

    def _below(self, *, recursive: bool) -> Iterator[Stored]:
        wanted = fs.FileSelector(str(self.key), allow_not_found=True, recursive=recursive)
        for info in _storage().get_file_info(wanted):
            yield Stored(PurePosixPath(info.path), info)


# What a folder or a file of a home may be.
Place = Path | Stored


@cache
def _storage() -> fs.S3FileSystem:
    """The storage that the environment names."""
    address = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    return fs.S3FileSystem(endpoint_override=address, region=os.environ.get("AWS_REGION"))


def below(path: Place, folder: Place) -> str:
    """The path of a file from its folder on, with slashes.

    Raises:
        ValueError: It is not below the folder.
    """
    one, other = (place.key if isinstance(place, Stored) else place for place in (path, folder))
    return one.relative_to(other).as_posix()


def place_of(address: str) -> Place:
    """The place that the engine calls by this address, on a disk or in storage."""
    if address.startswith("s3a:"):
        return Stored(PurePosixPath(address.removeprefix("s3a://")))
    return Path(address.removeprefix("file:"))
