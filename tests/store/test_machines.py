"""Hosts whose address means another server on each machine."""

from __future__ import annotations

import pytest

from promptmill.store.db.database import Database
from promptmill.store.hosts import hosts
from promptmill.store.hosts.hosts import register_host

URL = "http://127.0.0.1:11434"


@pytest.mark.postgresql
def test_one_loopback_address_on_two_machines_is_two_hosts(postgresql_url: str) -> None:
    database = Database(postgresql_url)
    keys = [database.write_now(register_host, URL, machine) for machine in ("one", "two", "one")]
    listed = database.read_now(hosts.list_hosts)
    database.close_now()
    assert keys[0] == keys[2] != keys[1]
    assert [(host.url, host.machine) for host in listed] == [(URL, "one"), (URL, "two")]


def test_the_loopback_host_of_a_sqlite_file_stays_one_when_its_machine_is_renamed(
    sqlite_url: str,
) -> None:
    database = Database(sqlite_url)
    keys = {database.write_now(register_host, URL, name) for name in ("wlan", "lan")}
    (host,) = database.read_now(hosts.list_hosts)
    database.close_now()
    assert keys == {host.key}
    assert host.machine == "lan"


def test_an_address_of_the_network_is_one_host_for_all_machines(database: Database) -> None:
    keys = {database.write_now(register_host, "http://gpu:11434") for _ in range(2)}
    (host,) = database.read_now(hosts.list_hosts)
    assert keys == {host.key}
    assert host.machine is None
