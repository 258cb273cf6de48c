"""Checks: the scored conditions on the outcome of a trial."""
