"""A trial's options from YAML files and from the command line's `key=value`."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from yaml.composer import ComposerError

from ganbench.errors import UserError
from harness.config import merge


class _Loader(yaml.SafeLoader):
    """Safe YAML that reads 1e-4 as a number (YAML 1.1 takes it for text) and refuses a key that is given twice."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    raise ComposerError(None, None, f"the key {key.value!r} is given twice", key.start_mark)
                seen.add(key.value)
        return node


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789")
)


def parse_yaml(text: str, where: str) -> Any:
    """The value that `text` holds; `where` names its place in the `UserError` for malformed YAML."""
    try:
        loader = _Loader(text)
        try:
            return loader.get_single_data()
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f"{where}, line {mark.line + 1}" if mark and mark.line else where
        raise UserError(f"{place}: malformed YAML ({error.problem})") from None
    except (yaml.YAMLError, ValueError) as error:  # a control character; a date that is none
        raise UserError(f"{where}: malformed YAML ({' '.join(str(error).split())})") from None


def parse_assignments(assignments: Sequence[str]) -> dict[str, Any]:
    """Dotted keys from the command line's `key=value`; values are YAML.

    >>> parse_assignments(["gan.n_critic=5", "evaluation.metrics=[fid, kid]", "gan.lr_generator=1e-4"])
    {'gan.n_critic': 5, 'evaluation.metrics': ['fid', 'kid'], 'gan.lr_generator': 0.0001}

    Raises:
        UserError: no `=`, an empty or unknown key, a key given twice, or malformed YAML.
    """
    return merge(read_assignments(assignments, example="gan.n_critic=5"))


def read_assignments(assignments: Sequence[str], *, example: str) -> dict[str, Any]:
    """Keys as they are written, and their values as YAML; `example` is one for who writes something else.

    Raises:
        UserError: no `=`, an empty key, a key given twice, or malformed YAML.
    """
    raw: dict[str, Any] = {}
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        key = key.strip()
        if not equals or not key:
            raise UserError(f"{assignment!r} is no key=value: write for example {example}")
        if key in raw:
            raise UserError(f"option {key} is given twice: keep one of {raw[key]!r} and {text!r}")
        raw[key] = parse_yaml(text, f"option {key}")
    return raw


def format_assignments(options: Mapping[str, Any]) -> list[str]:
    """What `read_assignments` reads as these options.

    >>> format_assignments({"gan.name": "wgan", "images": 2000, "evaluation.metrics": ["fid"], "data.name": "1e3"})
    ['gan.name=wgan', 'images=2000', 'evaluation.metrics=["fid"]', 'data.name="1e3"']
    """

    def text(name: str, value: Any) -> str:
        plain = isinstance(value, str) and re.fullmatch(r"[\w./-]+", value) and parse_yaml(value, name) == value
        return str(value) if plain else json.dumps(value, ensure_ascii=False)  # which YAML reads too

    return [f"{name}={text(name, value)}" for name, value in options.items()]


def read_mapping(path: Path) -> tuple[str, dict[str, Any]]:
    """A YAML file's text and the mapping that it holds; raises `UserError` where it holds none."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError(f"there is no file {path}") from None
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
        raise UserError(f"{path} cannot be read: {reason}") from None
    value = parse_yaml(text, str(path))
    if not isinstance(value, dict):
        raise UserError(f"{path} holds no options: write 'key: value' lines")
    return text, value


def load_config_file(path: Path) -> dict[str, Any]:
    """A config file's options, flat and dotted, ready for `merge` and `resolve`.

    Raises:
        UserError: no such file, malformed YAML, or an unknown key.
    """
    _, raw = read_mapping(path)
    try:
        return merge(raw)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
