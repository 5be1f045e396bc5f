"""What several test files share."""

from __future__ import annotations

import pytest
from browsing import _kept, chromium, kept_page, page, url

from spec.publish.verdicts import Store, fill

__all__ = ["_kept", "chromium", "kept_page", "page", "store", "url"]


@pytest.fixture(scope="session")
def store() -> Store:
    """Every exploration that tests and pages need, done once for this code.

    The store is keyed by the specification's code, so a change of it computes anew;
    the site build that follows the tests reads the same results.
    """
    return fill()
