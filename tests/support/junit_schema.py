"""What Jenkins' junit-10.xsd allows, as far as we write it, and the properties of cases that pytest adds."""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

OUTCOME = ((), {"type": False, "message": False})
RULES: dict[str, tuple[tuple[str, ...], dict[str, bool]]] = {
    "testsuites": (("testsuite",), dict.fromkeys(("name", "time", "tests", "failures", "errors"), False)),
    "testsuite": (
        ("properties", "testcase", "system-out", "system-err"),
        {"name": True, "tests": True, "failures": True, "errors": True}
        | dict.fromkeys(("time", "skipped", "timestamp", "hostname", "id", "package", "file"), False),
    ),
    "testcase": (
        ("properties", "skipped", "error", "failure", "system-out", "system-err"),
        {"name": True, "time": False, "classname": False},
    ),
    "properties": (("property",), {}),
    "property": ((), {"name": True, "value": True}),
    "failure": OUTCOME,
    "error": OUTCOME,
    "skipped": OUTCOME,
    "system-out": ((), {}),
}
"""Element -> children it may have, attributes it may have and whether it must."""


def assert_valid(element: ET.Element) -> None:
    """Check an element and all below it."""
    children, attributes = RULES[element.tag]
    assert set(element.attrib) <= set(attributes), element.tag
    assert {name for name, needed in attributes.items() if needed} <= set(element.attrib), element.tag
    if "time" in element.attrib:
        assert re.fullmatch(r"\d+\.\d*", element.attrib["time"])
    for name in ("tests", "failures", "errors", "skipped"):
        assert element.attrib.get(name, "0").isdigit()
    for child in element:
        assert child.tag in children, f"{child.tag} in {element.tag}"
        assert_valid(child)
