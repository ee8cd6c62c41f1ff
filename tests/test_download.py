"""Downloads against a server on the loopback address: a file is there whole and verified, or not at all."""

import errno
import gc
import gzip
import hashlib
import io
import os
import pickle
import tarfile
import threading
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from test_datasets import arrays, complaint

from focil.base.files import atomic_path, file_digest
from focil.data import download, formats, tiny_imagenet
from focil.data.datasets import Dataset, load
from focil.data.download import fetch, writable_folder

BODY = bytes(range(256)) * 9000  # more than one chunk
pytestmark = pytest.mark.usefixtures("root", "once")


@pytest.fixture
def once(monkeypatch):
    """A transfer that fails is not tried again, which takes seconds."""
    monkeypatch.setattr(download, "RETRIES", 0)


@contextmanager
def serving(files, missing=0):
    """Serve {path: bytes}, announcing `missing` bytes more than are sent; gives the base address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            body = files.get(self.path)
            self.send_response(404 if body is None else 200)
            self.send_header("Content-Length", str(len(body or b"") + missing))
            self.end_headers()
            with suppress(ConnectionError):  # a client may leave before the end
                self.wfile.write(body or b"" if self.command == "GET" else b"")

        do_HEAD = do_GET

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def md5(data):
    return hashlib.md5(data).hexdigest()


def test_a_download_arrives_and_is_announced(root, capfd):
    with serving({"/set.zip": BODY}) as url:
        assert fetch(f"{url}/set.zip", root / "set.zip", md5(BODY)).read_bytes() == BODY
    assert os.listdir(root) == ["set.zip"]
    said = capfd.readouterr().err
    assert "set.zip" in said and "100%" in said


def test_what_is_there_and_whole_is_not_fetched_again(root):
    (root / "a").write_bytes(BODY)
    assert fetch("http://127.0.0.1:1/a", root / "a", md5(BODY)).read_bytes() == BODY


def test_a_wrong_checksum_leaves_nothing(root):
    with serving({"/a": BODY}) as url:
        complaint(lambda: fetch(f"{url}/a", root / "a", "0" * 32), md5(BODY), "0" * 32, "by hand")
    assert os.listdir(root) == []


def test_an_older_file_stays_when_the_new_one_is_wrong(root):
    (root / "a").write_text("older")
    with serving({"/a": BODY}) as url:
        complaint(lambda: fetch(f"{url}/a", root / "a", "0" * 32))
    assert (root / "a").read_text() == "older"


def test_a_transfer_that_ends_early_leaves_nothing(root):
    with serving({"/a": BODY}, missing=10) as url:
        complaint(lambda: fetch(f"{url}/a", root / "a", md5(BODY)), "could not be downloaded", "by hand")
    assert os.listdir(root) == []


def test_a_transfer_that_breaks_off_is_tried_again(root, monkeypatch):
    monkeypatch.setattr(download, "RETRIES", 1)
    monkeypatch.setattr("time.sleep", lambda _: None)
    bodies = [BODY[:-5] + b"wrong", BODY]

    class Once(dict):
        """Serves another body every time."""

        def get(self, path):
            return bodies.pop(0)

    with serving(Once()) as url:
        assert fetch(f"{url}/a", root / "a", md5(BODY)).read_bytes() == BODY
    assert bodies == []


@pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning"
)  # pooch leaves its sockets to Python
def test_no_such_file_and_no_server(root):
    with serving({}) as url:
        complaint(lambda: fetch(f"{url}/a", root / "a", md5(BODY)), "404", "FOCIL_DATA")
    # It is closed by now.
    complaint(lambda: fetch(f"{url}/a", root / "a", md5(BODY)), "could not be downloaded", "put it into")
    complaint(lambda: fetch("file:///etc/hostname", root / "a", md5(BODY)), "could not be downloaded")
    complaint(lambda: fetch("http://", root / "a", md5(BODY)), "could not be downloaded")
    gc.collect()
    assert os.listdir(root) == []


def test_an_interruption_leaves_nothing(root):
    with pytest.raises(KeyboardInterrupt), atomic_path(root / "a") as part:
        part.write_text("half")
        raise KeyboardInterrupt
    assert os.listdir(root) == []


FULL = "needs /dev/full, a device that is always full (Linux)"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason=FULL)
def test_a_full_disk_is_explained(root, monkeypatch):
    monkeypatch.setattr("secrets.token_hex", lambda _: "fixed")

    def full(name):
        (root / f".{name}.fixed.part").symlink_to("/dev/full")

    full("a.npz")
    assert "filled up" in complaint(lambda: formats.write_npz(root / "a.npz", checked_set()))
    assert os.listdir(root) == []


def test_a_full_disk_during_a_download_is_explained(root, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("pooch.HTTPDownloader.__call__", full)
    assert "Make room" in complaint(lambda: fetch("http://127.0.0.1:1/b", root / "b", md5(BODY)))
    assert os.listdir(root) == []


def test_any_other_failed_write_is_explained(root):
    path = root / "absent" / "a.npz"
    complaint(lambda: formats.write_npz(path, checked_set()), "could not be written", "permissions")


def checked_set(**how):
    return formats.checked(arrays(**how), "a test")


def test_a_stored_set_comes_back_with_its_digest(root):
    given = checked_set()
    contents = formats.write_npz(root / "a.npz", given)
    back, recorded = formats.read_npz(root / "a.npz")
    assert recorded == contents == formats.digest(back) == Dataset.from_arrays(**given).checksum
    first = (root / "a.npz.sha256").read_text().split()
    assert first[:2] == [file_digest(root / "a.npz"), "a.npz"]
    assert load(str(root / "a.npz")).checksum == contents


def test_an_altered_file_does_not_match_its_checksum(root):
    formats.write_npz(root / "mnist.npz", checked_set())
    np.savez(root / "mnist.npz", **arrays(seed=1))  # whole and readable, but another one
    complaint(lambda: load("mnist"), "altered", "Delete both")
    (root / "mnist.npz.sha256").write_text("")
    complaint(lambda: load("mnist"), "none", "Delete both")


def test_a_checksum_left_behind_does_not_condemn_the_next_file(root):
    formats.write_npz(root / "a.npz", checked_set())
    (root / "a.npz").unlink()
    formats.write_npz(root / "a.npz", checked_set(seed=1))
    assert formats.read_npz(root / "a.npz")[1]


def test_a_checksum_file_of_sha256sum_will_do(root):
    np.savez(root / "mnist.npz", **arrays())
    (root / "mnist.npz.sha256").write_text(f"{file_digest(root / 'mnist.npz').upper()} *mnist.npz\n")
    assert load("mnist").checksum == Dataset.from_arrays(**arrays()).checksum


def test_a_read_only_folder_is_left_alone(root, tmp_path):
    assert writable_folder(root) == root
    root.chmod(0o555)
    assert writable_folder(root) == tmp_path / "cache" / "focil"


def test_nowhere_to_write(root, tmp_path):
    root.chmod(0o555)
    (tmp_path / "cache").write_text("a file where the cache should be")
    assert "Set FOCIL_DATA" in complaint(lambda: writable_folder(root))


# The official files, in their real formats but small


def idx(array):
    sizes = b"".join(n.to_bytes(4, "big") for n in array.shape)
    return bytes([0, 0, 8, array.ndim]) + sizes + array.tobytes()


def mnist_files(given):
    names = {
        "x_train": "train-images-idx3-ubyte",
        "y_train": "train-labels-idx1-ubyte",
        "x_test": "t10k-images-idx3-ubyte",
        "y_test": "t10k-labels-idx1-ubyte",
    }
    return {f"/{name}.gz": gzip.compress(idx(given[key])) for key, name in names.items()}


def offer_mnist(monkeypatch, url, files):
    import torchvision

    kind, resources = torchvision.datasets.FashionMNIST, [(name[1:], md5(files[name])) for name in files]
    monkeypatch.setattr(kind, "mirrors", [f"{url}/"])
    monkeypatch.setattr(kind, "resources", resources)


@pytest.mark.parametrize("shared", [False, True])
def test_official_files_become_a_checksummed_npz(root, tmp_path, monkeypatch, shared):
    given = arrays(shape=(28, 28))
    files = mnist_files(given)
    home = tmp_path / "cache" / "focil" if shared else root
    root.chmod(0o555 if shared else 0o755)
    with serving(files) as url:
        offer_mnist(monkeypatch, url, files)
        first = load("fashion-mnist")
    assert sorted(os.listdir(home)) == ["fashion-mnist.npz", "fashion-mnist.npz.sha256"]
    assert first.checksum == Dataset.from_arrays(**given).checksum
    assert load("fashion-mnist").checksum == first.checksum  # the server is gone
    assert not shared or os.listdir(root) == []


def test_official_pickles_are_verified_before_they_are_read(root, monkeypatch):
    import torchvision

    given = arrays(classes=100, train=2, test=1, shape=(32, 32, 3))

    def batch(part):
        pixels = np.moveaxis(given[f"x_{part}"], 3, 1).reshape(-1, 3072)
        return pickle.dumps({"data": pixels, "fine_labels": given[f"y_{part}"].tolist()})

    members = {"train": batch("train"), "test": batch("test"), "meta": pickle.dumps({"fine_label_names": []})}
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for name, body in members.items():
            info = tarfile.TarInfo(f"cifar-100-python/{name}")
            info.size = len(body)
            tar.addfile(info, io.BytesIO(body))
    kind = torchvision.datasets.CIFAR100
    with serving({"/cifar-100-python.tar.gz": packed.getvalue()}) as url:
        monkeypatch.setattr(kind, "url", f"{url}/cifar-100-python.tar.gz")
        monkeypatch.setattr(kind, "tgz_md5", md5(packed.getvalue()))
        # The members are not the official ones.
        complaint(lambda: load("cifar100"), "not found or corrupted", "cifar100.npz")
        monkeypatch.setattr(kind, "train_list", [["train", md5(members["train"])]])
        monkeypatch.setattr(kind, "test_list", [["test", md5(members["test"])]])
        meta = {"filename": "meta", "key": "fine_label_names", "md5": md5(members["meta"])}
        monkeypatch.setattr(kind, "meta", meta)
        data = load("cifar100")
    assert data.checksum == Dataset.from_arrays(**given).checksum and data.classes[0] == "apple"


def test_no_network_names_the_file_and_the_folder(root, monkeypatch):
    with serving({}) as url:
        pass
    offer_mnist(monkeypatch, url, {"/a.gz": b""})
    message = complaint(lambda: load("fashion-mnist"))
    assert "fashion-mnist.npz" in message and str(root) in message and "FOCIL_DATA" in message
    assert os.listdir(root) == []


def test_a_full_disk_during_the_official_download(root, monkeypatch):
    import torchvision

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(torchvision.datasets, "CIFAR10", full)
    assert "filled up" in complaint(lambda: load("cifar10"))
    assert os.listdir(root) == []


def test_tiny_imagenet_is_fetched_and_verified(root, monkeypatch):
    with serving({"/tiny.zip": b"something else"}) as url:
        monkeypatch.setattr(tiny_imagenet, "URL", f"{url}/tiny.zip")
        complaint(lambda: load("tiny-imagenet"), tiny_imagenet.MD5, "tiny-imagenet-200.zip")
    assert os.listdir(root) == []
