"""What is on the volume: who may write there, and which backups count."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path

import pytest
from goat_stack.disk import FileFact, copy_file, whole_file
from goat_stack.epochs import Epoch, epoch_folders, ready_epochs
from goat_stack.errors import StackError, SupersededError
from goat_stack.generations import Generations, Snapshot, find_backup
from goat_stack.volume import FolderVolume
from goat_stack.wal import WalArchive

from tests.support.stack_driver import DelayedVolume


def epoch_on(path: Path) -> Epoch:
    return Epoch(FolderVolume(path))


def files(folder: Path, **texts: str) -> list[Path]:
    """Files on the container's disk, named as the keywords are."""
    folder.mkdir(exist_ok=True)
    for name, text in texts.items():
        (folder / name).write_text(text)
    return [folder / name for name in texts]


def texts(volume: Path, store: str = "store") -> dict[str, str]:
    backup = find_backup(volume, store)
    assert backup
    return {path.name: path.read_text() for path in backup.files}


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    return tmp_path / "volume"


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    return tmp_path / "disk"


def test_each_boot_claims_a_newer_epoch_and_the_older_may_write_no_more(volume: Path, disk: Path) -> None:
    older = epoch_on(volume)
    newer = epoch_on(volume)
    assert (older.name[:9], newer.name[:9]) == ("00000001-", "00000002-")
    newer.check()
    kept = sorted(volume.rglob("*"))
    with pytest.raises(SupersededError, match=f"epoch {newer.name}, has taken over"):
        Generations(older, "store").begin(Snapshot(files(disk, full="text")))
    with pytest.raises(SupersededError):
        WalArchive(older).put("000000010000000000000001", b"segment")
    with pytest.raises(SupersededError):
        older.mark_ready()
    assert sorted(volume.rglob("*")) == kept


def test_of_two_that_claim_at_once_unseen_one_goes_on(tmp_path: Path) -> None:
    cloud = tmp_path / "cloud"
    cloud.mkdir()
    epochs = []
    for name in ("one", "two"):
        # Neither sees the other's claim: each view is of the empty cloud.
        (tmp_path / name).mkdir()
        unseen = tmp_path / f"{name}-cloud"
        unseen.mkdir()
        epochs.append(Epoch(DelayedVolume(tmp_path / name, unseen)))
    for epoch in epochs:
        epoch.volume = DelayedVolume(epoch.volume.path, cloud)
        epoch.volume.commit()
    older, newer = sorted(epochs, key=lambda epoch: epoch.name)
    assert older.name[:9] == newer.name[:9] == "00000001-"
    newer.check()
    with pytest.raises(SupersededError):
        older.check()


def test_a_claim_that_was_cut_off_is_no_epoch(volume: Path) -> None:
    (volume / "epochs" / "00000009-00000000").mkdir(parents=True)
    assert epoch_on(volume).name.startswith("00000001-")


def test_a_volume_that_cannot_be_written_is_said(volume: Path) -> None:
    volume.mkdir()
    (volume / "epochs").write_text("")
    with pytest.raises(StackError, match=f"cannot write the volume at {volume}"):
        epoch_on(volume)


def test_old_epochs_go_when_a_new_one_is_ready(volume: Path) -> None:
    names = []
    for _ in range(5):
        epoch = epoch_on(volume)
        epoch.mark_ready()
        names.append(epoch.name)
    cut_off = epoch_on(volume)
    last = epoch_on(volume)
    assert cut_off.folder in epoch_folders(volume)
    last.mark_ready()
    assert [folder.name for folder in ready_epochs(volume)] == [last.name, names[4], names[3]]
    assert cut_off.folder not in epoch_folders(volume)


def test_an_epoch_that_is_not_ready_is_not_restored_from(volume: Path, disk: Path) -> None:
    first = epoch_on(volume)
    Generations(first, "store").begin(Snapshot(files(disk, full="first")))
    first.mark_ready()
    Generations(epoch_on(volume), "store").begin(Snapshot(files(disk, full="second")))
    assert texts(volume) == {"full": "first"}


def test_a_store_without_a_backup_begins_empty(volume: Path) -> None:
    epoch_on(volume).mark_ready()
    assert find_backup(volume, "store") is None


def test_additions_belong_to_their_generation_and_replace_what_they_say(volume: Path, disk: Path) -> None:
    epoch = epoch_on(volume)
    epoch.mark_ready()
    generations = Generations(epoch, "store")
    generations.begin(Snapshot(files(disk, full="1")))
    generations.add(Snapshot(files(disk, add_1="2"), replaces="add_*"))
    generations.add(Snapshot(files(disk, add_2="3"), replaces="add_*"))
    assert texts(volume) == {"full": "1", "add_2": "3"}
    assert not list(volume.rglob("add_1"))
    generations.begin(Snapshot(files(disk, full="4")))
    assert texts(volume) == {"full": "4"}


def test_two_generations_are_kept(volume: Path, disk: Path) -> None:
    epoch = epoch_on(volume)
    generations = Generations(epoch, "store")
    for number in range(4):
        generations.begin(Snapshot(files(disk, full=str(number))))
    kept = sorted(path.name for path in (epoch.folder / "store").iterdir())
    assert kept == ["000003", "000004"]
    assert [path.read_text() for path in generations.oldest()] == ["2"]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda folder: (folder / "manifest.json").unlink(),
        lambda folder: (folder / "manifest.json").write_text('{"files": {"full": {"si'),
        lambda folder: (folder / "manifest.json").write_text("[]"),
        lambda folder: (folder / "full").write_text("secomd"),
        lambda folder: (folder / "full").write_text("second and more"),
        lambda folder: (folder / "full").unlink(),
    ],
    ids=["no manifest", "torn manifest", "other manifest", "other bytes", "other length", "no file"],
)
def test_a_spoilt_generation_is_passed_over(volume: Path, disk: Path, spoil: object) -> None:
    assert callable(spoil)
    epoch = epoch_on(volume)
    epoch.mark_ready()
    generations = Generations(epoch, "store")
    generations.begin(Snapshot(files(disk, full="first")))
    generations.begin(Snapshot(files(disk, full="second")))
    spoil(epoch.folder / "store" / "000002")
    assert texts(volume) == {"full": "first"}


def test_where_the_newest_epoch_is_spoilt_the_one_before_is_used(volume: Path, disk: Path) -> None:
    for text in ("first", "second"):
        epoch = epoch_on(volume)
        Generations(epoch, "store").begin(Snapshot(files(disk, full=text)))
        epoch.mark_ready()
    (epoch.folder / "store" / "000001" / "full").write_text("spoilt")
    assert texts(volume) == {"full": "first"}


def test_a_backup_that_could_not_be_written_leaves_the_one_before(volume: Path, disk: Path) -> None:
    epoch = epoch_on(volume)
    epoch.mark_ready()
    generations = Generations(epoch, "store")
    generations.begin(Snapshot(files(disk, full="first")))
    blocked = epoch.folder / "store" / "000002"
    blocked.write_text("")
    with pytest.raises(StackError, match="cannot write"):
        generations.begin(Snapshot(files(disk, full="second")))
    assert texts(volume) == {"full": "first"}
    blocked.unlink()
    generations.begin(Snapshot(files(disk, full="third")))
    assert texts(volume) == {"full": "third"}


def test_a_file_is_whole_or_not_there(tmp_path: Path) -> None:
    target = tmp_path / "file"
    target.write_text("before")
    with pytest.raises(StackError, match=f"no room left in {tmp_path}"), whole_file(target) as file:  # noqa: PT012
        file.write(b"half")
        raise OSError(28, os.strerror(28))
    assert target.read_text() == "before"
    assert list(tmp_path.iterdir()) == [target]


def test_a_copy_is_what_it_says(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(os.urandom(3_000_000))
    assert copy_file(source, tmp_path / "copy") == FileFact.of(source) == FileFact.of(tmp_path / "copy")


def test_segments_before_the_oldest_base_backup_go(volume: Path) -> None:
    epoch = epoch_on(volume)
    archive = WalArchive(epoch)
    for name in ("000000010000000000000004", "000000020000000000000005", "00000002.history"):
        archive.put(name, b"segment")
    archive.prune("000000020000000000000005")
    kept = sorted(path.name for path in (epoch.folder / "wal").iterdir())
    assert kept == ["00000002.history.gz", "000000020000000000000005.gz"]


def test_many_threads_archive_into_one_epoch(volume: Path) -> None:
    epoch = epoch_on(volume)
    archive = WalArchive(epoch)
    archive.source = epoch.folder
    names = [f"0000000100000000000000{number:02X}" for number in range(20)]
    threads = [threading.Thread(target=archive.put, args=(name, name.encode())) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [archive.get(name) for name in names] == [name.encode() for name in names]
    assert archive.get("000000010000000000000099") is None


def test_the_manifest_says_size_and_sum_of_each_file(volume: Path, disk: Path) -> None:
    epoch = epoch_on(volume)
    Generations(epoch, "store").begin(Snapshot(files(disk, full="abc")))
    manifest = json.loads((epoch.folder / "store" / "000001" / "manifest.json").read_text())
    sum_of_abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert manifest == {"files": {"full": {"size": 3, "sha256": sum_of_abc}}}
