"""Records of an installation: versions, settings, the database."""

from __future__ import annotations

from typing import Any, Final

from pydantic import Field

from promptmill.contract.record import Count, Record

SETTING: Final[dict[str, Any]] = {
    "variable": "PROMPTMILL_PORT",
    "value": 8123,
    "is_set": True,
    "is_secret": False,
    "is_default": False,
    "meaning": "Port that the service listens on",
}
DATABASE: Final[dict[str, Any]] = {
    "url": "sqlite:////srv/promptmill.db",
    "version": "SQLite 3.45.1",
    "schema_revision": "0001",
    "size_bytes": 12582912,
    "unused_bytes": 4096,
    "wal_bytes": 1048576,
    "disk_free_bytes": 83200000000,
}
RETENTION: Final[dict[str, Any]] = {
    "batches": None,
    "benchmarks": None,
    "files": 2592000,
    "throughput_by_minute": 259200,
    "throughput_by_hour": 34560000,
}
INSTALLATION: Final[dict[str, Any]] = {
    "version": "0.1.0",
    "python": "3.11.2",
    "database": DATABASE,
    "retention_s": RETENTION,
    "settings": [SETTING],
}


class Setting(Record):
    """One setting of the service as it is in force."""

    variable: str = Field(
        description="The environment variable that sets it.", examples=["PROMPTMILL_PORT"]
    )
    value: str | bool | int | float | None = Field(
        description="Its value; null when it is unset, and of a secret.", examples=[8123]
    )
    is_set: bool = Field(description="Whether it has a value.", examples=[True])
    is_secret: bool = Field(description="Whether its value is kept back.", examples=[False])
    is_default: bool = Field(
        description="Whether the value is the one that it has without the variable.",
        examples=[False],
    )
    meaning: str = Field(description="What it is for.", examples=[SETTING["meaning"]])


class DatabaseFacts(Record):
    """The database of the service."""

    url: str = Field(description="Where it is, without a password.", examples=[DATABASE["url"]])
    version: str = Field(description="Its kind and version.", examples=["SQLite 3.45.1"])
    schema_revision: str | None = Field(
        description="The revision of its schema.", examples=["0001"]
    )
    size_bytes: Count = Field(description="Its size.", examples=[12582912])
    unused_bytes: Count | None = Field(
        description="Bytes of these that deleted rows have left behind; null with PostgreSQL.",
        examples=[4096],
    )
    wal_bytes: Count | None = Field(
        description="The write-ahead log beside a SQLite file.", examples=[1048576]
    )
    disk_free_bytes: Count | None = Field(
        description="Free bytes of the disk of a SQLite file.", examples=[83200000000]
    )


class Installation(Record):
    """A process of the service: versions, settings in force, the database."""

    version: str = Field(description="The version of Promptmill.", examples=["0.1.0"])
    python: str = Field(description="The version of Python.", examples=["3.11.2"])
    database: DatabaseFacts = Field(description="The database.", examples=[DATABASE])
    retention_s: dict[str, int | None] = Field(
        description="Seconds for which each kind of data is kept; null: until it is deleted.",
        examples=[{"files": 2592000}],
    )
    settings: tuple[Setting, ...] = Field(description="Every setting.", examples=[[SETTING]])
