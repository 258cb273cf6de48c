"""What sandboxes, gateway, store and services on Modal have in common: names, deadlines, errors."""
