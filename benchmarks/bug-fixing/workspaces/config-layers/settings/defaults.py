"""What holds when nobody says otherwise."""

DEFAULTS = {
    "debug": True,
    "name": "goat farm",
    "db": {"host": "localhost", "port": 5432, "pool": {"size": 5, "timeout": 30}},
    "plugins": ["audit", "mail"],
    "mail": {"from": "farm@example.org", "copies": ["boss@example.org"]},
}
