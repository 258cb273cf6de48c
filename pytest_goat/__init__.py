"""Turn agent benchmarks into tests."""

__version__ = "0.1.0"
