"""The conformance suite on every kind of local isolation that this machine has."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from pytest_goat.errors import UserError
from pytest_goat.sandbox.base import File, Mount
from pytest_goat.sandbox.local.backend import LocalBackend
from tests.sandbox.conformance import Bench, Box, SandboxConformance


class LocalConformance(SandboxConformance):
    """What only a local sandbox promises."""

    @pytest.mark.skipif(
        not Path(pytest.__file__).is_relative_to(sys.prefix),
        reason="pytest is not in this Python's environment",
    )
    def test_the_environment_that_runs_pytest_is_there(self, box: Box) -> None:
        box.put({"test_inner.py": File(b"def test(tmp_path):\n    (tmp_path / 'x').write_text('x')\n")})
        result = box.exec("python", "-m", "pytest", "-q", "test_inner.py")
        assert result.ok, result.stdout + result.stderr

    @pytest.mark.parametrize(
        "mount", [Mount("/no/such/source", "/opt/x"), Mount("/usr", "/tmp/x"), Mount("/usr", "opt/x")]
    )
    def test_a_mount_that_cannot_be_is_refused(self, bench: Bench, mount: Mount) -> None:
        with pytest.raises(UserError, match=mount.source), bench.box(mounts=(mount,)):
            pass


class TestNamespaces(LocalConformance):
    @classmethod
    def make_backend(cls) -> LocalBackend:
        return LocalBackend("ns")


class TestLandlock(LocalConformance):
    @classmethod
    def make_backend(cls) -> LocalBackend:
        return LocalBackend("landlock")


class TestUnsafe(LocalConformance):
    @classmethod
    def make_backend(cls) -> LocalBackend:
        return LocalBackend("none", unsafe=True)

    @pytest.mark.skip(reason="without isolation nothing of the host is read-only")
    def test_mounts_are_there_and_read_only(self) -> None:  # type: ignore[override]
        pass
