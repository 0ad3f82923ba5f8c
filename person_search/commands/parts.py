"""What an installation consists of, and whether each part is there and works."""

import importlib
import importlib.util
import json
import os
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import Distribution, PackageNotFoundError, distribution, distributions
from pathlib import Path

from person_search.commands.registry import BASE, DISTRIBUTION, install_line


@dataclass(frozen=True)
class Part:
    """A part of an installation as it was found."""

    name: str
    needed_for: str
    is_required: bool
    """Whether index, search or serve need it."""

    is_there: bool
    detail: str
    """Version and the like; where it is missing, why."""

    what_to_type: str | None = None
    """Where it is missing; None where that cannot be said in a line."""


@dataclass(frozen=True)
class _Package:
    module: str
    needed_for: str
    is_required: bool = False
    describe: Callable[[], str] | None = None
    """Imports the package, which takes its time, and says what it can do; raises where it does not
    load on this machine."""


def _describe_onnxruntime() -> str:
    providers = importlib.import_module("onnxruntime").get_available_providers()
    return "providers " + ", ".join(name.removesuffix("ExecutionProvider") for name in providers)


def _describe_torch() -> str:
    torch = importlib.import_module("torch")
    cuda, mps = torch.cuda.is_available(), torch.backends.mps.is_available()
    names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count() if cuda else 0)]
    return f"CUDA: {', '.join(names) or 'no'}, MPS: {'yes' if mps else 'no'}"


def _describe_opencv() -> str:
    importlib.import_module("cv2")
    return ""


PACKAGES = (
    _Package("numpy", "everything", True),
    _Package("scipy", "data sets and scores", True),
    _Package("PIL", "pictures", True),
    _Package("cv2", "pictures", True, _describe_opencv),
    _Package("av", "videos and streams", True),
    _Package("onnxruntime", "running a model without PyTorch", True, _describe_onnxruntime),
    _Package("onnx", "running a model without PyTorch", True),
    _Package("simsimd", "galleries", True),
    _Package("gradio", "the page: serve", True),
    _Package("shtab", "completion in the shell"),
    _Package("torch", "training, export, models that are no ONNX file", False, _describe_torch),
    _Package("torchvision", "training"),
    _Package("detectron2", "training, export, models that are no ONNX file"),
    _Package("onnxscript", "export to ONNX"),
    _Package("pymilvus", "galleries on a Milvus server"),
    _Package("pyarrow", "galleries as Parquet"),
    _Package("fiftyone", "galleries as FiftyOne data sets"),
)
MODEL_IN_PYTORCH = {"torch", "detectron2"}


def find_parts() -> list[Part]:
    """Look at every part of this installation, in the order to be shown."""
    model = find_model()
    # The default model may be one that only PyTorch runs.
    also = MODEL_IN_PYTORCH if model.is_there and needs_pytorch(model.detail) else set()
    packages = [find_package(p, p.is_required or p.module in also) for p in PACKAGES]
    return [find_installation(), *packages, model, find_write_access(Path.cwd())]


def needs_pytorch(model: str) -> bool:
    """Say whether a model's main file is one that PyTorch runs, all of it or the detector."""
    if model.endswith(".json"):
        try:
            from person_search.inference.detectors.load import is_of_zoo

            content = json.loads(Path(model).read_text(encoding="utf-8"))
        except (ImportError, OSError, ValueError):
            return False  # a missing package has its own line; who loads the file says the rest
        return isinstance(content, dict) and is_of_zoo(str(content.get("detector")))
    return not model.endswith(".onnx")


def find_package(package: _Package, is_required: bool) -> Part:
    """Say whether a package is installed, and works as far as that is known without its import."""
    name = BASE.get(package.module, package.module)
    spec = importlib.util.find_spec(package.module)
    # A folder that happens to have the name has no origin.
    if spec is None or spec.origin is None:
        hint = install_line(package.module)
        return Part(name, package.needed_for, is_required, False, "not installed", hint)
    details = [_version(name)]
    try:
        details += [package.describe()] if package.describe is not None else []
    except Exception as error:  # whatever a library throws that this machine cannot load
        why = f"installed, but cannot be loaded: {str(error).strip().splitlines()[0]}"
        fix = f"pip install --force-reinstall --no-deps {name}"
        return Part(name, package.needed_for, is_required, False, why, fix)
    if package.module == "detectron2":
        details.append(f"from {find_origin(_distribution(name))}")
    detail = ", ".join(detail for detail in details if detail)
    return Part(name, package.needed_for, is_required, True, detail)


def find_origin(detectron2: Distribution | None) -> str:
    """Say which way detectron2 came: the copy in LabGym, an address or folder, or a wheel."""
    if detectron2 is None:
        return "a folder on the path"
    if "labgym" in detectron2.version:
        return "the copy in the wheel LabGym"
    record = detectron2.read_text("direct_url.json")
    return str(json.loads(record).get("url", "a wheel")) if record else "a wheel"


def find_model() -> Part:
    """Say where the default model is."""
    needed = "index, search and serve without --model or --config-file"
    from person_search.inference.models import default_model

    trained = [os.environ.get(f"PERSON_SEARCH_{x}") for x in ("WEIGHTS", "CONFIG")]
    if any(trained):
        is_there = all(name and Path(name).is_file() for name in trained)
        detail = f"{trained[0]} with {trained[1]}"
        why = "" if is_there else "; PERSON_SEARCH_WEIGHTS and PERSON_SEARCH_CONFIG name no files"
        return Part("default model", needed, True, is_there, detail + why)
    try:
        found = default_model()
    except (ImportError, OSError, ValueError) as error:
        return Part("default model", needed, True, False, str(error))
    return Part("default model", needed, True, True, str(found))


def find_write_access(folder: Path) -> Part:
    """Try to write into a folder; nothing stays."""
    needed = "galleries and pictures that are named without a folder"
    name = "write access to this folder"
    try:
        with tempfile.TemporaryFile(dir=folder):
            return Part(name, needed, False, True, str(folder))
    except OSError as error:
        return Part(name, needed, False, False, f"{folder}: {error.strerror}", "cd ~")


def find_installation() -> Part:
    """Say whether this project is installed, and only once."""
    needed = "the program person-search"
    found = Counter(
        d.version
        for d in distributions(name=DISTRIBUTION)
        # A build in a checkout leaves one there that nobody installed.
        if not str(d.locate_file("")).endswith(".egg-info")
    )
    if len(found) > 1:
        why = f"several versions are installed, one hides the other: {', '.join(sorted(found))}"
        fix = f"pip uninstall {DISTRIBUTION}  (once for each), then install one"
        return Part(DISTRIBUTION, needed, False, False, why, fix)
    if not found:
        return Part(DISTRIBUTION, needed, False, False, "sources that are not installed")
    return Part(DISTRIBUTION, needed, False, True, next(iter(found)))


def _distribution(name: str) -> Distribution | None:
    try:
        return distribution(name)
    except PackageNotFoundError:
        return None


def _version(name: str) -> str:
    found = _distribution(name)
    return "version unknown" if found is None else found.version
