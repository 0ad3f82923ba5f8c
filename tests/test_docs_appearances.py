import json

import pytest
from helpers_docs import PAGES, blocks, shell_in, shell_lines

GUIDE = PAGES["docs/appearances.md"]
CASES = PAGES["docs/cases.md"]
LOG = PAGES["docs/log_and_retention.md"]


@pytest.mark.slow
def test_every_command_of_the_guides_runs(tmp_path):
    """In the order of the guide, in one folder; then those of the guide that goes on with it."""
    run = shell_in(tmp_path)
    for line in shell_lines(GUIDE):
        run(line)
    assert (tmp_path / "stay.webm").read_bytes()[:4] == b"\x1aE\xdf\xa3"
    listed = json.loads(run("person-search appearances --gallery town.db --json"))["appearances"]
    assert {one["camera"] for one in listed} == {"station", "market"}
    example, groups = blocks(GUIDE, "python")
    (tmp_path / "groups.py").write_text(groups)
    said = json.loads(run("person-search people --gallery town.db --json"))
    assert sum(len(group["appearances"]) for group in said["groups"]) == len(listed)
    assert len(run("python groups.py").splitlines()) == len(said["groups"])
    assert [group["number"] for group in said["groups"] if group["name"] == "Anna Berg"] == [1]
    (tmp_path / "example.py").write_text(example)
    printed = run("python example.py").splitlines()
    assert len(printed) == sum(one["camera"] == "market" for one in listed)
    for line in shell_lines(CASES):
        run(line)
    (example,) = blocks(CASES, "python")
    (tmp_path / "case_example.py").write_text(example)
    assert run("python case_example.py").startswith("2 matches, ")
    names = ("case/report.pdf", "two_stays.zip", "found.zip", "station.zip")
    assert all((tmp_path / name).is_file() for name in names)
    for line in shell_lines(LOG):
        run(line)
    (example,) = blocks(LOG, "python")
    (tmp_path / "log_example.py").write_text(example)
    assert run("python log_example.py").endswith(" entries, 0 problems\n")
    assert "0 things wrong" in run("person-search log verify --gallery town.db")
    assert len(run("person-search retain --gallery town.db --receipts").splitlines()) == 1
