"""Sets of files: into the inbox, what can be sent as messages to a broker instead."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from generators.kafka import Message, Send
from ingestion.home import Home


@dataclass(frozen=True)
class FileSet:
    """Files that are delivered together.

    Attributes:
        at: Seconds from the story's start to the delivery.
        files: By full table name, contents by the path below `inbox/<table>/`.
        refused: `<table>/<path>` of the files among them that the gate must refuse.
    """

    at: float
    files: Mapping[str, Mapping[str, bytes]]
    refused: tuple[str, ...] = ()


class Inbox:
    """Puts sets into the inbox and remembers which files came there, since ingestion takes them.

    Args:
        home: Where to.
        send: Sends messages; None: all comes as files.
        messages: By full table name, what makes messages of a file's content.
    """

    def __init__(
        self,
        home: Home,
        send: Send | None,
        messages: Mapping[str, Callable[[bytes], list[Message]]],
    ) -> None:
        self._home = home
        self._send = send
        self._messages_of = messages if send else {}
        self._messages: list[Message] = []
        self._waiting: list[tuple[Path, Path]] = []
        self._is_ready = False
        self._delivered: list[Path] = []

    def prepare(self, files: FileSet) -> None:
        """Writes the files under hidden names, so that nobody reads half a file."""
        self._is_ready = False
        for table, named in sorted(files.files.items()):
            for name, content in named.items():
                if messages_of := self._messages_of.get(table):
                    self._messages += messages_of(content)
                    continue
                path = self._home.inbox / table / name
                hidden = path.with_name(f".{path.name}.part")
                path.parent.mkdir(parents=True, exist_ok=True)
                self._waiting.append((hidden, path))
                hidden.write_bytes(content)
        self._is_ready = True

    def reveal(self) -> None:
        """Gives the files that were prepared their names."""
        for hidden, path in self._waiting:
            hidden.replace(path)
        self._remember()
        if self._send:
            self._send(self._messages)
            self._messages = []

    def _remember(self) -> None:
        """An interrupt may come at any point: what has lost its hidden name has been delivered."""
        for hidden, path in self._waiting:
            if not self._is_ready or hidden.exists():
                hidden.unlink(missing_ok=True)
            else:
                self._delivered.append(path)
        self._waiting = []

    def close(self) -> list[Path]:
        """Removes what was not delivered; returns what was, in its order."""
        self._remember()
        return self._delivered
