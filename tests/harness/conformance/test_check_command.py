"""`ganbench check`: what it is asked for, what it says, and how it ends."""

from __future__ import annotations

import json
import sys

import pytest

from ganbench.errors import UserError
from gans import GAN
from harness.conformance import check
from harness.conformance.target import find
from harness.data.mixtures import load_ring8


@pytest.fixture
def ganbench_check(ganbench):
    return lambda *words: ganbench("check", *words)


def test_one_line_for_each_check_of_a_registered_name(ganbench_check):
    ended = ganbench_check("ring8")
    lines = ended.out.splitlines()
    assert ended.code == 0
    assert len(lines) == 7
    assert all(line.startswith("ok      dataset ring8: ") for line in lines)


def test_a_failed_check_says_what_where_and_the_remedy_and_ends_with_1(ganbench_check, offer):
    ended = ganbench_check(offer(lambda *, size, n, seed: load_ring8(n=100 + len(str(n)), seed=seed)))
    failed = [line for line in ended.out.splitlines() if line.startswith("FAILED  ")]
    assert ended.code == 1
    assert failed == [
        "FAILED  dataset somebodys:thing: number – there are 102 training samples (load(n=20)); take or draw n of them",
        "FAILED  dataset somebodys:thing: size – samples have shape (2,) (load(size=16)); "
        "resize images to size × size, or refuse a size with a ganbench.errors.UserError",
    ]


def test_json_has_every_finding(ganbench_check):
    ended = ganbench_check("grid25", "--json")
    said = json.loads(ended.out)
    assert (ended.code, said["ok"], said["target"]) == (0, True, "grid25")
    assert [finding["check"] for finding in said["checks"]][:2] == ["loaded", "ranges"]
    assert set(said["checks"][0]) == {"kind", "name", "check", "ok", "what", "where", "remedy"}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["ring9"], "unknown variant, network, dataset or metric 'ring9': did you mean 'ring8'?"),
        (["ring8", "--as", "metric"], "unknown metric 'ring8'"),
        (["no_such_module:thing"], "no_such_module:thing: there is no module 'no_such_module'"),
        (["somebodys:other"], "somebodys:other: module 'somebodys' has no attribute 'other'"),
        (["somebodys:thing"], "somebodys:thing is neither a GAN class, a Metric row"),
        (["somebodys:"], "'somebodys:' names no object: give module:object"),
    ],
)
def test_a_mistake_is_one_sentence(ganbench_check, offer, words, said):
    offer(3)
    assert said in ganbench_check(*words).mistake()


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Write a package's modules; Python finds it until the test's end."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "modules", dict(sys.modules))

    def write(**modules):
        for name, text in modules.items():
            path = tmp_path / "theirs" / f"{name}.py"
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)

    return write


BY_ZERO = "the module cannot be imported (ZeroDivisionError: division by zero): mend it first"
MISSING = "the module cannot be imported (ModuleNotFoundError: No module named 'no_such_thing'): mend it first"


@pytest.mark.parametrize(
    ("modules", "asked", "said"),
    [
        ({"__init__": "1 / 0", "mine": ""}, "theirs.mine:thing", BY_ZERO),
        ({"__init__": "", "mine": "1 / 0"}, "theirs.mine:thing", BY_ZERO),
        ({"__init__": "import no_such_thing", "mine": ""}, "theirs.mine:thing", MISSING),
        ({"__init__": "", "mine": "import no_such_thing"}, "theirs.mine:thing", MISSING),
        ({"__init__": "", "mine": "import theirs.other"}, "theirs.mine:thing", "No module named 'theirs.other'"),
        ({"__init__": "", "mine": "raise AttributeError('a\\nb')"}, "theirs.mine:thing", "(AttributeError: a b)"),
        ({"__init__": "", "mine": "raise SystemExit(0)"}, "theirs.mine:thing", "(SystemExit: 0): mend it first"),
        ({"__init__": ""}, "theirs.mine:thing", "there is no module 'theirs.mine'"),
        ({"__init__": ""}, "their.mine:thing", "there is no module 'their'"),
        ({"__init__": "", "mine": ""}, "theirs.mine.deeper:thing", "there is no module 'theirs.mine.deeper'"),
        ({"__init__": "", "mine": ""}, ".mine:thing", "the module cannot be imported (TypeError"),
    ],
)
def test_no_module_is_told_from_one_that_cannot_be_imported(ganbench_check, package, modules, asked, said):
    package(**modules)
    mistake = ganbench_check(asked).mistake()
    assert f"{asked}: " in mistake
    assert said in mistake


def test_a_name_of_several_kinds_is_all_of_them():
    assert [target.kind for target in find("progressive")] == ["variant", "network"]
    assert [target.kind for target in find("progressive", "network")] == ["network"]


def test_an_object_shows_what_it_is(offer):
    from metrics.catalogue import FID

    kinds = {
        "variant": type("Mine", (GAN,), {}),
        "network": lambda recipe, shape: None,
        "dataset": lambda *, size=None, n=None, seed=0: None,
        "metric": FID,
    }
    for kind, found in kinds.items():
        (target,) = find(offer(found))
        assert (target.kind, target.registered) == (kind, False)


def test_a_checked_object_is_known_only_meanwhile(offer):
    asked = offer(load_ring8)
    assert all(finding.ok for finding in check(asked))
    with pytest.raises(UserError, match="unknown dataset"):
        list(check(asked.replace(":", "."), "dataset"))
    (target,) = find(asked)
    with target.known(), pytest.raises(UserError, match="called 'somebodys:thing' already"), target.known():
        pass


def test_what_a_check_stumbles_over_is_one_finding(offer):
    def load(*, size=None, n=None, seed=0):
        raise ZeroDivisionError("by\nzero")

    (finding,) = check(offer(load))
    assert finding.line() == (
        "FAILED  dataset somebodys:thing: loaded – ZeroDivisionError: by zero "
        f"({finding.where}); docs/extending.md tells what it is called with"
    )
    assert finding.where.startswith("test_check_command.py:")
