"""The shop's own database, PostgreSQL: rows are inserted, updated and deleted as it happens."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import groupby
from typing import Any, Final

import psycopg
import pyarrow as pa
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from generators.retail.tables import (
    CUSTOMERS,
    ORDER_ITEMS,
    ORDERS,
    PRODUCTS,
    REFUNDS,
    SCHEMAS,
    STOCK_LEVELS,
    STOCK_MOVEMENTS,
)
from ingestion.faults import LoadError
from ingestion.feed import settings_of_file

VARIABLE: Final = "LAKEHOUSE_GENERATE_POSTGRES"
SCHEMA: Final = "shop"
KEYS: Final[Mapping[str, tuple[str, ...]]] = {
    CUSTOMERS: ("customer_id",),
    PRODUCTS: ("product_id",),
    ORDERS: ("order_id",),
    ORDER_ITEMS: ("order_id", "line"),
    REFUNDS: ("refund_id",),
    STOCK_LEVELS: ("product_id", "warehouse"),
    STOCK_MOVEMENTS: ("movement_id",),
}
"""The primary keys."""


class Database:
    """A database in which the shop has its tables; they are made where they are missing.

    Args:
        conninfo: The connection as libpq writes it, of a role that may create in the database.

    Raises:
        LoadError: It cannot be reached, or the tables cannot be made; in its methods: it does not
            take a row.
    """

    def __init__(self, conninfo: str) -> None:
        with _told():
            self._connection = psycopg.connect(conninfo)
            self._connection.execute("set timezone to 'UTC'")
            self._connection.execute(
                sql.SQL("create schema if not exists {}").format(sql.Identifier(SCHEMA))
            )
            for table in SCHEMAS:
                for statement in _definition(table):
                    self._connection.execute(statement)
            self._connection.commit()

    @classmethod
    def of_setting(cls) -> Database:
        """The one that LAKEHOUSE_GENERATE_POSTGRES names, or the file LAKEHOUSE_ENV_FILE.

        Raises:
            LoadError: None does, or the file cannot be read; or see above.
        """
        conninfo = os.environ.get(VARIABLE) or settings_of_file().get(VARIABLE)
        if not conninfo:
            raise LoadError(
                f"No database is set. Set {VARIABLE}='host=... dbname=... user=...', of a role "
                "that may create tables."
            )
        try:
            conninfo_to_dict(conninfo)
        except psycopg.ProgrammingError:  # whose text may quote a password
            raise LoadError(
                f"{VARIABLE} is no connection as libpq writes it: host=... dbname=... user=..."
            ) from None
        return cls(conninfo)

    def prepare(self, rows: Mapping[str, pa.Table]) -> None:
        """Inserts, updates and deletes in one transaction, which nobody sees yet.

        Args:
            rows: By full table name, in the order in which they happen; of those whose `_op` is
                `delete` the row is gone. Other tables than `SCHEMAS` are left alone.
        """
        with _told(), self._connection.cursor() as cursor:
            for table in filter(rows.keys().__contains__, SCHEMAS):
                for op, of_op in groupby(_rows(table, rows[table]), key=lambda row: row[-1]):
                    if op == "delete":  # a table's key are its first columns
                        keys = [row[: len(KEYS[table])] for row in of_op]
                        cursor.executemany(_delete(table), keys)
                    else:
                        cursor.executemany(_upsert(table), [row[:-1] for row in of_op])

    def commit(self) -> None:
        """From now on everybody sees what was prepared."""
        with _told():
            self._connection.commit()


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except psycopg.Error as error:
        told = " ".join(str(error).split())
        raise LoadError(
            f"The shop's tables cannot be written: {told}. Start the database, or correct "
            f"{VARIABLE}."
        ) from None


def _name(table: str) -> sql.Identifier:
    return sql.Identifier(SCHEMA, table.partition(".")[2])


def _names(columns: tuple[str, ...] | list[str]) -> sql.Composed:
    return sql.SQL(", ").join(map(sql.Identifier, columns))


def _type(kind: pa.DataType) -> sql.SQL:
    if pa.types.is_decimal(kind):
        return sql.SQL("numeric(18, 2)")
    if pa.types.is_timestamp(kind):
        return sql.SQL("timestamptz")
    return sql.SQL("bigint" if pa.types.is_integer(kind) else "text")


def _definition(table: str) -> Iterator[sql.Composed]:
    """The table, and the index by which a pull finds what has changed."""
    columns = [
        sql.SQL("{} {}").format(sql.Identifier(column.name), _type(column.type))
        for column in SCHEMAS[table]
    ]
    yield sql.SQL("create table if not exists {} ({}, primary key ({}))").format(
        _name(table), sql.SQL(", ").join(columns), _names(KEYS[table])
    )
    changed_at = SCHEMAS[table].names[-1]
    yield sql.SQL("create index if not exists {} on {} ({})").format(
        sql.Identifier(f"{table.partition('.')[2]}_{changed_at}"),
        _name(table),
        sql.Identifier(changed_at),
    )


def _upsert(table: str) -> sql.Composed:
    columns = SCHEMAS[table].names
    return sql.SQL(
        "insert into {} ({}) values ({}) on conflict ({}) do update set ({}) = row({})"
    ).format(
        _name(table),
        _names(columns),
        sql.SQL(", ").join(sql.Placeholder() * len(columns)),
        _names(KEYS[table]),
        _names(columns),
        sql.SQL(", ").join(sql.Identifier("excluded", column) for column in columns),
    )


def _delete(table: str) -> sql.Composed:
    return sql.SQL("delete from {} where {}").format(
        _name(table),
        sql.SQL(" and ").join(
            sql.SQL("{} = {}").format(sql.Identifier(column), sql.Placeholder())
            for column in KEYS[table]
        ),
    )


def _rows(table: str, rows: pa.Table) -> Iterator[tuple[Any, ...]]:
    """The rows' values, and their `_op`."""
    columns = [rows[name].to_pylist() for name in (*SCHEMAS[table].names, "_op")]
    return zip(*columns, strict=True)
