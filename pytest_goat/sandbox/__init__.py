"""Sandboxes: one isolated machine for one trial."""
