"""The pages of the documentation, and the commands and examples in them."""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGES = {
    path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
    for path in (*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md")))
}
FENCE = re.compile(r"^```(.*)\n((?:.*\n)*?)^```$", re.MULTILINE)


def blocks(text: str, language: str) -> list[str]:
    return [content for name, content in FENCE.findall(text) if name == language]


def shell_lines(text: str) -> list[str]:
    """The commands of a page as they are typed, one a line, without comments."""
    lines = []
    for block in blocks(text, "bash"):
        waiting = ""
        for line in block.replace("\\\n", " ").splitlines():
            waiting += re.sub(r"(^|\s)#(\s.*|$)", "", line)
            try:
                shlex.split(waiting)
            except ValueError:  # A quotation goes on in the next line.
                waiting += "\n"
                continue
            if waiting.strip():
                lines.append(waiting.strip())
            waiting = ""
        assert not waiting, f"an open quotation: {waiting}"
    return lines


def programs(text: str) -> list[list[str]]:
    """Each program that a page starts, with its arguments; variables put in."""
    variables: dict[str, str] = {}
    found = []
    for line in shell_lines(text):
        if line.startswith("git clone <"):
            continue
        lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
        lexer.whitespace_split, lexer.commenters = True, ""
        words: list[str] = []
        for word in [*lexer, ";"]:
            if word.strip(";&|"):
                words.append(word)
                continue
            if words and words[0] == "for":
                variables[words[1]] = words[3]
            elif len(words) == 1 and (given := re.fullmatch(r"(\w+)=(.*)", words[0])):
                variables[given[1]] = given[2]
            elif words and words != ["done"]:
                # What stands behind ">" is the shell's.
                words = words[: words.index(">")] if ">" in words else words
                found.append(_put_in(words[words[0] == "do" :], variables))
            words = []
    return found


def _put_in(words: list[str], variables: dict[str, str]) -> list[str]:
    result = []
    for word in words:
        if word[:1] == "$" and word[1:] in variables:
            result += shlex.split(variables[word[1:]])
        else:
            for name, value in variables.items():
                word = word.replace(f"${name}", value)
            result.append(word)
    return result


def shell_in(folder: Path) -> Callable[[str], str]:
    """Return what runs a line of a guide in a folder, and gives what it prints.

    ``person-search`` and ``python`` are those of this environment, with the code of this checkout.
    """
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT)}

    def run(line: str) -> str:
        done = subprocess.run(
            ["bash", "-ec", line],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=600,
        )
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
        # What is left out, broken or to be known stands beside what a program would read.
        return done.stderr + done.stdout

    return run
