"""The results store: what is there is whole, whoever writes and whoever is killed."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings

from pytest_goat.errors import UserError
from pytest_goat.redact import MARK, Redactor
from pytest_goat.report.summary import summarize, summary_of
from pytest_goat.result import RunRecord, TrialResult
from pytest_goat.store.folder import ARTIFACTS, FolderStore, write_whole
from tests.support.results import make_result, make_results, trial_results

PROJECT = Path(__file__).parents[2]

WRITER = """
import sys
from pathlib import Path
from pytest_goat.store.folder import ARTIFACTS, FolderStore
from tests.support.results import make_result

root, prefix, count, size = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
folder = FolderStore(root).run("run")
print("ready", flush=True)
sys.stdin.readline()
for number in range(count):
    trial_id = f"{prefix}-{number}"
    artifacts = {name: trial_id.encode() * size for name in ARTIFACTS}
    folder.write_trial(make_result(trial_id, answer=trial_id * size), artifacts)
    print(trial_id, flush=True)
"""


LIMITED = """
import resource, signal, sys
from pathlib import Path
from pytest_goat.store.folder import FolderStore
from tests.support.results import make_result

folder = FolderStore(Path(sys.argv[1])).run("run")
folder.write_trial(make_result("before"))
signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
folder.write_trial(make_result("cut", answer="x" * 1_000_000))
"""
"""The system kills it in the middle of its second write."""


def start_writer(root: Path, prefix: str, count: int, size: int) -> subprocess.Popen[str]:
    """A process that says `ready`, waits for a line, stores `count` trials and says the id of each then."""
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(root), prefix, str(count), str(size)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=PROJECT,
    )


def read_line(writer: subprocess.Popen[str]) -> str:
    assert writer.stdout
    return writer.stdout.readline().strip()


def begin(writer: subprocess.Popen[str]) -> None:
    assert read_line(writer) == "ready"
    assert writer.stdin
    writer.stdin.write("go\n")
    writer.stdin.flush()


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path / "results")


def assert_whole(root: Path, result: TrialResult, size: int) -> None:
    assert result.answer == result.trial_id * size
    for name in ARTIFACTS:
        data = (root / "run" / "trials" / result.trial_id / name).read_bytes()
        assert data == result.trial_id.encode() * size


@settings(max_examples=25, deadline=None)
@given(trial_results)
def test_a_stored_trial_comes_back_as_it_was(result: TrialResult) -> None:
    with tempfile.TemporaryDirectory() as root:
        store = FolderStore(Path(root, "results"))
        store.open_run(RunRecord("run")).write_trial(result)
        stored = store.load("run")
    assert stored.results == (result,)
    assert stored.unreadable == ()


def test_a_run_has_its_place_for_everything(store: FolderStore) -> None:
    record = RunRecord("run", started="2026-11-24T05:36:14+00:00", models=("gpt-5-mini",))
    folder = store.open_run(record)
    results = make_results(2, 1)
    for result in results:
        path = folder.write_trial(result, {"stdout.txt": b"out", "stderr.txt": b""})
        assert path == folder.path / "trials" / f"{result.trial_id}.json"
    summary = summarize(results, run_id="run", duration=1.0)
    folder.write_summary(summary)
    stored = store.load("run")
    assert (stored.record, stored.results, stored.summary) == (record, tuple(results), summary)
    assert [path.name for path in (folder.path / "trials" / "t0").iterdir()] == ["stdout.txt"]
    assert folder.junit == folder.path / "junit.xml"


def test_records_are_one_line_of_compact_json(store: FolderStore) -> None:
    path = store.open_run(RunRecord("run")).write_trial(make_result(answer="two\nlines"))
    text = path.read_text()
    assert text.count("\n") == 1
    assert '"answer":"two\\nlines"' in text


def test_a_new_root_explains_itself_and_keeps_out_of_git_and_backups(store: FolderStore) -> None:
    store.open_run(RunRecord("one"))
    store.open_run(RunRecord("two"))
    assert "goat results" in (store.root / "README.md").read_text()
    assert (store.root / ".gitignore").read_text() == "*\n"
    assert (store.root / "CACHEDIR.TAG").read_text().startswith("Signature: 8a477f597d28d172789f06886806bc55")


def test_a_folder_that_was_there_is_left_as_it_is(tmp_path: Path) -> None:
    FolderStore(tmp_path).open_run(RunRecord("run"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run"]


def test_a_run_is_opened_once(store: FolderStore) -> None:
    store.open_run(RunRecord("run"))
    with pytest.raises(UserError, match="run exists already"):
        store.open_run(RunRecord("run"))


def test_a_root_that_cannot_be_is_a_clean_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"cannot be written to .*file/results.*another folder"):
        FolderStore(tmp_path / "file" / "results").open_run(RunRecord("run"))


def test_a_killed_run_is_read_as_far_as_it_came(store: FolderStore) -> None:
    folder = store.open_run(RunRecord("run"))
    folder.write_trial(make_result())
    stored = store.load("run")
    assert stored.summary is None
    assert summary_of(stored).totals.passed == 1


def test_a_glance_reads_trials_only_without_a_summary(store: FolderStore) -> None:
    folder = store.open_run(RunRecord("run"))
    result = make_result()
    folder.write_trial(result)
    assert store.glance("run") == store.load("run")
    folder.write_summary(summarize([result]))
    glance = store.glance("run")
    assert glance.results == ()
    assert summary_of(glance) == summary_of(store.load("run"))


def test_files_that_cannot_be_read_are_reported(store: FolderStore) -> None:
    folder = store.open_run(RunRecord("run"))
    good = make_result("good")
    folder.write_trial(good)
    (folder.path / "trials" / "cut.json").write_text('{"trial_id": "cut')
    (folder.path / "trials" / "other.json").write_text("[]")
    (folder.path / "trials" / "bytes.json").write_bytes(b"\xff\xfe\xfd")
    (folder.path / "run.json").write_text("{}")
    (folder.path / "summary.json").write_text("null")
    stored = store.load("run")
    assert stored.results == (good,)
    assert stored.record == RunRecord("run")
    assert stored.summary is None
    names = [problem.partition(": ")[0] for problem in stored.unreadable]
    assert names == ["run.json", "summary.json", "trials/bytes.json", "trials/cut.json", "trials/other.json"]


def test_death_in_the_middle_of_a_write_leaves_no_half_file(store: FolderStore) -> None:
    folder = store.open_run(RunRecord("run"))
    done = subprocess.run([sys.executable, "-c", LIMITED, str(store.root)], cwd=PROJECT, check=False)
    assert done.returncode == -signal.SIGXFSZ
    stored = store.load("run")
    assert [result.trial_id for result in stored.results] == ["before"]
    assert stored.unreadable == ()
    assert not folder.trial("cut").exists()


def test_kill_9_in_the_middle_leaves_whole_files_only(store: FolderStore) -> None:
    store.open_run(RunRecord("run"))
    size = 100_000
    for number in range(4):
        with start_writer(store.root, f"writer{number}", 1000, size) as writer:
            begin(writer)
            said = [read_line(writer) for _ in range(number + 1)]
            os.kill(writer.pid, signal.SIGKILL)
        stored = store.load("run")
        assert stored.unreadable == ()
        assert set(said) <= {result.trial_id for result in stored.results}
        for result in stored.results:
            assert_whole(store.root, result, size)


def test_two_processes_write_one_run_at_once(store: FolderStore) -> None:
    store.open_run(RunRecord("run"))
    writers = [start_writer(store.root, prefix, 100, 50) for prefix in ("a", "b")]
    for writer in writers:
        begin(writer)
    for writer in writers:
        writer.communicate(timeout=60)
        assert writer.returncode == 0
    stored = store.load("run")
    assert stored.unreadable == ()
    assert {r.trial_id for r in stored.results} == {f"{prefix}-{n}" for prefix in "ab" for n in range(100)}
    for result in stored.results:
        assert_whole(store.root, result, 50)
    assert not list(store.root.rglob("*.tmp"))


def test_a_write_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    target = tmp_path / "taken"
    target.mkdir()
    with pytest.raises(OSError, match="taken"):
        write_whole(target, b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


def test_no_secret_is_stored(store: FolderStore) -> None:
    secret = 'hunter"22'
    folder = FolderStore(store.root, Redactor([secret])).open_run(RunRecord("run", argv=(secret,)))
    log = json.dumps({"key": secret}).encode()
    folder.write_trial(
        make_result(answer=f"it is {secret}"), {"trajectory.jsonl": log, "stderr.txt": b"fine"}
    )
    for path in store.root.rglob("*"):
        assert path.is_dir() or b"hunter" not in path.read_bytes(), path
    (result,) = store.load("run").results
    assert result.answer == f"it is {MARK}"


@pytest.mark.parametrize("name", ["", ".", "..", "../up", "a/b"])
def test_no_id_leads_out_of_the_folder(store: FolderStore, name: str) -> None:
    folder = store.open_run(RunRecord("run"))
    with pytest.raises(ValueError, match="file name"):
        folder.write_trial(make_result(name))
    with pytest.raises(ValueError, match="file name"):
        folder.write_trial(make_result(), {name: b"data"})
    with pytest.raises(ValueError, match="file name"):
        store.open_run(RunRecord(name))


class TestResolve:
    IDS = ("20261124-053614-7f3a", "20261124-053615-0b1c", "20261201-000000-7f3b")

    @pytest.fixture
    def store(self, store: FolderStore) -> FolderStore:
        for run_id in self.IDS:
            store.open_run(RunRecord(run_id))
        (store.root / "no-run").mkdir()
        return store

    def test_runs_are_listed_newest_first(self, store: FolderStore) -> None:
        assert store.runs() == sorted(self.IDS, reverse=True)

    @pytest.mark.parametrize(
        ("name", "number"),
        [("latest", 2), ("20261124-053614-7f3a", 0), ("202612", 2), ("7f3a", 0), ("0b1c", 1)],
    )
    def test_what_means_one_run_finds_it(self, store: FolderStore, name: str, number: int) -> None:
        assert store.resolve(name) == self.IDS[number]

    def test_what_fits_several_lists_them(self, store: FolderStore) -> None:
        with pytest.raises(UserError, match=re.escape(f"fits 2 runs: {self.IDS[1]}, {self.IDS[0]}")):
            store.resolve("20261124")

    @pytest.mark.parametrize("name", ["20261124-053614-7f3c", "../..", "", "nonsense"])
    def test_what_fits_none_lists_near_ones(self, store: FolderStore, name: str) -> None:
        with pytest.raises(UserError, match=r"no run .* Near ones: 20261"):
            store.resolve(name)

    def test_an_empty_store_says_how_to_fill_it(self, tmp_path: Path) -> None:
        with pytest.raises(UserError, match=r"no runs in .* yet: `pytest benchmarks`"):
            FolderStore(tmp_path / "nowhere").resolve()
