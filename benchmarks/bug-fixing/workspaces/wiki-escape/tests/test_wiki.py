from wiki.render import render


def test_blocks():
    assert render("= Goats\n\nThey *climb*.\n\n- one\n- two") == (
        "<h1>Goats</h1>\n<p>They <strong>climb</strong>.</p>\n<ul><li>one</li><li>two</li></ul>"
    )


def test_pieces():
    assert render("see [the farm](https://example.org/farm) and `x = 1`") == (
        '<p>see <a href="https://example.org/farm">the farm</a> and <code>x = 1</code></p>'
    )


def test_plain_text_is_escaped():
    assert render("1 < 2 & 3") == "<p>1 &lt; 2 &amp; 3</p>"
