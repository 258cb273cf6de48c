"""Where keys are looked for: the environment, then the nearest `.env`."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_goat.environ import find_file, read_environ
from pytest_goat.errors import UserError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / ".git").mkdir()
    (tmp_path / "deep").mkdir()
    return tmp_path


def test_the_environment_wins_over_the_file(folder: Path) -> None:
    (folder / ".env").write_text("A=file\nexport B='quoted $A'  # a word\n\nC=\nD=file\n")
    found = read_environ(folder / "deep", {"A": "environment", "D": "", "E": "1", "F": ""})
    assert found == {"A": "environment", "B": "quoted $A", "D": "file", "E": "1", "F": ""}


def test_nothing_is_exported(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GOAT_TEST_KEY", raising=False)
    (folder / ".env").write_text("GOAT_TEST_KEY=secret\n")
    assert read_environ(folder)["GOAT_TEST_KEY"] == "secret"
    assert "GOAT_TEST_KEY" not in read_environ(folder.parent)


def test_the_file_is_looked_for_up_to_the_repository(folder: Path) -> None:
    (folder / "deep" / ".git").mkdir()
    (folder / ".env").write_text("A=1\n")
    assert find_file(folder / "deep") is None
    assert find_file(folder) == folder / ".env"


def test_a_file_that_is_no_text_is_one_message(folder: Path) -> None:
    (folder / ".env").write_bytes(b"A=\xff\n")
    with pytest.raises(UserError, match=r"\.env cannot be read"):
        read_environ(folder)
