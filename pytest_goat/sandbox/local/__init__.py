"""Sandboxes on this machine, made by an own launcher from what the kernel offers everybody."""
