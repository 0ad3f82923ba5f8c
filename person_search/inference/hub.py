"""Models on Hugging Face: fetched as a folder, and pushed from one.

The package ``huggingface_hub`` does it, with its own cache, its own switches (``HF_ENDPOINT``,
``HF_HUB_OFFLINE``) and its own places for a token; none is kept or asked for here.
"""

import contextlib
import importlib
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from person_search.inference.offline import offline_variable

PREFIX = "hf:"
"""Of an address there."""

_FETCHED = ("model.safetensors", "model.onnx", "config.yaml", "*.json", "README.md")
"""Checkpoints are left there: what comes from others is read from files in which nothing runs."""


@dataclass(frozen=True)
class HubAddress:
    """Where a model is on Hugging Face."""

    name: str
    """``OWNER/NAME``."""

    revision: str | None = None
    """Branch, tag or commit; None: the newest."""

    @classmethod
    def parse(cls, text: str) -> "HubAddress":
        """Read ``hf:OWNER/NAME`` or ``hf:OWNER/NAME@REVISION``.

        Raises:
            ValueError: if it is something else.
        """
        word = r"\w[\w.-]{0,95}"
        match = re.fullmatch(rf"{PREFIX}({word}/{word})(?:@([\w./-]+))?", text)
        if match is None:
            raise ValueError(f"got {text!r}; expected hf:OWNER/NAME, or hf:OWNER/NAME@REVISION")
        return cls(match[1], match[2])

    def __str__(self) -> str:
        return f"{PREFIX}{self.name}" + (f"@{self.revision}" if self.revision else "")


def fetch_folder(address: HubAddress, patterns: Sequence[str] = _FETCHED) -> Path:
    """Fetch a model into the cache of ``huggingface_hub``, or find it there.

    Args:
        address: of the model.
        patterns: of the names of the files that are fetched.

    Returns:
        Its folder.

    Raises:
        ConnectionError: if it cannot be fetched and is not in the cache.
        ModuleNotFoundError: without the package ``huggingface_hub``.
    """
    hub = importlib.import_module("huggingface_hub")
    variable = offline_variable()
    with _named_errors(f"{address} was not fetched"):
        try:
            folder = hub.snapshot_download(
                address.name,
                revision=address.revision,
                allow_patterns=list(patterns),
                local_files_only=variable is not None,
                endpoint=os.environ.get("HF_ENDPOINT"),
            )
        except _errors().LocalEntryNotFoundError as error:
            why = f"{variable} is set" if variable else f"there is no connection ({error})"
            raise ConnectionError(
                f"{address} is not in the cache, and {why}. Where there is a connection, fetch it "
                f"by `hf download {address.name}`, copy the folder, and name that"
            ) from error
    return Path(folder)


def push_files(
    folder: Path, names: Sequence[str], address: HubAddress, message: str, is_private: bool
) -> str:
    """Put files of a folder into a model on Hugging Face, as one commit; make the model if need be.

    Args:
        folder: of the model.
        names: of the files.
        address: where it goes.
        message: of the commit.
        is_private: whether a new model is for its owner alone.

    Returns:
        The address of the commit.

    Raises:
        ConnectionError: if it cannot be done; nothing was changed then but that there may be an
            empty model.
        ModuleNotFoundError: without the package ``huggingface_hub``.
        ValueError: if the address names a revision that is no branch of it.
    """
    hub = importlib.import_module("huggingface_hub")
    if variable := offline_variable():
        raise ConnectionError(f"{variable} is set, so nothing is pushed")
    api = hub.HfApi(endpoint=os.environ.get("HF_ENDPOINT"))
    files = [hub.CommitOperationAdd(name, str(folder / name)) for name in names]
    with _named_errors(f"{address} was not pushed"):
        api.create_repo(address.name, private=is_private or None, exist_ok=True)
        done = api.create_commit(
            address.name, files, commit_message=message, revision=address.revision
        )
    return str(done.commit_url)


@contextlib.contextmanager
def _named_errors(what: str) -> Iterator[None]:
    """Say of errors of the hub what did not happen, and what to do."""
    errors = _errors()
    try:
        yield
    except ConnectionError:
        raise
    # Its bases are the HTTP library's: of errors before there is an answer, too.
    except (OSError, *errors.HfHubHTTPError.__bases__) as error:
        status = getattr(getattr(error, "response", None), "status_code", None)
        advice = "try again later, or check HF_ENDPOINT"
        if status in (401, 403, 404) or isinstance(error, errors.LocalTokenNotFoundError):
            advice = "check the name, and that you may: `hf auth login`, or HF_TOKEN"
        first = str(error).strip().splitlines()
        raise ConnectionError(f"{what}: {first[0] if first else error!r}; {advice}") from error


def _errors() -> Any:
    return importlib.import_module("huggingface_hub.errors")
