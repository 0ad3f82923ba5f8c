import pytest

from reid_heads.config import load_config
from reid_heads.config_yaml import check_plain
from reid_heads.trust import trusted_files


def test_a_tag_that_would_run_code_is_refused_with_its_line(tmp_path):
    """detectron2's own loader calls the function when safe loading fails."""
    marker, config = tmp_path / "was_run", tmp_path / "foreign.yaml"
    tag = "!!python/object/apply:subprocess.getoutput"
    config.write_text(f'SEED: 1\nOUTPUT_DIR: {tag} ["touch {marker}"]\n')
    with pytest.raises(ValueError, match=r"foreign\.yaml, line 2: .*getoutput.*trust-this-file"):
        load_config(str(config))
    assert not marker.exists()
    with trusted_files():
        load_config(str(config))
    assert marker.exists(), "the file could do no harm, so refusing it shows nothing"


def test_a_tag_in_a_base_is_refused_by_the_bases_name(tmp_path):
    marker = tmp_path / "was_run"
    (tmp_path / "Base.yaml").write_text(f'\nSEED: !!python/object/apply:os.mkdir ["{marker}"]\n')
    leaf = tmp_path / "leaf.yaml"
    leaf.write_text("_BASE_: Base.yaml\nSEED: 1\n")
    with pytest.raises(ValueError, match=r"Base\.yaml, line 2: .*os\.mkdir"):
        load_config(str(leaf))
    assert not marker.exists()


@pytest.mark.parametrize(
    ("base", "message"),
    [
        ("https://127.0.0.1:9/Base.yaml", "is the address https://127.0.0.1:9/Base.yaml; save"),
        ("[nested/Base.yaml, 'http://127.0.0.1:9/b.yaml']", "is the address http://"),
        ("leaf.yaml", "leads back to itself"),
    ],
)
def test_bases_are_local_and_end(tmp_path, base, message):
    (tmp_path / "nested").mkdir()
    (tmp_path / "nested/Base.yaml").write_text("SEED: 2\n")
    (tmp_path / "leaf.yaml").write_text(f"_BASE_: {base}\n")
    with pytest.raises(ValueError, match=message):
        load_config(str(tmp_path / "leaf.yaml"))


def test_a_base_in_another_folder_is_read(tmp_path):
    """It sets keys, and can do no more; ours lie in the folder above."""
    (tmp_path / "configs").mkdir()
    (tmp_path / "Base.yaml").write_text("SEED: 2\n")
    (tmp_path / "configs/leaf.yaml").write_text("_BASE_: ../Base.yaml\n")
    assert load_config(str(tmp_path / "configs/leaf.yaml")).SEED == 2


def test_a_base_that_is_missing_is_named(tmp_path):
    (tmp_path / "leaf.yaml").write_text("_BASE_: gone.yaml\n")
    with pytest.raises(FileNotFoundError, match=r"leaf\.yaml: there is no .*gone\.yaml"):
        load_config(str(tmp_path / "leaf.yaml"))


LAUGHS = "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 60))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (LAUGHS, "more than 100,000 values"),
        (LAUGHS.replace("[x, x]", "{x: 1}").replace("[*", "{k: *").replace(", *", ", l: *")
         .replace("]", "}"), "more than 100,000 values"),
        ("a: &a [*a]\n", "or for themselves"),
        ("[" * 100_000, "nested deeper than 100"),
    ],
)  # fmt: skip
def test_aliases_that_stand_for_billions_are_refused(tmp_path, content, message):
    (tmp_path / "bomb.yaml").write_text(content)
    with pytest.raises(ValueError, match=message):
        check_plain(str(tmp_path / "bomb.yaml"))


def test_aliases_and_empty_files_are_read(tmp_path):
    (tmp_path / "c.yaml").write_text("A: &a {X: 1}\nB: {<<: *a, Y: [2]}\n")
    check_plain(str(tmp_path / "c.yaml"))
    (tmp_path / "c.yaml").write_text("# nothing\n")
    check_plain(str(tmp_path / "c.yaml"))


def test_bases_that_are_read_ever_more_often_are_refused(tmp_path):
    for n in range(20):
        (tmp_path / f"{n}.yaml").write_text(f"_BASE_: [{n + 1}.yaml, {n + 1}.yaml]\n")
    (tmp_path / "20.yaml").write_text("SEED: 1\n")
    with pytest.raises(ValueError, match="names more than 100 files"):
        check_plain(str(tmp_path / "0.yaml"))
