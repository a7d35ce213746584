"""Checkpoints of streams that begin anew, on purpose, with a note of where they stand.

The note outlives the memory that is emptied, and a crash on the way is made up for.
"""

from __future__ import annotations

import shutil

from ingestion.stored import Place, Stored

_NOTE = "forgotten"
_UNDER_WAY = f".{_NOTE}"


def begin_anew(checkpoint: Place, note: str) -> None:
    """Lets a stream begin anew: of its memory the note is left."""
    checkpoint.mkdir(parents=True, exist_ok=True)
    written = checkpoint / f"{_UNDER_WAY}.part"
    written.write_text(note)
    _rename(written, checkpoint / _UNDER_WAY)
    _empty(checkpoint)


def note_of(checkpoint: Place) -> str | None:
    """The note of a checkpoint that was emptied; None of one that never was."""
    if (checkpoint / _UNDER_WAY).exists():
        _empty(checkpoint)  # a crash broke it off
    note = checkpoint / _NOTE
    return note.read_text() if note.exists() else None


def is_begun(checkpoint: Place) -> bool:
    """Whether a stream has begun with it, since it was emptied last."""
    note_of(checkpoint)
    return (checkpoint / "metadata").exists()


def _empty(checkpoint: Place) -> None:
    """Removes what is the stream's alone: what was pulled last lies in the same folder."""
    (checkpoint / "metadata").unlink(missing_ok=True)  # first: without it none of it counts
    for path in checkpoint.iterdir():
        if path.is_dir():
            path.remove() if isinstance(path, Stored) else shutil.rmtree(path)
        elif path.suffix == ".crc":  # a sum that Hadoop keeps of a file
            path.unlink()
    _rename(checkpoint / _UNDER_WAY, checkpoint / _NOTE)


def _rename(path: Place, target: Place) -> None:
    path.replace(target)  # type: ignore[arg-type] # both are of one kind
