from __future__ import annotations

import contextlib
import re
import time
import urllib.request

from tests.support.deploys import Place, make_environment, modal_cli

KEYS = {"NEXTAUTH_SECRET": "0" * 64, "SALT": "0" * 64, "ENCRYPTION_KEY": "0" * 64}
OURS = "https://workspace-goat--goat-services-langfuse.modal.run"


def test_langfuse_is_deployed_and_its_stack_gets_the_secrets(place: Place) -> None:
    make_environment(place, {"goat-langfuse": KEYS, "goat-postgres": {"OTHER": "1"}})
    code, said = modal_cli(
        place, "deploy", "infra/services.py", "--env", place.environment, LANGFUSE_HOST=OURS
    )
    assert code == 0, said
    found = re.search(r"Created Function langfuse\n.*(http://\S+)", said)
    assert found is not None, said
    # It stops at once, before it starts any store, and names the one secret that it did not get.
    assert "goat_stack: POSTGRES_PASSWORD must be set" in log_of_start(place, found[1])


def log_of_start(place: Place, url: str) -> str:
    """What the container of a function that never answers says, once it says anything."""
    with contextlib.suppress(OSError):
        urllib.request.urlopen(url, timeout=0.5)
    end = time.monotonic() + 30
    while True:
        log = "".join(
            place.server.ask("container_log", id=one["id"]) for one in place.server.ask("containers")
        )
        if "\n" in log or time.monotonic() > end:
            return log
        time.sleep(0.1)
