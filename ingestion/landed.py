"""Landed files as a stream of rows, every value the text that was delivered.

landing/<source>.<table>/<sha256>.<name>.<ext>  -->  declared columns + _raw + _rescued
                                                     + _source_file + _source_sha256
"""

from __future__ import annotations

import tempfile
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.errors import PySparkException
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F  # noqa: N812 - the field's name for it

from ingestion.declaration import SourceTable
from ingestion.drift import ARROW_TYPES
from ingestion.faults import cause_of, is_of_the_engine
from ingestion.home import Home
from ingestion.stored import Place, Stored

# What Hadoop's line reader and the gate both call blank: nothing but characters up to U+0020.
_NOT_BLANK = "value rlike '[^\\\\x00-\\\\x20]'"


def read_files(
    spark: SparkSession, table: SourceTable, home: Home, paths: Sequence[Place] | None = None
) -> DataFrame:
    """The landed files of one table, as a stream: each once over the life of a checkpoint.

    Args:
        spark: A session.
        table: The declared table.
        home: The home that holds the landing.
        paths: These files alone instead, and not as a stream.

    Returns:
        A DataFrame, streaming unless `paths` are given: the declared columns, `_raw` (string; the
        whole line where the columns do not hold all of it), `_rescued` (string; JSON of what is
        not declared), `_source_file` and `_source_sha256` (string).
    """
    folder = home.landing / table.folder
    folder.mkdir(parents=True, exist_ok=True)
    reader: Any = spark.readStream.option("recursiveFileLookup", "true")
    where: Any = str(folder)
    if paths is not None:
        reader, where = spark.read, [str(path) for path in paths]
    names = [column.name for column in table.columns]
    if table.format == "csv":
        schema = ", ".join(f"`{name}` string" for name in [*names, "_raw"])
        rows = (
            reader.schema(schema)
            .options(header=True, mode="PERMISSIVE", columnNameOfCorruptRecord="_raw", escape='"')
            .csv(where)
        )
        columns = [*map(F.col, names), *_csv_remains(table)]
    elif table.format == "json":
        rows = _with_objects(reader.text(where).where(F.expr(_NOT_BLANK)))
        columns = _json_columns(names)
    else:
        # Only a transcription has `_rescued`; Spark gives null for what a file does not have.
        schema = ", ".join(f"`{column.name}` {column.data_type}" for column in table.columns)
        rows = reader.schema(f"{schema}, `_rescued` string").load(where, format="parquet")
        columns = [*map(F.col, names), F.lit(None).cast("string").alias("_raw"), F.col("_rescued")]
    selected: DataFrame = rows.select(*columns, *_origin(table))
    return selected


def unreadable_files(
    spark: SparkSession, table: SourceTable, home: Home, paths: Sequence[Place]
) -> dict[Place, str]:
    """Finds the files that the engine cannot read although the gate could; it writes nothing.

    A file counts that fails alone, twice, while the engine reads another in between. Where the
    engine lacks space, memory or a connection, none does.

    Returns:
        The files, each with the engine's reason.
    """
    fault = _fault(spark, table, home, paths) if paths else None
    if fault is None or is_of_the_engine(fault):
        return {}
    if len(paths) > 1:
        middle = len(paths) // 2
        halves = (paths[:middle], paths[middle:])
        first, second = (unreadable_files(spark, table, home, half) for half in halves)
        return first | second
    with _scratch(home) as folder:
        another = _readable_file(table, folder)
        if _fault(spark, table, home, [another]) is not None:
            return {}
    fault = _fault(spark, table, home, paths)
    if fault is None or is_of_the_engine(fault):
        return {}
    return {paths[0]: cause_of(fault)}


def _fault(
    spark: SparkSession, table: SourceTable, home: Home, paths: Sequence[Place]
) -> PySparkException | None:
    """What the engine says when it reads these files to their end; None if it can."""
    try:
        read_files(spark, table, home, paths).write.format("noop").mode("overwrite").save()
    except PySparkException as error:
        return error
    return None


@contextmanager
def _scratch(home: Home) -> Iterator[Place]:
    """A folder that the engine sees and that ends with the block."""
    scratch = home.shared / "scratch"  # the local engine's, which empties it at its start
    scratch.mkdir(parents=True, exist_ok=True)
    if isinstance(scratch, Stored):
        folder = scratch / f"another-{uuid.uuid4()}"
        try:
            yield folder
        finally:
            folder.remove()
    else:
        with tempfile.TemporaryDirectory(prefix="another-", dir=scratch) as name:
            yield Path(name)


def _readable_file(table: SourceTable, folder: Place) -> Place:
    """A small file of a table's format that every engine reads."""
    path = folder / f"another.{table.format}"
    if table.format == "parquet":
        nulls = {
            column.name: pa.nulls(1, ARROW_TYPES[column.data_type])
            for column in table.columns
            if column.data_type in ARROW_TYPES
        }
        written = pa.BufferOutputStream()
        pq.write_table(pa.table(nulls), written, compression="zstd")
        path.write_bytes(written.getvalue().to_pybytes())
    else:
        line = ",".join(column.name for column in table.columns)
        path.write_text(f"{line}\n{line}\n" if table.format == "csv" else "{}\n")
    return path


def _csv_remains(table: SourceTable) -> list[Column]:
    """`_raw` and `_rescued`, which each line of a transcription has behind the declared columns.

    So such a line has too many fields, as one that is broken has, and stands in `_raw` whole.
    """
    names = [*(column.name for column in table.columns), "_rescued", "_raw"]
    schema = ", ".join(f"`{name}` string" for name in names)
    fields = F.from_csv("_raw", schema, {"escape": '"'})
    is_transcribed = F.col("_raw").isNotNull() & (
        F.substring(_path_below_folder(table), 65, 1) == F.lit("_")
    )
    return [
        F.when(is_transcribed, fields.getField("_raw")).otherwise(F.col("_raw")).alias("_raw"),
        F.when(is_transcribed, fields.getField("_rescued")).alias("_rescued"),
    ]


def _with_objects(lines: DataFrame) -> DataFrame:
    """Adds `objects`, of each object of a line a map of the text of all its fields.

    `from_json` stops after the first object and says nothing of what follows. Within brackets a
    second object is a second element, and whatever else follows leaves nothing at all. Only a line
    with a bracket of its own might end the array early: see `_only_object`.
    """
    standard = {"allowSingleQuotes": "false", "allowNonNumericNumbers": "false"}
    in_brackets = F.concat(F.lit("["), F.col("value"), F.lit("]"))
    # A column of its own, since it is looked at more than once.
    return lines.withColumn(
        "objects", F.from_json(in_brackets, "array<map<string, string>>", standard)
    )


def _only_object(objects: Column) -> Column:
    """The object that a line consists of; null where it is anything else.

    After a bracket of the line's own the array may have ended before the line does; what follows
    then ends no object.
    """
    line = F.col("value")
    is_whole = ~F.contains(line, F.lit("]")) | (
        F.from_json(F.concat(F.lit('{"object":'), line, F.lit("}")), "object map<string, string>")
        .getField("object")
        .isNotNull()
    )
    return F.when((F.size(objects) == 1) & is_whole, objects.getItem(0))


def _json_columns(names: list[str]) -> list[Column]:
    objects = F.col("objects")
    # One object, as many fields as columns, and a value for each column: neither repeated fields
    # nor others. To see so without a look at the keys is worth it: nearly all lines are like this.
    first = F.get(objects, F.lit(0))
    values = [first.getItem(name) for name in names]
    is_exact = (
        (F.size(objects) == 1)
        & (F.size(first) == len(names))
        & ~F.contains(F.col("value"), F.lit("]"))
    )
    for value in values:
        is_exact &= value.isNotNull()
    only = _only_object(objects)
    keys = F.map_keys(only)
    is_as_declared = F.array_sort(keys) == F.array(*[F.lit(name) for name in sorted(names)])
    has_repeated = F.size(keys) > F.size(F.array_distinct(keys))
    # Of a repeated field the map would give the first; JSON's readers give the last.
    last = F.from_json("value", ", ".join(f"`{name}` string" for name in names))
    unknown = F.map_filter(only, lambda name, text: ~name.isin(names) & text.isNotNull())
    return [
        *(
            F.when(is_exact, value)
            .when(has_repeated, last.getField(name))
            .otherwise(only.getItem(name))
            .alias(name)
            for name, value in zip(names, values, strict=True)
        ),
        # An absent field is no null: what was there is told by the line alone.
        F.when(is_exact | is_as_declared, None).otherwise(F.col("value")).alias("_raw"),
        F.when(~is_exact & (F.size(unknown) > 0), F.to_json(unknown)).alias("_rescued"),
    ]


def _origin(table: SourceTable) -> list[Column]:
    """The delivered name and the digest, from where a file stands in landing; see `landing_path`.

    Of a plain name both are bytes at known places of the file's name. To decode the path for each
    of millions of rows would take a fifth of the CPU of their way into bronze.
    """
    file = F.expr("cast(_metadata.file_name as binary)")
    extension = F.when(F.substring(file, -3, 3) == F.lit(b".gz"), 3).otherwise(
        len(f".{table.format}")
    )
    # The last piece of a name that was cut may be as long as a digest, and its extension follows.
    is_plain = (F.substring(file, 65, 1) == F.lit(b".")) & (F.octet_length(file) > 65 + extension)
    plain_name = F.substring(file, F.lit(66), F.octet_length(file) - 65 - extension)
    # An encoded name has no dot but the one before its extension.
    path = F.substring_index(_path_below_folder(table), ".", 1)
    encoded = F.replace(F.substring(path, 66, 100_000), F.lit("/"), F.lit(""))
    decoded = F.try_url_decode(F.replace(encoded, F.lit("="), F.lit("%")))
    return [
        F.when(is_plain, plain_name.cast("string")).otherwise(decoded).alias("_source_file"),
        F.when(is_plain, F.substring(file, 1, 64).cast("string"))
        .otherwise(F.substring(path, 1, 64))
        .alias("_source_sha256"),
    ]


def _path_below_folder(table: SourceTable) -> Column:
    return F.substring_index("_metadata.file_path", f"/{table.folder}/", -1)
