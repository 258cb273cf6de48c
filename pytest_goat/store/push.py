"""`goat push`: sends to the volume what runs could not send themselves."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from pytest_goat.cloud.names import RESULTS_VOLUME
from pytest_goat.errors import UserError
from pytest_goat.store.folder import FolderStore
from pytest_goat.store.remote import ResultsVolume, VolumeUnavailable
from pytest_goat.store.send import Sender
from pytest_goat.store.spool import Spool, claimed


def push(
    store: FolderStore, names: Sequence[str], environment: str, say: Callable[[str], object]
) -> list[str]:
    """Send runs, or without `names` all of `store` that are not wholly in the volume of `environment`.

    Only what is missing is sent. `say` gets a line for each run. Returns the ids of the runs that were looked
    through and are wholly there now. Raises `UserError`.
    """
    run_ids = [store.resolve(name) for name in names] or store.runs()
    if not run_ids:
        say(f"no runs in {store.root} yet")
        return []
    try:
        return asyncio.run(_push(store, run_ids, environment, say, asked=bool(names)))
    except VolumeUnavailable as error:
        raise UserError(
            f"the volume {RESULTS_VOLUME} could not be written: {error}. Try again: what is up stays up."
        ) from None
    except OSError as error:
        raise UserError(f"the results in {store.root} cannot be sent: {error}") from None


async def _push(
    store: FolderStore, run_ids: Sequence[str], environment: str, say: Callable[[str], object], *, asked: bool
) -> list[str]:
    volume = await ResultsVolume.open(environment, create=True)
    pushed = []
    for run_id in run_ids:
        folder = store.run(run_id).path
        if not asked and not Spool(folder, volume.id).waiting:
            continue
        with claimed(folder) as ours:
            if not ours:
                say(f"{run_id}: another process sends it now")
                continue
            sender = Sender(folder, environment, volume)
            await sender.send_all()
        say(f"{run_id}: {sender.files} files sent" if sender.files else f"{run_id}: all of it is there")
        pushed.append(run_id)
    if not asked and not pushed:
        say(f"all {len(run_ids)} runs are in the volume {RESULTS_VOLUME}")
    return pushed
