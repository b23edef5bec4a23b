"""CIFAR-10 from its official address: resumed where it stopped, checked, unpacked without trust."""

from __future__ import annotations

import errno
import gzip
import hashlib
import http.client
import os
import shutil
import tarfile
import tempfile
import urllib.error
import urllib.request
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from pithnet.data import cifar10
from pithnet.errors import DataError

URL = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
MD5 = "c32a1d4ab5d03f1284b67883e8d87530"  # of the archive, published beside it
CHUNK = 1 << 18

Progress = Callable[[int, int | None], None]


def download_cifar10(
    root: Path, url: str = URL, md5: str = MD5, progress: Progress | None = None, timeout: float = 30.0
) -> Path:
    """Puts CIFAR-10 (binary layout) into `root`/cifar-10-batches-bin and returns `root`.

    Nothing is done where it is there. A stopped download leaves a .part file in `root`, and the next call
    goes on from its end.

    Args:
        root: A folder, made if missing.
        url: The archive's address.
        md5: The archive's checksum, in hex.
        progress: Called with (bytes so far, bytes in all or None where the server does not say).
        timeout: Seconds without an answer after which the server counts as gone.

    Raises:
        DataError: There is no network, the checksum is wrong (the .part file is then removed), the disk is
            full or not writable, or the archive is not CIFAR-10's.
    """
    root = Path(root)
    if not url.startswith(("http://", "https://")):
        raise DataError(f"cannot download {url}: the address must start with http:// or https://")
    with _writing(root):
        root.mkdir(parents=True, exist_ok=True)
        if cifar10.is_complete(root):
            return root
    part = root / "cifar-10-binary.tar.gz.part"
    _fetch(url, part, progress, timeout)
    _verify(part, md5, url)
    with _writing(root):
        _unpack(part, root)
        part.unlink()
    return root


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Turns errors of the file system into DataErrors."""
    try:
        yield
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise DataError(
                f"the disk of {path} is full: free some space and run again, it resumes"
            ) from error
        reason = error.strerror or error
        raise DataError(f"cannot write {path}: {reason}. Choose another folder with --data-root.") from error


def _fetch(url: str, part: Path, progress: Progress | None, timeout: float) -> None:
    """Completes the file `part` from `url`."""
    with _writing(part):
        have = part.stat().st_size if part.exists() else 0
    headers = {"User-Agent": "pithnet"} | ({"Range": f"bytes={have}-"} if have else {})
    try:
        with urllib.request.urlopen(
            urllib.request.Request(url, headers=headers), timeout=timeout
        ) as response:
            _receive(response, url, part, have, progress)
    except urllib.error.HTTPError as error:
        error.close()
        # 416: nothing is left to send, the last run stopped after the last byte. The checksum decides.
        if not (error.code == 416 and have):
            raise DataError(
                f"cannot download {url}: the server answered {error.code} {error.reason}"
            ) from error
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        raise DataError(
            f"cannot download {url}: {reason}. Check the network and run again (it resumes), or fetch and "
            f"unpack the archive yourself and give its folder with --data-root."
        ) from error


def _receive(
    response: http.client.HTTPResponse, url: str, part: Path, have: int, progress: Progress | None
) -> None:
    """Appends the body to `part`, or starts it anew where the server sends the whole again."""
    done = have if response.status == http.HTTPStatus.PARTIAL_CONTENT else 0
    length = response.headers.get("Content-Length", "")
    total = done + int(length) if length.isdecimal() else None
    with _writing(part):
        needed = (total or 0) - done + 6 * cifar10.RECORDS * cifar10.RECORD_BYTES
        free = shutil.disk_usage(part.parent).free
        if free < needed:
            raise DataError(
                f"{part.parent} has {free / 1e6:,.0f} MB free, CIFAR-10 needs {needed / 1e6:,.0f} MB more"
            )
        file = part.open("ab" if done else "wb", buffering=0)
    with file:
        while chunk := response.read(CHUNK):
            with _writing(part):
                view = memoryview(chunk)
                while view:  # an unbuffered write may be short, but what it wrote is in the file
                    view = view[file.write(view) :]
            done += len(chunk)
            if progress:
                progress(done, total)
    if total is not None and done < total:
        raise DataError(f"{url} stopped after {done:,} of {total:,} bytes. Run again, it resumes.")


def _verify(part: Path, md5: str, url: str) -> None:
    with part.open("rb") as file:
        found = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    if found != md5.lower():
        part.unlink()
        raise DataError(
            f"{url} has the wrong checksum (MD5 {found}, not {md5}): damaged or replaced on the way. "
            f"The file was removed. Run again."
        )


def _unpack(archive: Path, root: Path) -> None:
    """Moves the six batch files of the archive into `root`/cifar-10-batches-bin, each whole and at once."""
    layout, size = cifar10.BINARY, cifar10.RECORDS * cifar10.RECORD_BYTES
    target = root / layout.folder
    missing = {f"{layout.folder}/{name}" for name in layout.train + layout.test}
    with tempfile.TemporaryDirectory(prefix=".unpack-", dir=root) as staged:
        try:
            with tarfile.open(archive, "r:gz") as tar:
                for member in tar:
                    # Only bytes are taken: no path, link or mode of the archive reaches the disk.
                    path = PurePosixPath(member.name)
                    source = tar.extractfile(member) if member.isreg() and str(path) in missing else None
                    if source is None or member.size != size:
                        continue
                    with (Path(staged) / path.name).open("wb") as file:
                        shutil.copyfileobj(source, file, CHUNK)
                        file.flush()
                        os.fsync(file.fileno())
                    missing.discard(str(path))
        except (tarfile.TarError, gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise DataError(
                f"{archive} is not a CIFAR-10 archive: {error}. Delete it and run again."
            ) from error
        if missing:
            raise DataError(
                f"{archive} is not CIFAR-10's binary archive: it has no {', '.join(sorted(missing))} "
                f"of {size:,} bytes. Delete it and run again."
            )
        target.mkdir(exist_ok=True)
        for name in layout.train + layout.test:
            os.replace(Path(staged) / name, target / name)
