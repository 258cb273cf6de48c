import json

from settings import load


def test_defaults():
    assert load()["db"]["host"] == "localhost"


def test_later_layers_win(tmp_path):
    first, second = tmp_path / "first.json", tmp_path / "second.json"
    first.write_text(json.dumps({"db": {"host": "one", "port": 1}}))
    second.write_text(json.dumps({"db": {"host": "two"}}))
    db = load([first, second], {"APP__DB__POOL__SIZE": "9"})["db"]
    assert (db["host"], db["port"], db["pool"]["size"]) == ("two", 1, 9)
