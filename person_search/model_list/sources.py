"""Where a public file lies: an address, a file on Hugging Face, a file on Google Drive."""

import os
from dataclasses import dataclass

GOOGLE_DRIVE = "https://drive.google.com"


@dataclass(frozen=True)
class Https:
    """A file at an address."""

    url: str

    @property
    def address(self) -> str:
        """What is asked for the file."""
        return self.url

    @property
    def page(self) -> str:
        """What a person opens in a browser."""
        return self.url

    def __str__(self) -> str:
        return self.url


@dataclass(frozen=True)
class HuggingFace:
    """A file of a repository on Hugging Face; ``HF_ENDPOINT`` names a mirror, as it does there."""

    repo: str
    """Owner and name, with a slash."""
    file: str
    revision: str = "main"
    """A commit, so that the file cannot become another one, or a branch."""

    @property
    def address(self) -> str:
        """What is asked for the file."""
        endpoint = os.environ.get("HF_ENDPOINT", "").rstrip("/") or "https://huggingface.co"
        return f"{endpoint}/{self.repo}/resolve/{self.revision}/{self.file}"

    @property
    def page(self) -> str:
        """What a person opens in a browser."""
        return self.address

    def __str__(self) -> str:
        return f"Hugging Face {self.repo}, {self.file}, revision {self.revision[:8]}"


@dataclass(frozen=True)
class GoogleDrive:
    """A file that somebody shares on Google Drive."""

    file_id: str

    @property
    def address(self) -> str:
        """What is asked for the file."""
        return f"{GOOGLE_DRIVE}/uc?export=download&id={self.file_id}"

    @property
    def page(self) -> str:
        """What a person opens in a browser."""
        return f"{GOOGLE_DRIVE}/file/d/{self.file_id}/view"

    def __str__(self) -> str:
        return f"Google Drive {self.file_id}"


Source = Https | HuggingFace | GoogleDrive
