"""What README and docs say is there: commands, options, config keys, files, headings."""

import argparse
import functools
import importlib
import itertools
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from detectron2.config import CfgNode
from detectron2.engine import default_argument_parser
from helpers_docs import FENCE, PAGES, ROOT, programs

import person_search.config
import reid_heads.config
from person_search.cli import build_parser
from person_search.commands.registry import find_commands
from person_search.data.catalog import BUILTIN_DATASETS
from reid_heads.data.catalog import CROP_DATASETS

LANGUAGES = {"bash", "json", "python", "text"}
# What the shell or other projects bring.
FOREIGN = {
    "cd",
    "chmod",
    "cp",
    "git",
    "mkdir",
    "pip",
    "pip-audit",
    "pre-commit",
    "sha256sum",
    "source",
    "test",
    "umask",
}
TRAINERS = {
    "person_search.train_net": person_search.config.load_config,
    "person_search.train_stage1": person_search.config.load_config,
    "reid_heads.train_net": reid_heads.config.load_config,
}
PARSERS = {
    "demo.search_drawn_gallery": "demo.search_drawn_gallery",
    "person_search.evaluate": "person_search.evaluate",
    "reid_heads.crop_export": "reid_heads.crop_export",
    "reid_heads.data.label_noise": "reid_heads.data.label_noise",
    "reid_heads.evaluate": "reid_heads.evaluate",
    "reid_heads.faces": "reid_heads.faces.parser",
    "reid_heads.imagenet_mobilenet": "reid_heads.imagenet_mobilenet",
    "reid_heads.invert": "reid_heads.invert",
    "reid_heads.purify": "reid_heads.purify",
}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def check_program(words: list[str]) -> None:
    """Parse a program's arguments as it would; raise, or exit, if it would refuse them."""
    program, arguments = words[0].removeprefix(".venv/bin/"), words[1:]
    if program == "torchrun":
        program, arguments = "python", arguments[arguments.index("-m") :]
    if program == "make":
        assert set(arguments) <= TARGETS, words
    elif program == "person-search" or arguments[:2] == ["-m", "person_search.cli"]:
        arguments = arguments[2:] if program == "python" else arguments
        build_parser(find_commands(), arguments[0]).parse_args(arguments)
    elif program == "python" and arguments[0] == "-m":
        check_module(arguments[1], arguments[2:])
    elif program == "docker":
        check_docker(arguments)
    elif program == "python" and arguments[0] == "-c":
        compile(arguments[1], "-c", "exec")
    elif program == "python":
        assert (ROOT / arguments[0]).is_file(), words
    else:
        assert program in FOREIGN, f"no check knows the program {program}"


def check_docker(arguments: list[str]) -> None:
    """Parse what a container is to run, and look whether the image has what it is given."""
    image = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    if arguments[0] == "build":
        assert arguments[1:] == ["--tag", "person-search", "."]
        return
    assert arguments[0] == "run"
    name = arguments.index("person-search")
    for option, value in itertools.pairwise(arguments[1:name]):
        if option == "--volume":
            assert f'"{value.split(":")[1]}"' in image, value
        elif option == "--publish":
            assert f"EXPOSE {value.rpartition(':')[2]}\n" in image, value
        elif option == "--env":
            assert f'"--password-env", "{value}"' in image, value
    if command := arguments[name + 1 :]:
        check_program(["person-search", *command])


def check_module(module: str, arguments: list[str]) -> None:
    if module in TRAINERS:
        args = default_argument_parser().parse_args(arguments)
        TRAINERS[module](str(ROOT / args.config_file), args.opts)
    elif module in PARSERS:
        parser: argparse.ArgumentParser = importlib.import_module(PARSERS[module]).build_parser()
        parser.parse_args(arguments)
    elif module == "reid_heads.data":
        option, name = arguments
        assert option == "--dataset" and name in CROP_DATASETS
    else:
        assert module in ("http.server", "pytest"), f"no check knows the module {module}"


@pytest.mark.parametrize("page", PAGES)
def test_every_command_is_one_that_its_program_takes(page, capsys):
    for words in programs(PAGES[page]):
        try:
            check_program(words)
        except SystemExit:
            pytest.fail(f"{page}: {' '.join(words)}\n{capsys.readouterr().err}")


@pytest.mark.parametrize(
    "words",
    [
        ["make", "tea"],
        [".venv/bin/person-search", "search", "--nobody", "x"],
        ["python", "-m", "reid_heads.data", "--dataset", "market"],
        ["python", "-m", "person_search.train_net", "--config-file", "configs/nothing.yaml"],
        [
            *("python", "-m", "person_search.train_net"),
            *("--config-file", "configs/drawn_cuhk/stl.yaml", "MODEL.NOTHING", "1"),
        ],
        ["sudo", "make"],
        ["docker", "run", "--volume", "a:/data", "person-search"],
        ["docker", "run", "--publish", "80:8080", "person-search"],
        ["docker", "run", "--env", "PASSWORD", "person-search"],
        ["docker", "run", "person-search", "index"],
    ],
)
def test_a_wrong_command_is_found(words):
    with pytest.raises((SystemExit, AssertionError, OSError, KeyError)):
        check_program(words)


def test_every_block_says_what_it_is():
    for page, text in PAGES.items():
        assert {language for language, _ in FENCE.findall(text)} <= LANGUAGES, page


def test_commands_are_found():
    """The readers of pages see them, those in loops and over several lines too."""
    counts = {page: len(programs(text)) for page, text in PAGES.items()}
    assert counts["README.md"] == 16 and counts["docs/own_footage.md"] > 20
    (looped,) = [w for w in programs(PAGES["docs/modalities_and_domains.md"]) if "drawn-noon" in w]
    assert looped == [".venv/bin/person-search", "draw", "--set", "drawn-noon"]


# --- files and headings ---


def slug(heading: str) -> str:
    text = re.sub(r"[`*]|\]\(.*?\)|\[", "", heading).strip().lower()
    return re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", text))


@functools.cache
def headings(path: Path) -> set[str]:
    text = FENCE.sub("", path.read_text(encoding="utf-8"))
    return {slug(line) for line in re.findall(r"^#+ (.*)$", text, re.MULTILINE)}


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    """`make docs` checks those between pages once more, as the site has them."""
    for target, heading in re.findall(
        r"\]\((?!http)([^)#\s]*)#?([^)\s]*)\)", FENCE.sub("", PAGES[page])
    ):
        path = (ROOT / page).parent / target if target else ROOT / page
        assert path.exists(), f"{page}: no file {target}"
        if heading:
            assert heading in headings(path.resolve()), f"{page}: {target} has no {heading}"


def expand(name: str) -> str:
    """A name with ``<set>`` or ``{a,b}`` as a pattern of files."""
    return re.sub(r"<\w+>|\{[^}]*\}", "*", name)


@pytest.mark.parametrize("page", PAGES)
def test_configs_and_benchmarks_that_are_named_exist(page):
    text = PAGES[page]
    for name in re.findall(r"`(?:configs/)?([\w/<>{},*.-]+\.yaml)`", text):
        # What a training writes beside its weights is called so.
        if name != "config.yaml":
            assert [*(ROOT / "configs").rglob(expand(name))] or (ROOT / name).exists(), name
    for name, options in re.findall(r"(benchmarks/\w+\.py)([^`\n]*)", text):
        source = (ROOT / name).read_text(encoding="utf-8")
        source += (ROOT / "benchmarks/training_runs.py").read_text(encoding="utf-8")
        for option in re.findall(r"(?<= )--[\w-]+", options):
            assert f'"{option}"' in source, f"{name} has no {option}"


def test_the_readmes_numbers_have_their_benchmarks():
    names = re.findall(r"`(\w+\.py)` \|$", PAGES["README.md"], re.MULTILINE)
    assert len(names) == 5
    assert all((ROOT / "benchmarks" / name).exists() for name in names)


def has_key(cfg: CfgNode, key: str) -> bool:
    for part in key.split("."):
        if part == "*":
            return isinstance(cfg, CfgNode)
        if not isinstance(cfg, CfgNode) or part not in cfg:
            return False
        cfg = cfg[part]
    return True


def named_keys(text: str) -> Iterator[str]:
    """Each config key of a page; ``….KEY`` stands for the node of the full key before it."""
    prefix = ""
    for key in re.findall(r"`([A-Z…][\w.…]*\.[A-Z][A-Z_.*]*)(?= |`)", text):
        if key.startswith("…."):
            yield f"{prefix}.{key[2:]}"
        else:
            prefix = key.rsplit(".", 1)[0]
            yield key


def test_config_keys_that_are_named_exist():
    configs = [person_search.config.load_config(""), reid_heads.config.load_config("")]
    for page, text in PAGES.items():
        # The changelog names what is gone, too.
        for key in named_keys(text) if page != "CHANGELOG.md" else ():
            assert any(has_key(cfg, key) for cfg in configs), f"{page}: no key {key}"


def test_data_sets_that_are_named_exist():
    for page, text in PAGES.items():
        names = re.findall(r"--dataset\s+(\w+)(?![\w/.])", text)
        unknown = {n.removesuffix("_test") for n in names} - {*BUILTIN_DATASETS, *CROP_DATASETS}
        assert not unknown, page


def test_nothing_is_left_to_fill_in():
    for page, text in PAGES.items():
        assert "@@" not in text and "TODO" not in text and "META_COST" not in text, page


def test_the_readme_is_short():
    assert 10 * 1024 <= (ROOT / "README.md").stat().st_size <= 12 * 1024


def test_no_page_sends_anybody_to_an_index():
    """No index has this project: who has its name there is somebody else."""
    for page, text in PAGES.items():
        assert not re.search(r"pip3? install[^\n`]* ['\"]?person[-_]search(?!-\d)\b", text), page


def test_extras_that_pages_name_exist():
    extras = PROJECT["optional-dependencies"]
    for page, text in PAGES.items():
        for names in re.findall(r"\.whl\[([\w,-]+)\]", text):
            assert set(names.split(",")) <= set(extras), page


def test_the_wheel_that_pages_name_is_the_one_that_is_built():
    names = [
        name for text in PAGES.values() for name in re.findall(r"person_search-\S+?\.whl", text)
    ]
    assert set(names) == {f"person_search-{PROJECT['version']}-py3-none-any.whl"}
