"""What other packages add under entry points."""

from __future__ import annotations

import pytest

from ganbench.errors import UserError
from ganbench.registry import Entry, Registry, resolve


@pytest.fixture
def other_package(tmp_path, monkeypatch):
    """An installed package `theirs` with three entry points, one of which takes one of our names."""
    facts = tmp_path / "theirs-1.0.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
    (facts / "entry_points.txt").write_text(
        "[group.x]\ngood = theirs_x:thing\nbad = theirs_x:missing\nours = theirs_x:thing\n"
    )
    (tmp_path / "theirs_x.py").write_text("thing = 'theirs'\n")
    monkeypatch.syspath_prepend(tmp_path)


@pytest.fixture
def registry(other_package):
    return Registry("group.x", "thing", [Entry("ours", "math:pi", "a number")])


def test_what_others_add_comes_after_ours_and_says_whose_it_is(registry):
    assert registry.names() == ["ours", "good", "bad"]
    assert [entry.summary for entry in registry.entries()] == ["a number", "from theirs", "from theirs"]
    assert registry.load("good") == "theirs"


def test_our_name_keeps_its_meaning(registry):
    assert registry.load("ours") == pytest.approx(3.14159, abs=1e-4)


def test_what_cannot_be_loaded_is_told_in_one_sentence(registry):
    with pytest.raises(
        UserError, match=r"thing 'bad' \(from theirs\) cannot be loaded from theirs_x:missing \(Attribute"
    ):
        registry.load("bad")


def test_an_entry_may_be_known_for_a_while(registry):
    mine = Entry("mine", "math:e", "not installed")
    with registry.including(mine):
        assert registry.names() == ["ours", "good", "bad", "mine"]
        assert registry.entry("mine") is mine
    assert "mine" not in registry.names()
    with pytest.raises(UserError, match="unknown thing 'mine'"):
        registry.load("mine")


@pytest.mark.parametrize("name", ["ours", "good"])
def test_a_name_is_not_taken_twice(registry, name):
    with pytest.raises(UserError, match=f"a thing called '{name}' already"), registry.including(Entry(name, "a:b", "")):
        pass


def test_an_object_may_be_another_ones_attribute():
    assert resolve("ganbench.registry:Entry.__name__") == "Entry"
