"""Landed files as a stream of rows, every value the text that was delivered.

landing/<source>.<table>/<sha256>.<name>.<ext>  -->  declared columns + _raw
                                                     + _source_file + _source_sha256
"""

from __future__ import annotations

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F  # noqa: N812 - the field's name for it

from ingestion.declaration import SourceTable
from ingestion.home import Home

# What Hadoop's line reader and the gate both call blank: nothing but characters up to U+0020.
_NOT_BLANK = "value rlike '[^\\\\x00-\\\\x20]'"


def read_files(spark: SparkSession, table: SourceTable, home: Home) -> DataFrame:
    """The landed files of one table, each of them once over the life of a checkpoint.

    Returns:
        A streaming DataFrame: the declared columns, `_raw` (string; the whole line where the
        columns do not hold all of it), `_source_file` and `_source_sha256` (string).
    """
    folder = home.landing / table.full_name
    folder.mkdir(parents=True, exist_ok=True)
    reader = spark.readStream.option("recursiveFileLookup", "true")
    names = [column.name for column in table.columns]
    if table.format == "csv":
        schema = ", ".join(f"`{name}` string" for name in [*names, "_raw"])
        rows = (
            reader.schema(schema)
            .options(header=True, mode="PERMISSIVE", columnNameOfCorruptRecord="_raw", escape='"')
            .csv(str(folder))
        )
        columns = [F.col(name) for name in [*names, "_raw"]]
    elif table.format == "json":
        rows = _with_fields(reader.text(str(folder)).where(F.expr(_NOT_BLANK)))
        columns = _json_columns(names)
    else:
        schema = ", ".join(f"`{column.name}` {column.data_type}" for column in table.columns)
        rows = reader.schema(schema).parquet(str(folder))
        columns = [F.col(name) for name in names] + [F.lit(None).cast("string").alias("_raw")]
    return rows.select(*columns, *_origin(table))


def _with_fields(lines: DataFrame) -> DataFrame:
    """Adds `fields`, a map of the text of all fields of a line that is one JSON object; else null.

    `from_json` stops after the first object and says nothing of what follows. Within brackets a
    second object is a second element, and whatever else follows leaves nothing at all. Only a line
    with a bracket of its own might end the array early; what follows it then ends no object.
    """
    line = F.col("value")
    objects = F.from_json(F.concat(F.lit("["), line, F.lit("]")), "array<map<string, string>>")
    is_whole = ~F.contains(line, F.lit("]")) | (
        F.from_json(F.concat(F.lit('{"object":'), line, F.lit("}")), "object map<string, string>")
        .getField("object")
        .isNotNull()
    )
    # Columns of their own, since each is looked at more than once.
    return lines.withColumn("objects", objects).withColumn(
        "fields", F.when((F.size("objects") == 1) & is_whole, F.col("objects").getItem(0))
    )


def _json_columns(names: list[str]) -> list[Column]:
    fields = F.col("fields")
    columns = [fields.getItem(name) for name in names]
    # As many fields as columns, and each column has one: neither repeated fields nor others. To see
    # so without a look at the keys is worth it, since nearly all lines are like this.
    is_exact = F.size(fields) == len(names)
    for column in columns:
        is_exact &= column.isNotNull()
    keys = F.map_keys(fields)
    is_as_declared = F.array_sort(keys) == F.array(*[F.lit(name) for name in sorted(names)])
    has_repeated = F.when(is_exact, False).otherwise(F.size(keys) > F.size(F.array_distinct(keys)))
    # Of a repeated field the map would give the first; JSON's readers give the last.
    last = F.from_json("value", ", ".join(f"`{name}` string" for name in names))
    return [
        *(
            F.when(has_repeated, last.getField(name)).otherwise(column).alias(name)
            for name, column in zip(names, columns, strict=True)
        ),
        # An absent field is no null: what was there is told by the line alone.
        F.when(is_exact | is_as_declared, None).otherwise(F.col("value")).alias("_raw"),
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
    below_folder = F.substring_index("_metadata.file_path", f"/{table.full_name}/", -1)
    path = F.substring_index(below_folder, ".", 1)
    encoded = F.replace(F.substring(path, 66, 100_000), F.lit("/"), F.lit(""))
    decoded = F.try_url_decode(F.replace(encoded, F.lit("="), F.lit("%")))
    return [
        F.when(is_plain, plain_name.cast("string")).otherwise(decoded).alias("_source_file"),
        F.when(is_plain, F.substring(file, 1, 64).cast("string"))
        .otherwise(F.substring(path, 1, 64))
        .alias("_source_sha256"),
    ]
