import pytest

from ignore_rules import Rules

EXAMPLE = """
*.log
!keep.log
/build/
docs/**/draft-?.md
"""

CASES = [
    # rules, ignored, not ignored
    ("", "", "a a/b"),
    ("# a\n\n   \n  #b", "", "# #b a b a/#b"),
    ("  *.tmp   ", "x.tmp a/b/.tmp", "x.tmpl tmp"),
    # names at any depth, files and folders
    ("cache", "cache a/cache cache/x a/cache/b/x", "cached a/mycache Cache"),
    ("cache/", "cache/x a/cache/b/x", "cache a/cache cached/x"),
    # anchored
    ("/todo.txt", "todo.txt todo.txt/x", "a/todo.txt"),
    ("src/gen", "src/gen src/gen/a/b", "a/src/gen src/gen2 src/x/gen"),
    ("/src/gen/", "src/gen/a", "src/gen a/src/gen/b"),
    ("src/gen/", "src/gen/a src/gen/a/b", "src/gen x/src/gen/a"),
    # one star, one question mark
    ("*.py", "a.py b/c.py .py d.py/x", "a.pyc apy"),
    ("src/*.py", "src/a.py", "src/b/a.py a.py x/src/a.py"),
    ("src/*", "src/a src/a/b", "src"),
    ("src/*/", "src/a/b src/a/b/c", "src/a"),
    ("v?.txt", "v1.txt a/v2.txt", "v.txt v10.txt v/.txt"),
    ("a?b/c", "axb/c", "a/b/c ab/c"),
    ("a*b/c", "ab/c axxb/c", "a/b/c"),
    # two stars
    ("a/**/b", "a/b a/x/b a/x/y/b a/b/z", "ab a/xb b x/a/b"),
    ("**/b", "b a/b a/c/b b/x", "ab a/bb"),
    ("**/b/c", "b/c a/b/c a/a/b/c/d", "b/x/c ab/c"),
    ("logs/**", "logs/a logs/a/b", "logs a/logs/b"),
    ("logs/**/", "logs/a/b logs/a/b/c", "logs/a logs"),
    ("**/logs/**", "logs/a x/logs/a x/y/logs/a/b", "logs x/logs"),
    ("a/**/**/b", "a/b a/x/b a/x/y/b", "ab"),
    ("**", "a a/b", ""),
    ("**/", "a/b a/b/c", "a"),
    ("a/x**y", "a/xy a/x1y", "a/x/y a/x/1/y"),
    ("**.bak", "a.bak b/c.bak", "a.bak2"),
    ("/**", "a a/b", ""),
    # the last rule decides
    ("*.log\n!keep.log", "a.log x/b.log", "keep.log x/keep.log"),
    ("!keep.log\n*.log", "keep.log", "keep"),
    ("build/\n!build/readme.md", "build/a build/x/readme.md", "build/readme.md"),
    ("out\n!out/public/\nsecret*", "out/a out/public/secret.txt", "out/public/a out/public/x/y"),
    ("!a", "", "a b"),
    ("*\n!src", "a b/c", "src src/a x/src/y"),
    # characters that mean themselves
    ("notes[1].txt", "notes[1].txt a/notes[1].txt", "notes1.txt"),
    ("[ab].c", "[ab].c", "a.c b.c"),
    ("a.b", "a.b", "axb"),
    ("c++", "c++ x/c++/y", "c cc"),
    ("(x|y)^$", "(x|y)^$", "x y"),
    ("wow!", "wow! a/wow!", "wow"),
    ("!!x\n", "", "!x x"),
    ("*x\n!!x", "ax x", "!x"),
    ("a\\b", "a\\b", "ab a/b"),
    ("{a,b}", "{a,b}", "a b"),
    ("Straße*", "Straße Straße/1", "strasse"),
]


@pytest.mark.parametrize(("rules", "ignored", "kept"), CASES)
def test_rules(rules, ignored, kept):
    judged = Rules(rules)
    wrong = [path for path in ignored.split() if not judged.ignores(path)]
    wrong += [path for path in kept.split() if judged.ignores(path)]
    assert wrong == []


def test_example_of_the_task():
    judged = Rules(EXAMPLE)
    for path in ("a/x.log", "build/out.bin", "docs/draft-1.md", "docs/a/b/draft-2.md"):
        assert judged.ignores(path) is True, path
    for path in ("a/keep.log", "src/build/out.bin", "build", "docs/draft-10.md"):
        assert judged.ignores(path) is False, path


def test_spaces_inside_a_name():
    judged = Rules("  my file ")
    assert judged.ignores("my file")
    assert judged.ignores("x/my file/y")
    assert not judged.ignores("my files")


def test_two_rule_files_at_once():
    first, second = Rules("a"), Rules("b")
    assert (first.ignores("a"), second.ignores("a")) == (True, False)
