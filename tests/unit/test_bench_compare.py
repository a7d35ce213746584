from __future__ import annotations

import pytest

from benchmarks import compare


def test_what_moved_is_told_and_noise_is_not() -> None:
    before = {"wall_s": 10.0, "cpu_s": 10, "x": {"rows": 5, "s": 0}, "gone": 1, "machine": "a"}
    now = {"wall_s": 11.0, "cpu_s": 8.9, "x": {"rows": 5, "s": 2}, "new": 3, "machine": "b"}
    assert compare.moved(before, now) == [
        "cpu_s: 10 -> 8.9 (-11%)",
        "gone: 1 -> None",
        "new: None -> 3",
        "x.s: 0 -> 2 (from nothing)",
    ]


def test_the_committed_measures_are_as_before(capsys: pytest.CaptureFixture[str]) -> None:
    compare.main()
    told = capsys.readouterr().out.splitlines()
    assert told
    assert {line for line in told if line.startswith("  ")} == {"  as before"}
