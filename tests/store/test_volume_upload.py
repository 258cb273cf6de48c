"""Uploading: all of it, in few calls, in an order to rely on; Modal may be down at any time."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import modal
import pytest

from pytest_goat.cloud.names import RESULTS_VOLUME
from pytest_goat.errors import UserError
from pytest_goat.store import remote, send
from pytest_goat.store.folder import FolderStore
from pytest_goat.store.push import push
from pytest_goat.store.spool import LOCK, MARKER, claimed
from pytest_goat.store.upload import Uploader
from tests.store.volume_runs import (
    ENVIRONMENT,
    RUN,
    begin_run,
    end_run,
    files_in_folder,
    files_in_volume,
    make_run,
    start_uploader,
    write_trials,
)
from tests.support.modal import RunningServer
from tests.support.results import make_result

PROJECT = Path(__file__).parents[2]
ALWAYS = -1

UPLOADING = """
import sys
from pathlib import Path
from pytest_goat.store.folder import FolderStore
from tests.store.volume_runs import make_run, start_uploader

folder = make_run(FolderStore(Path(sys.argv[1])), int(sys.argv[3]), sys.argv[2])
print(start_uploader(folder).finish().warning)
"""


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path / "results")


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tries follow each other at once."""
    monkeypatch.setattr(send, "PAUSES", (0.0, 0.0))


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def start_uploading(root: Path, run_id: str, count: int) -> subprocess.Popen[str]:
    """A process that makes a run and uploads it, and says the warning."""
    command = [sys.executable, "-c", UPLOADING, str(root), run_id, str(count)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=PROJECT)


def test_all_of_a_run_gets_there_in_few_calls(server: RunningServer, store: FolderStore) -> None:
    folder = begin_run(store)
    uploader = start_uploader(folder)
    end_run(folder, write_trials(folder, 3))
    uploaded = uploader.finish()
    calls = server.calls()
    assert (uploaded.waiting, uploaded.problem, uploaded.warning) == (0, "", "")
    assert files_in_volume() == files_in_folder(store.root)
    assert uploaded.files == len(files_in_volume()) == 10
    assert calls == {"VolumeGetOrCreate": 2, "VolumePutFiles2": 6}


def test_many_trials_take_few_calls(
    server: RunningServer, store: FolderStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", lambda _: None)
    folder = begin_run(store)
    results = [make_result(f"trial-{number}") for number in range(2000)]
    for result in results:
        folder.write_trial(result)
    end_run(folder, results)
    uploaded = start_uploader(folder).finish()
    assert (uploaded.files, uploaded.warning) == (2003, "")
    assert server.calls()["VolumePutFiles2"] == 6


def test_a_batch_goes_from_time_to_time(server: RunningServer, store: FolderStore) -> None:
    folder = begin_run(store)
    uploader = Uploader(folder.path, ENVIRONMENT, every=0.01)
    uploader.start()
    # As a worker of `-n` does it: nobody tells the uploader.
    write_trials(store.run(RUN), 2)
    wait_until(lambda: server.calls().get("VolumePutFiles2", 0) >= 4)
    assert uploader.finish().warning == ""
    assert files_in_volume() == files_in_folder(store.root)


def test_a_batch_goes_when_many_trials_wait(server: RunningServer, store: FolderStore) -> None:
    folder = begin_run(store)
    uploader = Uploader(folder.path, ENVIRONMENT, every=3600, after=2)
    uploader.start()
    write_trials(folder, 2)
    uploader.added()
    uploader.added()
    wait_until(lambda: server.calls().get("VolumePutFiles2", 0) == 2)
    assert uploader.finish().warning == ""


@pytest.mark.parametrize(
    ("batches", "there"),
    [
        (0, set()),
        (1, {"artifacts", "trial-0"}),
        (2, {"artifacts", "trial-0", "trial-1"}),
        (3, {"artifacts", "trial-0", "trial-1", "run.json", "summary.json"}),
    ],
)
@pytest.mark.usefixtures("impatient")
def test_what_is_made_of_something_comes_after_it(
    server: RunningServer, store: FolderStore, batches: int, there: set[str]
) -> None:
    folder = make_run(store, 2)
    server.fault("VolumePutFiles2", "failed_precondition", times=ALWAYS, after=2 * batches)
    start_uploader(folder).finish()
    files = files_in_volume()
    found = {name for name in ("run.json", "summary.json") if f"{RUN}/{name}" in files}
    found |= {name for name in ("trial-0", "trial-1") if f"{RUN}/trials/{name}.json" in files}
    if f"{RUN}/trials/trial-1/stdout.txt" in files:
        found.add("artifacts")
    assert found == there


@pytest.mark.parametrize(
    ("rpc", "timeout", "after"),
    [
        ("VolumeGetOrCreate", "OPEN_TIMEOUT", 0),
        ("VolumePutFiles2", "PUT_TIMEOUT", 0),
        ("VolumePutFiles2", "PUT_TIMEOUT", 2),
        ("VolumePutFiles2", "PUT_TIMEOUT", 5),
    ],
)
@pytest.mark.parametrize("kind", ["failed_precondition", "hang"])
@pytest.mark.usefixtures("impatient")
def test_push_sends_what_a_run_could_not(
    server: RunningServer, store: FolderStore, rpc: str, timeout: str, after: int, kind: str
) -> None:
    folder = make_run(store)
    server.fault(rpc, kind, times=ALWAYS, after=after)
    with pytest.MonkeyPatch.context() as patch:
        if kind == "hang":
            patch.setattr(remote, timeout, 0.5)
        uploaded = start_uploader(folder).finish()
    assert uploaded.waiting
    assert f"nothing is lost, `goat push {RUN}` sends them" in uploaded.warning
    server.clear_faults()
    assert push(store, [], ENVIRONMENT, print) == [RUN]
    assert files_in_volume() == files_in_folder(store.root)


@pytest.mark.usefixtures("impatient")
def test_a_short_failure_is_nothing_to_speak_of(server: RunningServer, store: FolderStore) -> None:
    server.fault("VolumePutFiles2", "failed_precondition", times=2, after=1)
    assert start_uploader(make_run(store)).finish().warning == ""
    assert files_in_volume() == files_in_folder(store.root)


def test_a_failure_meanwhile_is_forgotten(server: RunningServer, store: FolderStore) -> None:
    folder = begin_run(store)
    server.fault("VolumePutFiles2", "failed_precondition", times=1)
    uploader = Uploader(folder.path, ENVIRONMENT, every=0.01)
    uploader.start()
    wait_until(lambda: server.calls().get("VolumePutFiles2", 0) >= 2)
    assert uploader.finish().warning == ""


def test_the_end_of_a_run_waits_no_longer_than_it_is_told(server: RunningServer, store: FolderStore) -> None:
    folder = make_run(store)
    server.fault("VolumePutFiles2", "hang", times=ALWAYS)
    began = time.monotonic()
    uploaded = start_uploader(folder).finish(timeout=0.5)
    assert time.monotonic() - began < 5
    assert "it takes longer than 0.5 s" in uploaded.warning


def test_a_token_that_is_refused_is_not_tried_again(server: RunningServer, store: FolderStore) -> None:
    server.fault("VolumeGetOrCreate", "unauthenticated", times=ALWAYS)
    uploaded = start_uploader(make_run(store)).finish()
    assert "modal token new" in uploaded.warning
    assert server.calls() == {"VolumeGetOrCreate": 1}


def test_an_environment_that_is_not_there_is_named(server: RunningServer, store: FolderStore) -> None:
    uploader = Uploader(make_run(store).path, "nowhere")
    uploader.start()
    assert "there is no Modal environment nowhere" in uploader.finish().warning


def test_without_the_sdk_the_run_ends_well(store: FolderStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "modal", None)
    uploaded = start_uploader(make_run(store)).finish()
    assert "pip install 'pytest-goat[modal]'" in uploaded.warning


def test_a_folder_that_is_gone_is_no_crash(server: RunningServer, store: FolderStore) -> None:
    uploader = Uploader(store.root / RUN, ENVIRONMENT)
    uploader.start()
    assert "No such file" in uploader.finish().problem


@pytest.mark.parametrize("answered", [1, 2, 3, 4])
def test_a_process_that_is_killed_leaves_whole_files_and_push_the_rest(
    server: RunningServer, store: FolderStore, answered: int
) -> None:
    server.fault("VolumePutFiles2", "hang", times=1, after=answered)
    with start_uploading(store.root, RUN, 20) as process:
        wait_until(lambda: server.calls().get("VolumePutFiles2", 0) == answered + 1)
        process.send_signal(signal.SIGKILL)
    sent = files_in_volume()
    wanted = files_in_folder(store.root)
    assert sent.items() <= wanted.items()
    assert len(sent) < len(wanted)
    push(store, [RUN], ENVIRONMENT, print)
    assert files_in_volume() == wanted


def test_two_processes_upload_two_runs_at_once(server: RunningServer, store: FolderStore) -> None:
    ids = ("run-one", "run-two")
    processes = [start_uploading(store.root, run_id, 30) for run_id in ids]
    said = [process.communicate(timeout=60)[0] for process in processes]
    assert said == ["\n", "\n"]
    assert files_in_volume() == files_in_folder(store.root)


def test_a_volume_of_version_1_does_too(server: RunningServer, store: FolderStore) -> None:
    modal.Volume.from_name(
        RESULTS_VOLUME, environment_name=ENVIRONMENT, create_if_missing=True, version=1
    ).hydrate()
    assert start_uploader(make_run(store)).finish().warning == ""
    assert files_in_volume() == files_in_folder(store.root)


def test_a_volume_that_was_deleted_is_made_and_filled_again(
    server: RunningServer, store: FolderStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(send, "PAUSES", (0.0,))
    folder = begin_run(store)
    uploader = Uploader(folder.path, ENVIRONMENT, every=3600, after=1)
    uploader.start()
    uploader.added()
    wait_until(lambda: (folder.path / MARKER).exists())
    modal.Volume.objects.delete(RESULTS_VOLUME, environment_name=ENVIRONMENT)
    end_run(folder, write_trials(folder, 2))
    assert uploader.finish().warning == ""
    assert files_in_volume() == files_in_folder(store.root)


def test_what_is_not_whole_is_not_sent(server: RunningServer, store: FolderStore) -> None:
    folder = make_run(store, 2)
    for name in (f".{'0' * 16}.tmp", f"trials/.{'0' * 16}.tmp"):
        (folder.path / name).write_bytes(b"half")
    half = folder.trial("half").with_suffix("")
    half.mkdir()
    (half / "stdout.txt").write_bytes(b"a record is still to come")
    (half / "link").symlink_to("/etc/passwd")
    start_uploader(folder).finish()
    assert not [name for name in files_in_volume() if "half" in name or name.endswith(".tmp")]
    folder.write_trial(make_result("half"))
    assert push(store, [], ENVIRONMENT, print) == [RUN]
    sent = files_in_volume()
    assert f"{RUN}/trials/half/stdout.txt" in sent
    assert f"{RUN}/trials/half/link" not in sent


def test_a_record_that_was_replaced_is_sent_again(server: RunningServer, store: FolderStore) -> None:
    folder = make_run(store)
    start_uploader(folder).finish()
    folder.write_trial(make_result("trial-1", message="its worker died"))
    said: list[str] = []
    push(store, [], ENVIRONMENT, said.append)
    assert said == [f"{RUN}: 3 files sent"]
    assert files_in_volume() == files_in_folder(store.root)


class TestPush:
    def test_what_is_there_is_not_sent_again(self, server: RunningServer, store: FolderStore) -> None:
        make_run(store, run_id="run-one")
        make_run(store, run_id="run-two")
        said: list[str] = []
        assert push(store, ["one"], ENVIRONMENT, said.append) == ["run-one"]
        assert push(store, [], ENVIRONMENT, said.append) == ["run-two"]
        server.reset_calls()
        assert push(store, [], ENVIRONMENT, said.append) == []
        assert push(store, ["run-one"], ENVIRONMENT, said.append) == ["run-one"]
        assert said == [
            "run-one: 10 files sent",
            "run-two: 10 files sent",
            "all 2 runs are in the volume goat-results",
            "run-one: all of it is there",
        ]
        assert server.calls() == {"VolumeGetOrCreate": 2}

    def test_another_volume_gets_everything(self, server: RunningServer, store: FolderStore) -> None:
        make_run(store)
        push(store, [], ENVIRONMENT, print)
        modal.Volume.objects.delete(RESULTS_VOLUME, environment_name=ENVIRONMENT)
        push(store, [], ENVIRONMENT, print)
        assert files_in_volume() == files_in_folder(store.root)

    @pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"version": 1}', '{"version": 2, "files": {}}'])
    def test_a_marker_that_says_nothing_means_that_nothing_is_there(
        self, server: RunningServer, store: FolderStore, text: str
    ) -> None:
        folder = make_run(store)
        (folder.path / MARKER).write_text(text)
        push(store, [], ENVIRONMENT, print)
        assert files_in_volume() == files_in_folder(store.root)
        assert json.loads((folder.path / MARKER).read_text())["version"] == 1

    def test_a_run_that_is_being_sent_is_left_alone(self, server: RunningServer, store: FolderStore) -> None:
        folder = make_run(store)
        said: list[str] = []
        with claimed(folder.path) as ours:
            assert ours
            assert push(store, [], ENVIRONMENT, said.append) == []
            uploaded = start_uploader(folder).finish()
        assert said[0] == f"{RUN}: another process sends it now"
        assert "another process sends them now" in uploaded.warning
        assert push(store, [], ENVIRONMENT, said.append) == [RUN]

    @pytest.mark.usefixtures("impatient")
    def test_when_modal_is_down_it_says_so(
        self, server: RunningServer, store: FolderStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(remote, "PUT_TIMEOUT", 0.3)
        make_run(store)
        server.fault("VolumePutFiles2", "hang", times=ALWAYS)
        with pytest.raises(UserError, match=r"could not be written: .* longer than 0.3"):
            push(store, [], ENVIRONMENT, print)

    def test_an_empty_store_needs_no_modal(self, store: FolderStore) -> None:
        said: list[str] = []
        assert push(store, [], ENVIRONMENT, said.append) == []
        assert said == [f"no runs in {store.root} yet"]

    def test_the_two_files_of_its_own_stay_here(self, server: RunningServer, store: FolderStore) -> None:
        folder = make_run(store)
        push(store, [], ENVIRONMENT, print)
        assert {MARKER, LOCK} <= {path.name for path in folder.path.iterdir()}
        assert not [name for name in files_in_volume() if ".upload" in name]
