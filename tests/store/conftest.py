"""Fixtures for the store's tests."""

from __future__ import annotations

import pytest

from promptmill.store.db.database import Database
from tests.store.farm import Farm


@pytest.fixture
def farm(database: Database) -> Farm:
    return Farm(database)
