"""Compares the measures with those of the last commit: python -m benchmarks.compare.

Prints each number that has moved by more than a tenth. Whether that is good, and whether it is the
machine's doing, is for a person to say.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results.json"
# So much the same code differs from run to run.
NOISE = 0.1


def moved(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """The numbers that differ by more than the noise, and those that are new or gone, a line each.

    Args:
        before: Numbers and texts, and dictionaries of these, by name.
        now: The same, measured anew.
    """
    lines = []
    ours, theirs = dict(_numbers(now)), dict(_numbers(before))
    for name in sorted(ours.keys() | theirs.keys()):
        number, other = ours.get(name), theirs.get(name)
        if number is None or other is None:
            lines.append(f"{name}: {other} -> {number}")
        elif abs(number - other) > NOISE * abs(other):
            change = f"{number / other - 1:+.0%}" if other else "from nothing"
            lines.append(f"{name}: {other} -> {number} ({change})")
    return lines


def _numbers(value: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    for key, of in value.items():
        if isinstance(of, dict):
            yield from _numbers(of, f"{prefix}{key}.")
        elif isinstance(of, int | float):
            yield prefix + key, of


def main() -> None:
    """Prints the comparison."""
    committed = subprocess.run(
        ["git", "show", f"HEAD:./{RESULTS.name}"],
        cwd=RESULTS.parent,
        capture_output=True,
        text=True,
        check=True,
    )
    before, now = json.loads(committed.stdout), json.loads(RESULTS.read_text())
    for letter, measure in now.items():
        machines = {before.get(letter, {}).get("machine"), measure["machine"]} - {None}
        print(f"{letter}, on {' and then '.join(sorted(machines))}:")
        for line in moved(before.get(letter, {}), measure) or ["as before"]:
            print(f"  {line}")


if __name__ == "__main__":
    main()
