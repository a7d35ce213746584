"""Made-up data of each domain, a folder a domain: the same seed, the same bytes.

    story.py (events in event time --> files) --> inbox/<source>.<table>/

What must come of the data stands elsewhere, in `tests/oracle`: nothing here knows of it.
"""

from __future__ import annotations

import importlib
import pkgutil
from datetime import datetime
from typing import Any


def domains() -> list[str]:
    """The domains of which data can be made up, sorted."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__) if module.ispkg)


def story(domain: str) -> Any:
    """The module of a domain's story; it takes a second to load.

    Returns:
        A module with `write(home, seed, **options)`, which delivers the whole story, and perhaps
        `deliver(home, seed, *, every, **options)`, which delivers it as it happens.
    """
    return importlib.import_module(f"{__name__}.{domain}.story")


def check_shares(**shares: float) -> None:
    """Sees that shares are some.

    Raises:
        ValueError: One is not from 0 to 1; it names the argument.
    """
    for name, share in shares.items():
        if not 0 <= share <= 1:
            raise ValueError(f"{name} is a share from 0 to 1; got {share}")


def check_start(start: datetime) -> None:
    """Sees that the start of a story is a moment.

    Raises:
        ValueError: It has no time zone.
    """
    if start.tzinfo is None:
        raise ValueError(f"start needs a time zone; got {start.isoformat()}")
