"""Looks at the rendered page as a browser does: tags, attributes and text, however they are spelled."""

import random
from html.parser import HTMLParser

import pytest

from wiki.render import render

ATTRIBUTES = {"a": ["href"], "img": ["alt", "src"]}
TAGS = {"h1", "h2", "h3", "p", "ul", "li", "pre", "code", "strong", "a", "img"}


class Page(HTMLParser):
    def __init__(self, html):
        super().__init__(convert_charrefs=True)
        self.seen, self.open = [], []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        assert tag in TAGS
        assert sorted(name for name, _ in attrs) == ATTRIBUTES.get(tag, [])
        self.seen.append((tag, dict(attrs)) if attrs else tag)
        if tag != "img":
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag != "img":
            self.handle_endtag(tag)

    def handle_endtag(self, tag):
        assert tag == self.open.pop()

    def handle_data(self, text):
        if self.open:
            self.seen.append(repr(text))
        else:
            assert not text.strip()

    def handle_comment(self, text):
        raise AssertionError("a comment")

    handle_decl = unknown_decl = handle_pi = handle_comment


def seen(text):
    return Page(render(text)).seen


@pytest.mark.parametrize(
    "plain",
    ["<script>alert(1)</script>", "a & b", "&amp;", "&lt;b&gt;", "</p><p>", "<!-- x -->", "1 < 2 > 0", 'say "hi"', "it's"],
)
@pytest.mark.parametrize(
    ("before", "after", "tags"),
    [
        ("", "", ["p"]),
        ("= ", "", ["h1"]),
        ("=== ", "", ["h3"]),
        ("- ", "", ["ul", "li"]),
        ("{{{\n", "\n}}}", ["pre"]),
        ("`", "`", ["p", "code"]),
        ("*", "*", ["p", "strong"]),
        ("= *", "*", ["h1", "strong"]),
        ("[", "](page)", ["p", ("a", {"href": "page"})]),
    ],
)
def test_text_comes_out_as_typed(before, after, tags, plain):
    assert seen(before + plain + after) == [*tags, repr(plain)]


def test_headings_have_pieces():
    assert seen("== On *goats* and `<b>`") == ["h2", "'On '", "strong", "'goats'", "' and '", "code", "'<b>'"]


def test_code_blocks_are_plain():
    content = "*a* `b` [c](d)\n- ![e](f) <b> = g"
    assert seen("{{{\n" + content + "\n}}}") == ["pre", repr(content)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("*a `b` [c](d)*", ["p", "strong", "'a `b` [c](d)'"]),
        ("`*a* [b](c)`", ["p", "code", "'*a* [b](c)'"]),
        ("[*a* `b`](c)", ["p", ("a", {"href": "c"}), "'*a* `b`'"]),
        ("[a](b*c*d`e`)", ["p", ("a", {"href": "b*c*d`e`"}), "'a'"]),
        ("![*a* `b`](c*d*)", ["p", ("img", {"src": "c*d*", "alt": "*a* `b`"})]),
        ("`a *b` c*", ["p", "code", "'a *b'", "' c*'"]),
        ("*a\nb*", ["p", "'*a\\nb*'"]),
        ("`` ** [](x) [a]()", ["p", "'`` ** [](x) [a]()'"]),
        ("*a* [b](c) `d`", ["p", "strong", "'a'", "' '", ("a", {"href": "c"}), "'b'", "' '", "code", "'d'"]),
    ],
)
def test_pieces_do_not_nest_and_the_leftmost_counts(text, expected):
    assert seen(text) == expected


@pytest.mark.parametrize(
    "target",
    ["http://a.b/c", "https://a.b/?x=1&y=2", "HTTPS://A.B", "mailto:goat@a.b", "MailTo:goat@a.b", "page", "page#part"]
    + ["/a/b?c=d&e=f", "#part", "a/b:c", "?q=a:b", "./x:y", "a&amp;b", "q?a='b'&c=\"d\"", "http:page"],
)
def test_good_targets(target):
    assert seen(f"[x]({target})") == ["p", ("a", {"href": target}), "'x'"]


@pytest.mark.parametrize(
    "target",
    ["javascript:alert`1`", "JavaScript:alert`1`", " javascript:alert`1`", "java\tscript:x", "\tjava\tscript\t:x"]
    + ["\x01javascript:x", "\x00 javascript:x", "\x1fjavascript:x", "data:text/html,x", "vbscript:x", "file:///etc/passwd"]
    + ["ftp://a.b", "//a.b/c", "\\\\a.b/c", "/\\a.b", "\\/a.b", "/\t/a.b", " //a.b", "x-goat:1", "httpx://a", "about:blank"],
)
@pytest.mark.parametrize("mark", ["", "!"])
def test_bad_targets(mark, target):
    typed = f"{mark}[x]({target})"
    found = seen(f"see {typed} *there*")
    assert found == ["p", repr(f"see {typed} "), "strong", "'there'"]


def test_mail_is_no_picture():
    assert seen("![x](mailto:a@b)") == ["p", "'![x](mailto:a@b)'"]


def test_pictures():
    assert seen('![a "b" <c> & d](/e?f=1&g="2")') == ["p", ("img", {"src": '/e?f=1&g="2"', "alt": 'a "b" <c> & d'})]


def test_entities_in_targets_stay_what_they_were():
    for found in seen("[x](&#106;avascript:alert`1`)"):
        if isinstance(found, tuple):
            assert found[1]["href"] == "&#106;avascript:alert`1`"


def test_handlers_do_not_get_in():
    assert seen('[x](http://a" onclick="alert`1`)') == ["p", ("a", {"href": 'http://a" onclick="alert`1`'}), "'x'"]


def test_any_text_is_safe():
    rng = random.Random(1234)
    crumbs = ["*", "`", "[", "](", ")", "!", "<b ", "onload='x' ", '"', "'", "&", "&lt;", ">", "a", " ", "\n", "\n\n", "= ", "- "]
    crumbs += ["javascript:", "http://", "{{{\n", "\n}}}"]
    for _ in range(3000):
        text = "".join(rng.choices(crumbs, k=rng.randrange(1, 14)))
        for found in seen(text):
            if isinstance(found, tuple):
                assert not found[1].get("href", found[1].get("src")).startswith("javascript")
