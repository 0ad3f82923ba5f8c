"""Sources and targets of the domain generalization configs, read as they stand in the leaves."""

import pytest
import yaml
from conftest import CONFIGS
from detectron2.data import DatasetCatalog, MetadataCatalog

from reid_heads.data.builtin import register_all_crops

FOLDER = CONFIGS / "domain_generalization"
LARGE_SETS = ["market1501", "dukemtmc", "msmt17", "cuhk03"]
NAMES = [
    *(f"leave_out_{name}{suffix}" for name in LARGE_SETS for suffix in ("", "_all")),
    "small_sets",
]


def read_leaf(name):
    """Read a leaf and the leaves of this folder that it stands on; the base outside is left out."""
    content = yaml.safe_load((FOLDER / f"{name}.yaml").read_text())
    base = content.pop("_BASE_")
    if base == "../Base-SVIL.yaml":
        return content
    return merge(read_leaf(base.removesuffix(".yaml")), content)


def merge(first, second):
    if not isinstance(second, dict):
        return second
    merged = dict(first)
    for key, value in second.items():
        merged[key] = merge(first.get(key, {}), value)
    return merged


def set_of(dataset_name):
    """The set of crops that a name belongs to, the large ones by their key."""
    return next((name for name in LARGE_SETS if dataset_name.startswith(name)), dataset_name)


def test_there_is_a_test_for_each_config():
    assert sorted(NAMES) == sorted(path.stem for path in FOLDER.glob("*.yaml"))


@pytest.mark.parametrize("name", NAMES)
def test_identities_are_those_of_the_sources_in_order(name):
    register_all_crops()
    leaf = read_leaf(name)
    head, train = leaf["MODEL"]["REID_HEAD"], leaf["DATASETS"]["TRAIN"]
    published = [MetadataCatalog.get(source).num_identities for source in train]
    assert head["DOMAIN_IDENTITIES"] == published
    assert head["NUM_IDENTITIES"] == sum(published)
    assert leaf["OUTPUT_DIR"] == f"output/domain_generalization/{name}"


@pytest.mark.parametrize("name", NAMES)
def test_names_are_registered_and_no_source_is_tested_on(name):
    register_all_crops()
    datasets = read_leaf(name)["DATASETS"]
    trials = datasets.get("TRIALS", [""])
    tests = {test.replace("{trial}", str(k)) for test in datasets["TEST"] for k in trials}
    assert len(tests) == len(trials) * len(datasets["TEST"])
    assert tests | set(datasets["TRAIN"]) <= set(DatasetCatalog.list())
    assert not {set_of(test) for test in tests} & {set_of(train) for train in datasets["TRAIN"]}


@pytest.mark.parametrize("name", LARGE_SETS)
def test_a_large_set_is_left_out_of_the_other_three(name):
    for suffix, crops in (("", 64), ("_all", 128)):
        leaf = read_leaf(f"leave_out_{name}{suffix}")
        sources = [source for source in LARGE_SETS if source != name]
        assert [set_of(source) for source in leaf["DATASETS"]["TRAIN"]] == sources
        assert all(("_all" in source) == bool(suffix) for source in leaf["DATASETS"]["TRAIN"])
        assert [set_of(test) for test in leaf["DATASETS"]["TEST"]] == [name]
        assert leaf["SOLVER"]["IMS_PER_BATCH"] == 3 * crops


def test_small_sets():
    leaf = read_leaf("small_sets")
    assert all(source.endswith("_all") for source in leaf["DATASETS"]["TRAIN"])
    # 64 crops of each of the five sources.
    assert len(leaf["DATASETS"]["TRAIN"]) == 5 and leaf["SOLVER"]["IMS_PER_BATCH"] == 5 * 64
    assert leaf["DATASETS"]["TRIALS"] == list(range(1, 11))
    assert [test.split("_")[0] for test in leaf["DATASETS"]["TEST"]] == [
        "viper",
        "grid",
        "prid",
        "ilids",
    ]
