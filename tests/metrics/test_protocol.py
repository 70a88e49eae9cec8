import json

import pytest

from metrics import Protocol
from metrics.protocol import REQUIRED

CONDITIONS = {**dict.fromkeys(REQUIRED), "n_fake": 10, "preprocessing": {"size": 16}}


def test_the_id_is_a_function_of_the_conditions_alone() -> None:
    protocol = Protocol(CONDITIONS)
    assert protocol.id == Protocol(dict(reversed(CONDITIONS.items()))).id
    assert Protocol.from_json(protocol.json()) == protocol
    assert len(protocol.id) == 12
    assert int(protocol.id, 16) >= 0
    for name in CONDITIONS:
        assert Protocol({**CONDITIONS, name: "other"}).id != protocol.id
    assert Protocol({**CONDITIONS, "more": 1}).id != protocol.id


def test_later_changes_of_the_mapping_do_not_reach_it() -> None:
    conditions = json.loads(json.dumps(CONDITIONS))
    protocol = Protocol(conditions)
    before = protocol.id
    conditions["preprocessing"]["size"] = 32
    assert protocol.id == before


def test_differences_are_told() -> None:
    one, other = Protocol(CONDITIONS), Protocol({**CONDITIONS, "n_fake": 20, "device": "cpu"})
    assert one.differences(other) == ('device: unsaid here, "cpu" there', "n_fake: 10 here, 20 there")
    assert one.differences(one) == ()


def test_incomplete_or_inexpressible_conditions_are_a_bug() -> None:
    with pytest.raises(ValueError, match="does not say split"):
        Protocol({name: 1 for name in REQUIRED if name != "split"})
    with pytest.raises(ValueError, match="JSON compliant"):
        Protocol({**CONDITIONS, "k": float("nan")})
    with pytest.raises(TypeError):
        Protocol({**CONDITIONS, "k": object()})
