from __future__ import annotations

import gzip
import hashlib
import io
import socket
import tarfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from pithnet.data import cifar10, download
from pithnet.data.download import download_cifar10
from pithnet.errors import DataError

from .conftest import RECORDS, binary_bytes, binary_name

PART = "cifar-10-binary.tar.gz.part"


class Server(ThreadingHTTPServer):
    """Serves `content` at every path."""

    content = b""
    ranges = True  # whether Range requests are honoured
    cut: int | None = None  # the connection is closed after so many bytes of a body
    status: int | None = None  # answered instead of the content

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.requests: list[str | None] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/cifar-10-binary.tar.gz"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        server, wanted = self.server, self.headers.get("Range")
        server.requests.append(wanted)
        start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted and server.ranges else 0
        body = server.content[start:]
        if server.status is not None or (start and not body):
            self.send_error(server.status or 416)
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header(
                "Content-Range", f"bytes {start}-{len(server.content) - 1}/{len(server.content)}"
            )
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: server.cut])

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server(records: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(download, "CHUNK", 1 << 14)
    with Server() as running:
        running.content = archive()
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def archive(skip: int | None = None, extra: tuple[tarfile.TarInfo, ...] = ()) -> bytes:
    """The official archive's form: its six batch files, its text file, and `extra` members first."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", compresslevel=1) as tar:
        for member in extra:
            tar.addfile(member, io.BytesIO(b"x" * member.size))
        files = {binary_name(n): binary_bytes(n) for n in range(6) if n != skip}
        for name, content in (files | {"batches.meta.txt": b"airplane\n"}).items():
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


def assert_complete(root: Path) -> None:
    assert sorted(p.name for p in root.iterdir()) == ["cifar-10-batches-bin"], "no leftovers"
    for number in range(6):
        assert (root / "cifar-10-batches-bin" / binary_name(number)).read_bytes() == binary_bytes(number)


def test_complete_download(server: Server, tmp_path: Path) -> None:
    seen: list[tuple[int, int | None]] = []
    root = tmp_path / "deep" / "data"
    assert download_cifar10(root, server.url, md5(server.content), lambda *at: seen.append(at)) == root
    assert_complete(root)
    assert len(cifar10.load_cifar10(root, "train")) == 5 * RECORDS
    total = len(server.content)
    assert [done for done, _ in seen] == [*range(1 << 14, total, 1 << 14), total]
    assert {of for _, of in seen} == {total}


def test_present_data_is_not_fetched_again(server: Server, binary_root: Path) -> None:
    download_cifar10(binary_root, server.url, md5(server.content))
    assert server.requests == []


def test_a_partial_folder_is_completed(server: Server, binary_root: Path) -> None:
    folder = binary_root / "cifar-10-batches-bin"
    (folder / "data_batch_1.bin").unlink()
    (folder / "data_batch_2.bin").write_bytes(b"short")
    download_cifar10(binary_root, server.url, md5(server.content))
    assert_complete(binary_root)


def test_an_interrupted_download_resumes_where_it_stopped(server: Server, tmp_path: Path) -> None:
    server.cut = 100_000
    with pytest.raises(DataError, match=r"stopped after 100,000 of \d+,\d+ bytes\. Run again, it resumes"):
        download_cifar10(tmp_path, server.url, md5(server.content))
    assert (tmp_path / PART).read_bytes() == server.content[:100_000]
    server.cut = None
    seen: list[int] = []
    download_cifar10(tmp_path, server.url, md5(server.content), lambda done, total: seen.append(done))
    assert server.requests == [None, "bytes=100000-"]
    assert seen[0] == 100_000 + (1 << 14)
    assert_complete(tmp_path)


def test_a_server_without_range_starts_over(server: Server, tmp_path: Path) -> None:
    server.ranges = False
    (tmp_path / PART).write_bytes(b"something else" * 1000)
    download_cifar10(tmp_path, server.url, md5(server.content))
    assert server.requests == ["bytes=14000-"]
    assert_complete(tmp_path)


def test_stopped_after_the_last_byte(server: Server, tmp_path: Path) -> None:
    (tmp_path / PART).write_bytes(server.content)
    download_cifar10(tmp_path, server.url, md5(server.content))
    assert_complete(tmp_path)


def test_a_wrong_checksum_removes_the_file(server: Server, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=rf"wrong checksum \(MD5 {md5(server.content)}, not {'0' * 32}\)"):
        download_cifar10(tmp_path, server.url, "0" * 32)
    assert list(tmp_path.iterdir()) == []


def test_a_resumed_foreign_part_fails_the_checksum_and_then_succeeds(server: Server, tmp_path: Path) -> None:
    (tmp_path / PART).write_bytes(b"x" * 500)
    with pytest.raises(DataError, match="wrong checksum"):
        download_cifar10(tmp_path, server.url, md5(server.content))
    download_cifar10(tmp_path, server.url, md5(server.content))
    assert_complete(tmp_path)


def test_members_outside_the_expected_six_never_reach_the_disk(server: Server, tmp_path: Path) -> None:
    escape, link, device = (
        tarfile.TarInfo("../escape"),
        tarfile.TarInfo("cifar-10-batches-bin/data_batch_1.bin"),
        tarfile.TarInfo("cifar-10-batches-bin/test_batch.bin"),
    )
    escape.size = 10
    link.type, link.linkname = tarfile.SYMTYPE, str(tmp_path / "victim")
    device.type = tarfile.FIFOTYPE
    server.content = archive(extra=(escape, link, device))
    root = tmp_path / "root"
    download_cifar10(root, server.url, md5(server.content))
    assert_complete(root)
    assert [p.name for p in tmp_path.iterdir()] == ["root"]
    assert not any(p.is_symlink() for p in root.rglob("*"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (archive(skip=3), r"it has no cifar-10-batches-bin/data_batch_3.bin of 61,460 bytes"),
        (archive()[:-2000], "not a CIFAR-10 archive"),
        (gzip.compress(b"no tar", mtime=0), "not a CIFAR-10 archive"),
        (np.random.default_rng(0).bytes(5000), "not a CIFAR-10 archive"),
    ],
    ids=["a part missing", "cut off", "no tar", "noise"],
)
def test_a_wrong_archive_changes_nothing(
    server: Server, tmp_path: Path, content: bytes, message: str
) -> None:
    server.content = content
    with pytest.raises(DataError, match=message):
        download_cifar10(tmp_path, server.url, md5(content))
    assert [p.name for p in tmp_path.iterdir()] == [PART]


def test_no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/a.tar.gz"
        with pytest.raises(DataError, match=r"cannot download http.*refused.*Check the network.*--data-root"):
            download_cifar10(tmp_path, url)


def test_server_errors_and_foreign_addresses(server: Server, tmp_path: Path) -> None:
    server.status = 404
    with pytest.raises(DataError, match="the server answered 404 Not Found"):
        download_cifar10(tmp_path, server.url)
    with pytest.raises(DataError, match="must start with http"):
        download_cifar10(tmp_path, "file:///etc/hostname")


def test_too_little_space_is_said_before_the_download(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Usage:
        free = 100_000

    monkeypatch.setattr(download.shutil, "disk_usage", lambda path: Usage)
    with pytest.raises(DataError, match=r"has 0 MB free, CIFAR-10 needs 1 MB more"):
        download_cifar10(tmp_path, server.url, md5(server.content))
    assert not (tmp_path / PART).exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_disk_that_fills_up(server: Server, tmp_path: Path) -> None:
    (tmp_path / PART).symlink_to("/dev/full")
    with pytest.raises(DataError, match=r"the disk of .* is full: free some space and run again"):
        download_cifar10(tmp_path, server.url, md5(server.content))


def test_a_root_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"cannot write .*Choose another folder with --data-root"):
        download_cifar10(tmp_path / "file" / "data")
