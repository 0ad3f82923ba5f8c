"""Make ``import detectron2`` mean the copy that the PyPI wheel LabGym carries.

Importing ``detectron2.x.y`` yields the very same module object as ``LabGym.detectron2.x.y``, so
that every registry and catalog exists once, whichever name a module was imported by. Nothing here
is detectron2's own code.
"""

import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import sys

_ALIAS = "detectron2"
_REAL = "LabGym.detectron2"


class _AliasLoader(importlib.abc.InspectLoader):
    """Hand out the real module under the alias; delegate every inspection to its own loader."""

    def __init__(self, real_spec):
        self._real_spec = real_spec

    def create_module(self, spec):
        return importlib.import_module(self._real_spec.name)

    def exec_module(self, module):
        # importlib has just overwritten the module's __spec__ with the alias's; the module keeps
        # its own.
        module.__spec__ = self._real_spec
        module.__loader__ = self._real_spec.loader

    def is_package(self, fullname):
        return self._real_spec.submodule_search_locations is not None

    def get_code(self, fullname):
        return self._real_spec.loader.get_code(self._real_spec.name)

    def get_source(self, fullname):
        return self._real_spec.loader.get_source(self._real_spec.name)

    def get_filename(self, fullname):
        return self._real_spec.loader.get_filename(self._real_spec.name)

    def get_resource_reader(self, fullname):
        return self._real_spec.loader.get_resource_reader(self._real_spec.name)


class _AliasFinder(importlib.abc.MetaPathFinder):
    """Resolve ``detectron2.*`` to the spec of ``LabGym.detectron2.*`` without importing it."""

    def find_spec(self, fullname, path=None, target=None):
        if not fullname.startswith(_ALIAS + "."):
            return None
        real_name = _REAL + fullname[len(_ALIAS) :]
        real_spec = importlib.util.find_spec(real_name)
        if real_spec is None or real_spec.loader is None:
            return None
        loader = _AliasLoader(real_spec)
        spec = importlib.machinery.ModuleSpec(
            fullname, loader, origin=real_spec.origin, is_package=loader.is_package(fullname)
        )
        if spec.submodule_search_locations is not None:
            spec.submodule_search_locations.extend(real_spec.submodule_search_locations)
        return spec


sys.meta_path.insert(0, _AliasFinder())
sys.modules[_ALIAS] = importlib.import_module(_REAL)
