"""Look up the locked packages in a checkout of PyPA's advisory database, without a network.

    git clone --depth 1 https://github.com/pypa/advisory-database
    .venv/bin/python packaging/advisories.py advisory-database

pip-audit asks a service for the same; this is for machines that cannot reach one. Prints a line for
each advisory that covers a locked version, and how many were compared; the status is 1 if any does.
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from packaging.utils import canonicalize_name
from packaging.version import Version

LOCK = Path(__file__).resolve().parents[1] / "requirements.lock"


def read_lock(text: str) -> dict[str, list[str]]:
    """Return each package's versions; one may have several, for other systems and Pythons."""
    locked: dict[str, list[str]] = {}
    for name, version in re.findall(r"^([\w.-]+)(?:\[[^\]]*\])?==([^\s;\\]+)", text, re.MULTILINE):
        locked.setdefault(canonicalize_name(name), []).append(version)
    return locked


def read_advisories(database: Path, names: set[str]) -> Iterator[dict[str, Any]]:
    """Yield the advisories (OSV format) of packages of these names that were not withdrawn."""
    for folder in sorted((database / "vulns").iterdir()):
        if canonicalize_name(folder.name) in names:
            for file in sorted(folder.glob("*.yaml")):
                advisory = yaml.safe_load(file.read_text("utf-8"))
                if "withdrawn" not in advisory:
                    yield advisory


def covers(affected: dict[str, Any], version: str) -> bool:
    """Whether a package's entry in an advisory names a version, or has it in one of its ranges."""
    if version in affected.get("versions", ()):
        return True
    for versions in affected.get("ranges", ()):
        if versions["type"] != "ECOSYSTEM":  # Commits, which say nothing of a release.
            continue
        is_in = False
        for event in versions["events"]:
            if "introduced" in event and Version(version) >= Version(event["introduced"]):
                is_in = True
            if "fixed" in event and Version(version) >= Version(event["fixed"]):
                is_in = False
            if "last_affected" in event and Version(version) > Version(event["last_affected"]):
                is_in = False
        if is_in:
            return True
    return False


def main(database: Path) -> int:
    """Compare the lock with a database and print what was found; return the exit status."""
    write = sys.stdout.write
    if not (database / "vulns").is_dir():
        write(f"{database} has no folder vulns: expected a checkout of PyPA's advisory database\n")
        return 2
    locked = read_lock(LOCK.read_text("utf-8"))
    num_compared = num_found = 0
    for advisory in read_advisories(database, set(locked)):
        num_compared += 1
        for affected in advisory["affected"]:
            name = canonicalize_name(affected["package"]["name"])
            for version in locked.get(name, ()):
                if covers(affected, version):
                    num_found += 1
                    aliases = " ".join(advisory.get("aliases", ()))
                    write(f"{name} {version}: {advisory['id']} {aliases}\n")
    write(f"{len(locked)} packages, {num_compared} advisories about them, {num_found} cover them\n")
    return 1 if num_found else 0


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    sys.exit(main(Path(sys.argv[1])))
