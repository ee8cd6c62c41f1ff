"""Files: a write is whole or has not happened, and says why."""

import errno
import hashlib

import pytest

from focil.base import files
from focil.base.errors import FocilError
from focil.base.files import WriteError, atomic_path, file_digest, remove_parts


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def target(tmp_path):
    path = tmp_path / "result.json"
    path.write_text("old")
    return path


def full_disk(*_):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_write_appears_whole(target):
    with atomic_path(target) as part:
        part.write_text("new")
        assert target.read_text() == "old"  # nobody sees a half
        assert part.parent == target.parent  # a rename needs one file system
    assert target.read_text() == "new"
    assert names(target.parent) == ["result.json"]


def test_a_first_write_appears(tmp_path):
    with atomic_path(tmp_path / "new.npz") as part:
        part.write_bytes(b"123")
    assert (tmp_path / "new.npz").read_bytes() == b"123"
    assert names(tmp_path) == ["new.npz"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, ValueError])
def test_an_interrupted_write_leaves_what_was_there(target, error):
    with pytest.raises(error), atomic_path(target) as part:
        part.write_text("ne")
        raise error
    assert target.read_text() == "old"
    assert names(target.parent) == ["result.json"]


def test_a_disk_that_fills_up_on_renaming(target, monkeypatch):
    monkeypatch.setattr(files.os, "replace", full_disk)
    with (
        pytest.raises(WriteError, match=r"disk filled up.*result\.json.*\d+ MiB are free.*Make room"),
        atomic_path(target) as part,
    ):
        part.write_text("new")
    assert target.read_text() == "old"
    assert names(target.parent) == ["result.json"]


def test_a_disk_that_fills_up_while_writing(target):
    with pytest.raises(WriteError, match="disk filled up"), atomic_path(target) as part:
        part.write_text("ne")
        full_disk()
    assert target.read_text() == "old"
    assert names(target.parent) == ["result.json"]


def test_a_folder_that_is_missing_is_explained(tmp_path):
    with (
        pytest.raises(
            WriteError, match=r"could not be written.*expected a folder that can be written to.*--out"
        ),
        atomic_path(tmp_path / "nowhere" / "x.json") as part,
    ):
        part.write_text("new")
    assert names(tmp_path) == []
    assert issubclass(WriteError, FocilError)


def test_a_file_in_the_place_of_the_folder_is_explained(target):
    with pytest.raises(WriteError), atomic_path(target / "x.json") as part:
        part.write_text("new")


def test_two_writers_of_one_file_do_not_meet(target):
    with atomic_path(target) as slow:
        slow.write_text("slow")
        with atomic_path(target) as fast:
            assert fast != slow
            fast.write_text("fast")
        assert target.read_text() == "fast"
    assert target.read_text() == "slow"
    assert names(target.parent) == ["result.json"]


def test_only_what_a_kill_left_of_a_write_is_removed(target):
    with atomic_path(target) as part:
        part.write_text("half")
        others = [target.with_name(name) for name in (".note.part", "memory.part.ipynb", ".result.json")]
        for path in others:
            path.write_text("mine")
        remove_parts(target.parent)
        assert not part.exists()
        part.write_text("whole")
    assert all(path.exists() for path in (target, *others)) and len(names(target.parent)) == 4


@pytest.mark.parametrize("content", [b"", b"abc", bytes(range(256)) * 5000])
def test_a_digest_is_that_of_all_bytes(tmp_path, content):
    (tmp_path / "file").write_bytes(content)
    assert file_digest(tmp_path / "file") == hashlib.sha256(content).hexdigest()
    assert file_digest(tmp_path / "file", "md5") == hashlib.md5(content).hexdigest()
