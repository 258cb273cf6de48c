"""The conformance suite on every kind of local isolation that this machine has."""

from __future__ import annotations

import pytest

from pytest_goat.sandbox.local.backend import LocalBackend
from tests.sandbox.conformance import SandboxConformance


class TestNamespaces(SandboxConformance):
    @classmethod
    def make_backend(cls) -> LocalBackend:
        return LocalBackend("ns")


class TestLandlock(SandboxConformance):
    @classmethod
    def make_backend(cls) -> LocalBackend:
        return LocalBackend("landlock")


class TestUnsafe(SandboxConformance):
    @classmethod
    def make_backend(cls) -> LocalBackend:
        return LocalBackend("none", unsafe=True)

    @pytest.mark.skip(reason="without isolation nothing of the host is read-only")
    def test_mounts_are_there_and_read_only(self) -> None:  # type: ignore[override]
        pass
