"""Apps on Modal: what is deployed, and how a run sees to it that it is there."""
