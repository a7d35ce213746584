"""What an error of the engine says of a file, and what of the engine."""

from __future__ import annotations

import pytest
from pyspark.errors import PySparkException

from ingestion.feeds.files import cause_of, is_of_the_engine

OF_A_FILE = "[FAILED_READ_FILE.NO_HINT] Encountered error while reading file file:/home/landing/{}"


def error(file: str, *causes: str) -> PySparkException:
    stack = "".join(
        f"Caused by: {cause}\n\tat org.apache.spark.SparkSession.open(x)\n" for cause in causes
    )
    return PySparkException(
        f"{OF_A_FILE.format(file)}. SQLSTATE: KD001\n\nJVM stacktrace:\n{stack}"
    )


@pytest.mark.parametrize(
    "cause",
    [
        "java.lang.OutOfMemoryError: Java heap space",
        "java.lang.OutOfMemoryError",
        "java.io.IOException: No space left on device",
        "java.io.IOException: Cannot allocate memory",
        "java.io.FileNotFoundException: /home/x (Too many open files)",
        "java.nio.file.AccessDeniedException: /home/x",
        "java.io.IOException: Input/output error",
        "java.io.IOException: Broken pipe",
        "java.net.ConnectException: Connection refused",
        "java.lang.InterruptedException",
    ],
)
def test_what_the_engine_lacks_is_no_files_fault(cause: str) -> None:
    assert is_of_the_engine(error("a.parquet", cause))
    assert is_of_the_engine(error("a.parquet", "org.apache.spark.SparkException: wrapped", cause))


@pytest.mark.parametrize("name", ["a.parquet", "Cancellations.parquet", "UNAVAILABLE.csv"])
def test_a_files_fault_is_its_own_whatever_it_is_called(name: str) -> None:
    fault = error(
        name, f"java.lang.IllegalStateException: file:/home/{name}: Unsupported encoding: X"
    )
    assert not is_of_the_engine(fault)
    assert "Unsupported encoding: X" in cause_of(fault)


def test_a_lost_connection_is_the_engines() -> None:
    assert is_of_the_engine(PySparkException("<_InactiveRpcError: StatusCode.UNAVAILABLE ...>"))
    assert is_of_the_engine(PySparkException("[INVALID_HANDLE.SESSION_CLOSED] The handle ..."))
    assert cause_of(PySparkException("the reason\nand more")) == "the reason"
