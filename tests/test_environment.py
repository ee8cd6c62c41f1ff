"""The environment: one version of everything, and packages that fit each other."""

import re
import tomllib
from importlib import metadata
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent
PIN = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;]+)", re.MULTILINE)


def lock() -> dict[str, set[str]]:
    """Package -> versions in the lock (several where the Python version decides)."""
    versions: dict[str, set[str]] = {}
    for name, version in PIN.findall((ROOT / "requirements.lock").read_text()):
        versions.setdefault(name.lower(), set()).add(version)
    return versions


def conda() -> list[str]:
    """What environment.yml has pip install."""
    return yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"][-1]["pip"]


def test_environment_yml_names_the_versions_of_the_lock():
    pins = [PIN.match(line) for line in conda() if PIN.match(line)]
    main = {"torch", "torchvision", "jupyterlab", "papermill", "seaborn", "ipywidgets", "nbval"}
    assert {pin[1] for pin in pins} >= main
    for pin in pins:
        assert lock()[pin[1]] == {pin[2]}
    assert "--constraint requirements.lock" in conda()


def test_every_dependency_is_locked():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = project["dependencies"] + sum(project["optional-dependencies"].values(), [])
    assert {re.match(r"[A-Za-z0-9._-]+", item)[0] for item in named} <= set(lock())


def test_what_is_installed_is_what_is_locked():
    for name in ("torch", "torchvision", "papermill", "nbval", "pydantic"):
        assert metadata.version(name).split("+")[0] in lock()[name]


def test_torch_and_torchvision_come_from_one_source():
    import torchvision.ops

    assert torchvision.ops.nms is not None  # fails to import where the two builds do not fit


def test_the_package_is_versioned_once():
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == version


def test_the_lock_names_no_address():
    for name in ("requirements.lock", "environment.yml", "pyproject.toml", "Makefile"):
        text = re.sub(r"\[project\.urls\][^\[]*", "", (ROOT / name).read_text())  # pages to read
        assert not re.search(r"https?://|--index|--find-links", text), name
