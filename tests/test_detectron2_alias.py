"""``import detectron2`` over the copy in the LabGym wheel (packaging/detectron2)."""

import copy
import importlib
import importlib.metadata
import importlib.resources
import importlib.util
import inspect
import multiprocessing
import pickle
import runpy
import subprocess
import sys

import detectron2
import pytest
from detectron2.config import CfgNode
from detectron2.structures import Boxes
from helpers_processes import run_processes

if not detectron2.__name__.startswith("LabGym"):
    pytest.skip("an upstream detectron2 is installed", allow_module_level=True)

REAL = "LabGym.detectron2"
MODULES = [
    "",
    ".config",
    ".checkpoint.c2_model_loading",
    ".data.catalog",
    ".engine.defaults",
    ".modeling.roi_heads.roi_heads",
    ".structures.instances",
    ".utils.events",
]


@pytest.mark.parametrize("name", MODULES)
def test_both_names_are_one_module(name):
    assert importlib.import_module("detectron2" + name) is importlib.import_module(REAL + name)


def forget():
    """Make this process one that has imported detectron2 under neither name."""
    for name in [n for n in sys.modules if f"{n}.".startswith(("detectron2.", "LabGym."))]:
        del sys.modules[name]
    sys.meta_path[:] = [f for f in sys.meta_path if type(f).__name__ != "_AliasFinder"]


def import_the_alias_first():
    import importlib.util
    import sys

    import detectron2  # noqa: F401

    before = set(sys.modules)
    assert importlib.util.find_spec("detectron2.projects") is not None
    assert set(sys.modules) == before, "find_spec imported something"
    import detectron2.utils.registry as one

    two = importlib.import_module("LabGym.detectron2.utils.registry")
    assert one is two, (one, two)


def import_the_real_name_first():
    import importlib

    one = importlib.import_module("LabGym.detectron2.utils.registry")
    import detectron2.utils.registry as two

    assert one is two, (one, two)
    assert two.__spec__.name == "LabGym.detectron2.utils.registry", two.__spec__


ORDERS = [import_the_alias_first, import_the_real_name_first]


def _forget_and_import(rank, number):
    forget()
    assert "detectron2" not in sys.modules
    ORDERS[number]()
    return number


@pytest.mark.parametrize("number", range(len(ORDERS)))
def test_either_name_may_be_the_first(number):
    assert run_processes(_forget_and_import, 1, number) == [number]


@pytest.mark.slow
@pytest.mark.parametrize("order", ORDERS)
def test_either_name_may_be_the_first_in_a_fresh_interpreter(order):
    code = f"import importlib\n{inspect.getsource(order)}\n{order.__name__}()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_registries_and_catalogs_are_single():
    import person_search.modeling  # noqa: F401  (registers the models)

    real_modeling = importlib.import_module(REAL + ".modeling")
    real_data = importlib.import_module(REAL + ".data")
    assert importlib.import_module("detectron2.modeling").META_ARCH_REGISTRY is (
        real_modeling.META_ARCH_REGISTRY
    )
    assert importlib.import_module("detectron2.data").DatasetCatalog is real_data.DatasetCatalog
    assert "PersonSearchRCNN" in real_modeling.META_ARCH_REGISTRY


def test_objects_travel_through_pickle_and_copy():
    boxes = pickle.loads(pickle.dumps(Boxes([[1.0, 2.0, 3.0, 4.0]])))
    assert type(boxes) is Boxes
    assert boxes.tensor.tolist() == [[1, 2, 3, 4]]
    assert pickle.loads(pickle.dumps(Boxes)) is Boxes
    assert type(copy.deepcopy(CfgNode({"A": 1}))) is CfgNode


def _forget_and_count(rank, pickled):
    forget()
    return len(pickle.loads(pickled))


def test_objects_travel_to_a_process_that_has_imported_neither_name():
    boxes = Boxes([[0.0, 0.0, 2.0, 3.0]])
    assert run_processes(_forget_and_count, 1, pickle.dumps(boxes)) == [1]


@pytest.mark.slow
def test_objects_travel_to_a_process_that_has_imported_nothing():
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(len, (Boxes([[0.0, 0.0, 2.0, 3.0]]),)) == 1


def test_missing_module_is_none_for_find_spec():
    assert importlib.util.find_spec("detectron2.no_such_module") is None
    assert importlib.util.find_spec("detectron2.utils.no_such_module") is None


@pytest.mark.parametrize("name", ["detectron2.no_such_module", "detectron2.utils.no_such_module"])
def test_missing_module_is_an_import_error_under_the_name_asked_for(name):
    with pytest.raises(ModuleNotFoundError, match=name) as error:
        importlib.import_module(name)
    assert error.value.name == name


def test_module_keeps_its_own_spec():
    """importlib overwrites the spec of what a loader returns."""
    module = importlib.import_module("detectron2.utils.colormap")
    assert module.__spec__.name == module.__name__ == f"{REAL}.utils.colormap"
    assert importlib.reload(module) is module


def test_sources_and_resources_are_found():
    spec = importlib.util.find_spec("detectron2.structures.boxes")
    assert "class Boxes" in spec.loader.get_source("detectron2.structures.boxes")
    assert spec.loader.get_filename("detectron2.structures.boxes") == inspect.getsourcefile(Boxes)
    assert spec.loader.get_code("detectron2.structures.boxes") is not None
    assert importlib.util.find_spec("detectron2.structures").submodule_search_locations
    assert (importlib.resources.files("detectron2.utils") / "env.py").is_file()


def test_module_runs_by_name():
    """As ``python -m`` does, which needs the loader's code and file name."""
    names = runpy.run_module("detectron2.utils.develop", run_name="__main__")
    assert names["__name__"] == "__main__"
    assert "create_dummy_class" in names


def test_distribution_satisfies_a_requirement():
    assert importlib.metadata.version("detectron2").startswith("0.6")
