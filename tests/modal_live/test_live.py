"""All of it on the real Modal, and the same steps on the Modal server of the tests, which tests them.

    python -m pytest tests/modal_live -m modal_live

It takes the tokens that the `modal` program takes, works in the Modal environment GOAT_LIVE_ENV (goat-live by
default), which it makes, and should be over in 5 to 15 minutes. What it leaves there is removed by
`modal environment delete goat-live`.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pytest_goat.cloud.client import configured
from tests.modal_live.walk import Walk
from tests.sandbox.modal_bench import needs_root
from tests.support.modal import modal_server

ENVIRONMENT = os.environ.get("GOAT_LIVE_ENV", "goat-live")

FOREIGN = ("GOAT_", "LANGFUSE_", "LITELLM_", "OPENAI_", "OTEL_", "PYTEST_", "COV_")
"""How variables begin that would lead a run elsewhere."""


def environ(folder: Path) -> dict[str, str]:
    """Of this process, without what would change the walk, and with temporary files of its own."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
    (scratch := folder / "tmp").mkdir()
    (folder / ".git").mkdir()  # no `.env` is looked for above
    return own | {"NO_COLOR": "1", "TMPDIR": str(scratch), "XDG_CACHE_HOME": str(scratch)}


@pytest.mark.modal_live
def test_on_the_real_modal(tmp_path: Path) -> None:
    if not configured():
        pytest.fail("there is no token for Modal: modal token new", pytrace=False)
    Walk(ENVIRONMENT, tmp_path, environ(tmp_path)).all_of_it()


@needs_root
def test_the_same_on_the_modal_server_of_the_tests(tmp_path: Path) -> None:
    with modal_server() as server:
        Walk(ENVIRONMENT, tmp_path, environ(tmp_path) | server.env).all_of_it()
        assert server.live() == []
