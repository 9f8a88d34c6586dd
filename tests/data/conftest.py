from __future__ import annotations

import pytest

from tests.data.server import serving


@pytest.fixture
def server(monkeypatch):
    """A server of the test's own, asked without any proxy."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with serving() as one:
        yield one
