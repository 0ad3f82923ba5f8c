"""packaging/advisories.py: which locked versions an advisory database covers."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).parents[1] / "packaging" / "advisories.py"
ADVISORY = """
id: PYSEC-0000-1
aliases: [CVE-0000-1]
affected:
- package: {name: Some.Thing, ecosystem: PyPI}
  ranges:
  - type: GIT
    events: [{introduced: "0"}]
  - type: ECOSYSTEM
    events: [{introduced: "1.0"}, {fixed: "1.2"}, {introduced: "2.0"}, {last_affected: "2.1"}]
  versions: ["0.5"]
"""


@pytest.fixture(scope="module")
def advisories() -> ModuleType:
    spec = importlib.util.spec_from_file_location("advisories", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def look_up(
    advisories: ModuleType, folder: Path, lock: str, monkeypatch: pytest.MonkeyPatch
) -> int:
    (folder / "vulns" / "some-thing").mkdir(parents=True)
    (folder / "vulns" / "other").mkdir()
    (folder / "vulns" / "some-thing" / "PYSEC-0000-1.yaml").write_text(ADVISORY, "utf-8")
    (folder / "vulns" / "some-thing" / "PYSEC-0000-2.yaml").write_text(
        ADVISORY + 'withdrawn: "2026-01-01T00:00:00Z"\n', "utf-8"
    )
    (folder / "requirements.lock").write_text(lock, "utf-8")
    monkeypatch.setattr(advisories, "LOCK", folder / "requirements.lock")
    return advisories.main(folder)


@pytest.mark.parametrize(
    ("version", "is_covered"),
    [
        ("0.5", True),
        ("0.9", False),
        ("1.0", True),
        ("1.2rc1", True),
        ("1.2", False),
        ("2.1", True),
        ("2.1.1", False),
    ],
)
def test_covers_versions_and_ranges(
    advisories, tmp_path, monkeypatch, capsys, version: str, is_covered: bool
):
    lock = f"some_thing[extra]=={version} \\\n    --hash=sha256:00\n    # via other\nother==1.0\n"
    assert look_up(advisories, tmp_path, lock, monkeypatch) == is_covered
    printed = capsys.readouterr().out
    assert f"2 packages, 1 advisories about them, {int(is_covered)} cover them" in printed
    assert (f"some-thing {version}: PYSEC-0000-1 CVE-0000-1" in printed) == is_covered


def test_reads_every_package_of_the_lock(advisories):
    text = (SCRIPT.parents[1] / "requirements.lock").read_text("utf-8")
    locked = advisories.read_lock(text)
    pins = [line for line in text.splitlines() if line and line[0] not in " #"]
    assert sum(map(len, locked.values())) == len(pins)
    assert {"gradio", "pillow", "torch"} <= set(locked)


def test_a_folder_that_is_no_database_is_said(advisories, tmp_path, capsys):
    assert advisories.main(tmp_path) == 2
    assert "has no folder vulns" in capsys.readouterr().out
