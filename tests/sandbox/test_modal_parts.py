"""The parts of the Modal backend that need no Modal."""

from __future__ import annotations

import ast
import io
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_goat.sandbox.base import ExecResult, File, SandboxLimits
from pytest_goat.sandbox.modal import backend, images, wire
from pytest_goat.sandbox.modal.inside import haul, main, trees
from pytest_goat.sandbox.modal.known import Known
from pytest_goat.task import Machine

LIMITS = SandboxLimits()
NAMES = st.sampled_from(["a", "b", "c"])
PATHS = st.lists(NAMES, min_size=1, max_size=3).map("/".join)
FILES = st.binary(max_size=3).map(File)
PUTS = st.lists(st.tuples(PATHS, st.none() | FILES), max_size=12)


# What is known of a folder


def really(root: Path, puts: list[tuple[str, File | None]]) -> None:
    """Put the files as it is done inside, but for the owner."""
    for path, file in puts:
        trees._put(str(root), path.split("/"), None if file is None else file.data, 0o644)


def looked(root: Path, paths: list[str] | None, max_bytes: int, max_files: int) -> wire.Haul:
    """Take the files as it is done inside."""
    found = haul.Haul(max_bytes, max_files)
    haul.take(str(root), paths, found)
    files = {path: File(data) for (path, _, _), data in zip(found.files, found.data, strict=True)}
    return wire.Haul(files, dict(found.refused), found.truncated)


@settings(deadline=None)
@given(first=PUTS, then=PUTS, paths=st.none() | st.lists(PATHS, max_size=3), bounds=st.integers(0, 12))
def test_what_is_known_is_what_is_there(
    tmp_path_factory: pytest.TempPathFactory,
    first: list[tuple[str, File | None]],
    then: list[tuple[str, File | None]],
    paths: list[str] | None,
    bounds: int,
) -> None:
    root = tmp_path_factory.mktemp("root")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.fchown", lambda *_: None)
        really(root, first)
        known = Known(looked(root, None, 1000, 1000))
        really(root, then)
    for path, file in then:
        known.put(path, file)
    assert known.complete
    assert known.take(paths, bounds, 5) == looked(root, paths, bounds, 5).taken()


def test_what_is_cut_off_is_not_known() -> None:
    assert not Known(wire.Haul({"a": File(b"")}, {}, True)).complete
    assert not Known().complete


def test_a_file_that_loses_its_other_name_makes_all_unknown() -> None:
    known = Known(wire.Haul({}, {"one": "hard link", "two": "hard link", "link": "symlink"}, False))
    known.put("link", None)
    assert known.complete
    known.put("one", None)
    assert not known.complete


# The wire


def frame(header: dict[str, Any], *body: bytes) -> bytes:
    out = io.BytesIO()
    main.write_frame(out, header, list(body))
    return out.getvalue()


ENDED = {
    "exit_code": 3,
    "timed_out": False,
    "limit": "",
    "truncated": False,
    "duration": 0.5,
    "streams": [3, 3],
    "clean": True,
}
WHOLE = {
    "result": ENDED,
    "takes": [
        {"files": [["a", 1, False], ["b/c", 2, True]], "refused": [["l", "symlink"]], "truncated": False}
    ],
    "used": 7,
}


def read(data: bytes) -> wire.Reply | None:
    arriving = wire.Frame(1000)
    for start in range(0, len(data), 7):
        arriving.feed(data[start : start + 7])
    return arriving.reply()


def test_a_whole_reply_is_read() -> None:
    files = {"a": File(b"1"), "b/c": File(b"23", executable=True)}
    assert read(frame(WHOLE, b"out", b"err", b"1", b"23")) == wire.Reply(
        [wire.Haul(files, {"l": "symlink"}, False)], 7, ExecResult(3, b"out", b"err", 0.5)
    )


def test_any_part_of_a_reply_is_no_reply() -> None:
    data = frame(WHOLE, b"out", b"err", b"1", b"23")
    assert [read(data[:length]) for length in range(len(data))] == [None] * len(data)


@pytest.mark.parametrize(
    "header",
    [
        [],
        {},
        {"takes": []},
        {**WHOLE, "takes": [{"files": [["/etc/passwd", 0, False]], "refused": [], "truncated": False}]},
        {**WHOLE, "takes": [{"files": [["../x", 0, False]], "refused": [], "truncated": False}]},
        {**WHOLE, "result": {"exit_code": 0}},
        {**WHOLE, "used": "much"},
    ],
)
def test_nonsense_is_refused(header: Any) -> None:
    with pytest.raises(wire.BadReply):
        read(frame(header, b"out", b"err", b"1", b"23"))


def test_a_reply_without_end_is_refused() -> None:
    arriving = wire.Frame(100)
    arriving.feed(b"x" * 100)
    with pytest.raises(wire.BadReply, match="longer"):
        arriving.feed(b"x")


# Images


@pytest.mark.parametrize(
    "script",
    [
        "echo 'one' \"two\" $((1 + 2))",
        "echo one\necho 'it''s' \\\n  two\n",
        "printf '%s\\n' 'a\\tb' \"$HOME\"\n:",
    ],
)
def test_a_set_up_of_any_lines_is_one_instruction(script: str) -> None:
    line = images._bash(script)
    assert "\n" not in line
    expected = subprocess.run(["bash", "-c", script], capture_output=True, check=True)
    assert subprocess.run(["sh", "-c", line], capture_output=True, check=True).stdout == expected.stdout


def test_what_runs_inside_needs_nothing_but_an_old_python() -> None:
    for path in Path(main.__file__).parent.glob("*.py"):
        ast.parse(path.read_text(), feature_version=(3, 9))
        assert "pytest_goat" not in path.read_text(), path.name


@pytest.mark.parametrize(
    ("hosts", "expected"),
    [
        ((), {"block_network": True}),
        (
            ("gateway.modal.run",),
            {"outbound_domain_allowlist": ["gateway.modal.run"], "outbound_cidr_allowlist": []},
        ),
        (("127.0.0.1",), {"outbound_domain_allowlist": [], "outbound_cidr_allowlist": ["127.0.0.1/32"]}),
    ],
)
def test_egress(hosts: tuple[str, ...], expected: dict[str, Any]) -> None:
    assert backend._egress(hosts) == expected


def test_images_differ_by_what_goes_into_them() -> None:
    keys = {
        images._key(Machine(), ()),
        images._key(Machine(image="python:3.12"), ()),
        images._key(Machine(image=Path("/x/Dockerfile")), ()),
        images._key(Machine(setup="true"), ()),
        images._key(Machine(cpu=2.0, gpu="T4"), ()),
    }
    assert len(keys) == 4
