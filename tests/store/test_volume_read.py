"""Reading the volume: the same as from the folder, in few calls; and which of the two is read."""

from __future__ import annotations

from pathlib import Path

import modal
import pytest

from pytest_goat.cloud.names import RESULTS_VOLUME
from pytest_goat.errors import UserError
from pytest_goat.store import remote
from pytest_goat.store.folder import FolderStore, UnknownRun
from pytest_goat.store.push import push
from pytest_goat.store.reading import find_run, find_runs
from pytest_goat.store.volume import VolumeStore
from tests.store.volume_runs import ENVIRONMENT, RUN, begin_run, end_run, make_run, write_trials
from tests.support.modal import RunningServer
from tests.support.results import make_result

OTHER = "20261125-000000-0b1c"
KILLED = "20261126-000000-1c2d"


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path / "results")


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def volume(cache: Path) -> VolumeStore:
    return VolumeStore(ENVIRONMENT, cache)


def send(store: FolderStore) -> None:
    push(store, [], ENVIRONMENT, print)


def reads(server: RunningServer) -> int:
    """Files read since the last time that this was asked."""
    count = server.calls().get("VolumeGetFile2", 0)
    server.reset_calls()
    return count


def test_what_is_read_is_what_the_folder_has(
    server: RunningServer, store: FolderStore, volume: VolumeStore
) -> None:
    make_run(store)
    make_run(store, run_id=OTHER)
    write_trials(begin_run(store, KILLED), 2)
    (store.run(OTHER).path / "trials" / "cut.json").write_text('{"trial_id": "cut')
    send(store)
    assert volume.runs() == store.runs() == [KILLED, OTHER, RUN]
    for run_id in volume.runs():
        assert volume.load(run_id) == store.load(run_id)
        assert volume.glance(run_id) == store.glance(run_id)
    assert store.load(OTHER).unreadable


@pytest.mark.parametrize("name", ["latest", RUN, "20261124", "7f3a"])
def test_a_run_is_found_by_the_same_names(
    server: RunningServer, store: FolderStore, volume: VolumeStore, name: str
) -> None:
    make_run(store)
    make_run(store, run_id=OTHER)
    send(store)
    assert volume.resolve(name) == store.resolve(name)


@pytest.mark.parametrize("name", ["2026112", "nonsense", ""])
def test_a_name_that_means_no_one_run_gets_the_same_words(
    server: RunningServer, store: FolderStore, volume: VolumeStore, name: str
) -> None:
    make_run(store)
    make_run(store, run_id=OTHER)
    send(store)
    with pytest.raises(UserError) as here:
        store.resolve(name)
    with pytest.raises(here.type) as there:
        volume.resolve(name)
    where = "the volume goat-results of the Modal environment main"
    assert str(there.value) == str(here.value).replace(str(store.root), where)


def test_a_run_that_has_ended_is_read_once(server: RunningServer, store: FolderStore, cache: Path) -> None:
    make_run(store)
    send(store)
    assert VolumeStore(ENVIRONMENT, cache).load(RUN) == store.load(RUN)
    assert reads(server) == 3 + 2
    assert VolumeStore(ENVIRONMENT, cache).load(RUN) == store.load(RUN)
    assert server.calls() == {"VolumeGetOrCreate": 1}


def test_a_list_reads_no_trials_of_runs_with_a_summary(
    server: RunningServer, store: FolderStore, volume: VolumeStore
) -> None:
    make_run(store)
    make_run(store, run_id=OTHER)
    send(store)
    server.reset_calls()
    assert [volume.glance(run_id) for run_id in volume.runs()] == [store.glance(OTHER), store.glance(RUN)]
    assert server.calls() == {"VolumeGetOrCreate": 1, "VolumeListFiles2": 1, "VolumeGetFile2": 4}


def test_of_a_run_that_goes_on_only_what_is_new_is_read(
    server: RunningServer, store: FolderStore, cache: Path
) -> None:
    folder = begin_run(store)
    results = write_trials(folder, 3)
    send(store)
    assert VolumeStore(ENVIRONMENT, cache).load(RUN) == store.load(RUN)
    assert reads(server) == 3 + 2
    results.append(make_result("trial-3"))
    folder.write_trial(results[-1])
    folder.write_trial(make_result("trial-1", message="its worker died"))
    end_run(folder, results)
    send(store)
    assert VolumeStore(ENVIRONMENT, cache).load(RUN) == store.load(RUN)
    assert reads(server) == 2 + 2
    assert VolumeStore(ENVIRONMENT, cache).load(RUN) == store.load(RUN)
    assert reads(server) == 0


def test_what_was_taken_out_of_the_volume_is_not_shown(
    server: RunningServer, store: FolderStore, volume: VolumeStore
) -> None:
    write_trials(begin_run(store), 2)
    send(store)
    volume.load(RUN)
    there = modal.Volume.from_name(RESULTS_VOLUME, environment_name=ENVIRONMENT)
    there.remove_file(f"{RUN}/trials/trial-1.json")
    assert [result.trial_id for result in volume.load(RUN).results] == ["trial-0"]
    there.remove_file(f"{RUN}/run.json")
    assert volume.runs() == []


def test_another_volume_of_that_name_is_another(
    server: RunningServer, store: FolderStore, cache: Path
) -> None:
    make_run(store)
    send(store)
    VolumeStore(ENVIRONMENT, cache).load(RUN)
    modal.Volume.objects.delete(RESULTS_VOLUME, environment_name=ENVIRONMENT)
    make_run(store, run_id=OTHER)
    push(store, [OTHER], ENVIRONMENT, print)
    assert VolumeStore(ENVIRONMENT, cache).runs() == [OTHER]
    assert VolumeStore(ENVIRONMENT, cache).load(RUN).results == ()


def test_a_volume_of_version_1_is_read_too(
    server: RunningServer, store: FolderStore, volume: VolumeStore
) -> None:
    modal.Volume.from_name(
        RESULTS_VOLUME, environment_name=ENVIRONMENT, create_if_missing=True, version=1
    ).hydrate()
    make_run(store)
    send(store)
    assert volume.load(RUN) == store.load(RUN)


def test_where_there_is_no_volume_the_message_says_what_makes_one(
    server: RunningServer, volume: VolumeStore
) -> None:
    with pytest.raises(UserError, match=r"no volume goat-results .* yet: `pytest benchmarks"):
        volume.runs()
    assert server.calls() == {"VolumeGetOrCreate": 1}


@pytest.mark.parametrize(
    ("rpc", "timeout", "words"),
    [
        ("VolumeGetOrCreate", "OPEN_TIMEOUT", "opening it took longer than 0.2 s"),
        ("VolumeListFiles2", "LIST_TIMEOUT", "listing files took longer than 0.2 s"),
        ("VolumeGetFile2", "READ_TIMEOUT", f"reading {RUN}/(run|summary).json took longer than 0.2 s"),
    ],
)
def test_what_is_not_answered_is_one_message(
    server: RunningServer,
    store: FolderStore,
    volume: VolumeStore,
    monkeypatch: pytest.MonkeyPatch,
    rpc: str,
    timeout: str,
    words: str,
) -> None:
    make_run(store)
    send(store)
    monkeypatch.setattr(remote, timeout, 0.2)
    server.fault(rpc, "hang", times=-1)
    with pytest.raises(UserError, match=words):
        volume.runs()


@pytest.mark.parametrize(
    ("rpc", "kind", "words"),
    [
        ("VolumeGetOrCreate", "unauthenticated", "modal token new"),
        ("VolumeGetFile2", "permission_denied", "Use a token that may do this"),
    ],
)
def test_what_is_refused_says_what_mends_it(
    server: RunningServer, store: FolderStore, volume: VolumeStore, rpc: str, kind: str, words: str
) -> None:
    make_run(store)
    send(store)
    server.fault(rpc, kind, times=-1)
    with pytest.raises(UserError, match=words):
        volume.runs()


def test_a_cache_that_cannot_be_written_is_named(
    server: RunningServer, store: FolderStore, tmp_path: Path
) -> None:
    make_run(store)
    send(store)
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"/file cannot be used to keep what was read"):
        VolumeStore(ENVIRONMENT, tmp_path / "file").runs()


def test_the_cache_is_that_of_the_user(
    server: RunningServer, store: FolderStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    make_run(store)
    send(store)
    VolumeStore(ENVIRONMENT).load(RUN)
    assert len(list(tmp_path.glob(f"pytest-goat/results/*/{RUN}/trials/*.json"))) == 3


class TestWhichStore:
    """`None` for the folder: there is none; for the volume: Modal is not configured."""

    @pytest.fixture
    def filled(self, server: RunningServer, store: FolderStore, volume: VolumeStore, tmp_path: Path) -> Path:
        """A folder with `RUN`, beside a volume with `OTHER`."""
        make_run(store, run_id=OTHER)
        send(store)
        make_run(FolderStore(tmp_path / "here"))
        server.reset_calls()
        return tmp_path / "here"

    def test_what_is_here_needs_no_call(
        self, server: RunningServer, filled: Path, volume: VolumeStore
    ) -> None:
        for name in (RUN, "latest", "7f3a"):
            found, run_id = find_run(name, filled, volume)
            assert isinstance(found, FolderStore)
            assert run_id == RUN
        assert isinstance(find_runs(filled, volume), FolderStore)
        assert server.calls() == {}

    def test_what_is_not_here_is_looked_for_there(self, filled: Path, volume: VolumeStore) -> None:
        assert find_run(OTHER, filled, volume) == (volume, OTHER)
        assert find_run("latest", None, volume) == (volume, OTHER)

    def test_where_nothing_is_here_the_volume_is_listed(self, volume: VolumeStore, tmp_path: Path) -> None:
        assert find_runs(None, volume) is volume
        assert find_runs(tmp_path / "empty", volume) is volume
        assert isinstance(find_runs(tmp_path / "empty", None), FolderStore)

    def test_what_is_nowhere_is_said_of_both(self, filled: Path, volume: VolumeStore) -> None:
        with pytest.raises(UserError, match=r"no run 'x' in .*/here\..*\n +no run 'x' in the volume"):
            find_run("x", filled, volume)
        with pytest.raises(UnknownRun, match=r"no run 'x' in .*/here\. Near ones: [^\n]*$"):
            find_run("x", filled, None)

    def test_what_fits_several_here_is_not_looked_for_there(
        self, server: RunningServer, filled: Path, volume: VolumeStore
    ) -> None:
        make_run(FolderStore(filled), run_id=KILLED)
        with pytest.raises(UserError, match="fits 2 runs"):
            find_run("2026112", filled, volume)
        assert server.calls() == {}

    def test_with_neither_it_says_how_to_get_one(self) -> None:
        with pytest.raises(UserError, match=r"no .goat/results here or above: `pytest benchmarks`"):
            find_runs(None, None)
        with pytest.raises(UserError, match=r"no .goat/results here or above"):
            find_run("latest", None, None)

    def test_each_says_where_a_run_is(self, store: FolderStore, volume: VolumeStore) -> None:
        assert store.place(RUN).endswith(f"results/{RUN}")
        assert volume.place(RUN) == f"{RUN} in the volume goat-results of the Modal environment main"
