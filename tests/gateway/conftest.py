"""What the tests of the gateway share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.litellm import Stack, litellm_stack


@pytest.fixture(scope="session")
def litellm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """One LiteLLM for the whole session: it takes seconds to start."""
    with litellm_stack(tmp_path_factory.mktemp("litellm")) as stack:
        yield stack
