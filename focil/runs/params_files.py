"""Params files: found by name, read, and joined with what they extend. Nothing is validated here, see
`params`.

Without torch, so that the command line can list them at once.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from focil.base.errors import FocilError
from focil.base.places import shipped

FOCIL = "focil"  # the method of a benchmark, unless its file names another one
FOCILS_OWN = ("focil", "backbone", "held_batches")  # keys that no other method has
STUDIES = (
    "audit",
    "memory",
    "layers",
    "online",
)  # keys of a params file, each a notebook that reads all seeds together
LARGEST = 100_000  # bytes of a params file
NOT_YAML = (yaml.YAMLError, ValueError, TypeError, LookupError, AttributeError, RecursionError)  # of PyYAML
NETWORK = "resnet32"  # of an offline method, unless a file names another one
METHODS = ("finetune", "replay", "icarl", "wa", "der", "memo", "joint", "focil")  # of the study of memory
BACKBONE = "mlp"  # of FOCIL, unless a file names another one


class BenchmarkError(FocilError):
    """A params file or configuration that cannot be run; the message says what to change."""


def find(name: str | Path) -> Path:
    """The params file that is meant: a path, or the name of a file in ./params or of one that comes with
    focil.

    Raises BenchmarkError for a name that is not there; it says which are.
    """
    given = Path(name)
    if given.suffix in (".yaml", ".yml") or len(given.parts) > 1:
        return given
    folders = [Path("params"), shipped("params")]
    for folder in folders:
        if (folder / f"{name}.yaml").is_file():
            return folder / f"{name}.yaml"
    known = sorted({path.stem for folder in folders for path in folder.glob("*.yaml")})
    raise BenchmarkError(
        f"there are no params called {str(name)!r}; there are {', '.join(known)}, or give a path"
    )


def read_config(path: Path) -> dict[str, Any]:
    """What stands below `config:`, joined with what it extends.

    Raises BenchmarkError for a malformed file.
    """
    return extended(_config(path), path.parent)


def extended(config: dict[str, Any], folder: Path) -> dict[str, Any]:
    """A configuration with what it `extends`, by name: a params file in `folder`, or one that comes with
    focil.

    They are joined as in `changed_by`. Raises BenchmarkError for a file that is not there, or that extends
    another one in turn.
    """
    if "extends" not in config:
        return config
    name = config["extends"]
    folders = [folder, shipped("params")]
    found = [
        path
        for path in (place / f"{name}.yaml" for place in folders)
        if isinstance(name, str) and path.is_file()
    ]
    if not found:
        known = ", ".join(sorted({path.stem for place in folders for path in place.glob("*.yaml")})) or "none"
        raise BenchmarkError(
            f"'extends' is {name!r}, but {folder} has no such params file; there are {known}"
        )
    base = _config(found[0])
    if "extends" in base:
        raise BenchmarkError(
            f"'extends' is {name!r}, which extends {base['extends']!r} in turn; name that one and write the "
            "rest out"
        )
    return changed_by(base, {key: value for key, value in config.items() if key != "extends"})


def changed_by(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration with changes; what belongs to its method alone goes where another one is named.

    >>> changed_by({"tasks": 5, "focil": {"again": 1}}, {"method": "er", "online": {"exemplars": 50}})
    {'tasks': 5, 'method': 'er', 'online': {'exemplars': 50}}
    """
    if changes.get("method", method_of(base)) != method_of(base):
        base = {key: value for key, value in base.items() if key not in (*FOCILS_OWN, "online")}
    return joined(base, changes)


def joined(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration with changes; sections are joined key by key.

    >>> joined({"tasks": 5, "focil": {"again": 1, "rule": "energy"}}, {"focil": {"again": 2}})
    {'tasks': 5, 'focil': {'again': 2, 'rule': 'energy'}}
    """
    sections = [key for key, value in changes.items() if _are_sections(base.get(key), value)]
    return dict(base) | dict(changes) | {key: joined(base[key], changes[key]) for key in sections}


def changed(config: Mapping[str, Any], setting: str) -> dict[str, Any]:
    """A configuration with one value replaced. setting: KEY=VALUE, the value in YAML.

    Raises BenchmarkError for a setting of another form.

    >>> changed({"focil": {"again": 1}}, "focil.averaging=0.99")
    {'focil': {'again': 1, 'averaging': 0.99}}
    """
    key, equals, text = setting.partition("=")
    if not equals or not all(key.split(".")):
        raise BenchmarkError(f"--set {setting!r}: expected KEY=VALUE, for example focil.averaging=0.99")
    try:
        value = yaml.safe_load(text)
    except NOT_YAML as error:
        raise BenchmarkError(f"--set {setting!r}: the value is not valid YAML: {error}") from None
    for part in reversed(key.split(".")):
        value = {part: value}
    return joined(config, value)


def method_of(config: Mapping[str, Any]) -> Any:
    """The method that a configuration names, FOCIL where it names none."""
    return config.get("method", FOCIL)


def kind_of(config: Mapping[str, Any]) -> str:
    """The notebook that runs a configuration, or made a recorded one: "benchmark", or that of a study.

    `online` is a study where no method is named, else the options of that method.

    >>> kind_of({"audit": {}}), kind_of({"memo": {}, "layers": None}), kind_of({})
    ('audit', 'memory', 'benchmark')
    >>> kind_of({"online": {}}), kind_of({"method": "er", "online": {}})
    ('online', 'benchmark')
    """
    if method_of(config) != FOCIL:
        return "benchmark"
    recorded = {"memory" if key == "memo" else key for key, value in config.items() if value is not None}
    return next((name for name in STUDIES if name in recorded), "benchmark")


def networks_of(config: Mapping[str, Any]) -> list[str]:
    """The networks that a configuration trains, in the order in which it names them.

    >>> networks_of({"backbone": "resnet18"}), networks_of({"memory": {"methods": ["memo"], "points": []}})
    (['resnet18'], ['resnet32'])
    """
    kind, backbone = kind_of(config), config.get("backbone", BACKBONE)
    if method_of(config) != FOCIL:
        return [(config.get("online") or {}).get("network", BACKBONE)]
    if kind in ("benchmark", "audit"):
        return [backbone]
    section = config[kind]
    if kind == "online":
        return list(dict.fromkeys([section.get("network", BACKBONE), backbone]))
    found = [section.get("network", NETWORK), *(point["network"] for point in section.get("points", ()))]
    if kind == "layers" or "focil" in section.get("methods", METHODS):
        found.append(backbone)
    return list(dict.fromkeys(found))


def in_a_line(path: Path) -> str:
    """What a params file runs: name, data, tasks, networks, and the method or the study.

    Raises BenchmarkError, also for sections that are nothing of the kind.
    """
    config = read_config(path)
    try:
        kind, networks = kind_of(config), ", ".join(networks_of(config))
    except (LookupError, TypeError, AttributeError):
        raise BenchmarkError(f"{path} is no benchmark; what is wrong says: focil run {path}") from None
    what = method_of(config) if kind == "benchmark" else kind
    return f"{path.stem}: {config.get('data')}, {config.get('tasks')} tasks, {networks}, {what}"


def _are_sections(*values: Any) -> bool:
    return all(isinstance(value, Mapping) for value in values)


class _Loader(yaml.SafeLoader):
    """Plain values only: a key twice, or an alias (which can make a small file huge), is an error."""

    def compose_node(self, parent: Any, index: Any) -> yaml.Node:
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()
            raise yaml.constructor.ConstructorError(
                None,
                None,
                f"the alias *{event.anchor} is not supported; write its value out",
                event.start_mark,
            )
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key.value!r} stands here twice; keep one", key.start_mark
                )
            seen.add(key.value if isinstance(key, yaml.ScalarNode) else id(key))
        return super().construct_mapping(node, deep)


def _config(path: Path) -> dict[str, Any]:
    try:
        if path.is_file() and path.stat().st_size > LARGEST:
            raise BenchmarkError(f"{path} has {path.stat().st_size:,} bytes; params have {LARGEST:,} at most")
        content = yaml.load(path.read_text(encoding="utf-8"), _Loader)  # a SafeLoader
    except OSError as error:
        known = sorted(p.stem for p in path.parent.glob("*.yaml"))
        raise BenchmarkError(
            f"cannot read {path}: {error.strerror}. Params files here: {', '.join(known) or 'none'}."
        ) from None
    except NOT_YAML as error:
        raise BenchmarkError(f"{path} is not valid YAML: {error}") from None
    if not isinstance(content, dict) or set(content) != {"config"} or not isinstance(content["config"], dict):
        found = list(content) if isinstance(content, dict) else type(content).__name__
        raise BenchmarkError(
            f"{path} must hold exactly one top-level key, `config:`, with the benchmark below it; found "
            f"{found}. Seeds and folders belong on the command line (--seed, --out)."
        )
    if odd := [key for key in content["config"] if not isinstance(key, str)]:
        raise BenchmarkError(
            f"{path}: unknown key {odd[0]!r}; keys are words (YAML reads an unquoted on, yes or 1 as "
            "something else)"
        )
    return content["config"]
