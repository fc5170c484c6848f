"""Parts of other people's packages without the rest, where that is megabytes of a small machine's memory."""

import sys
from importlib import import_module
from importlib.machinery import ModuleSpec
from importlib.util import find_spec, module_from_spec
from types import ModuleType
from typing import Any


def only_parts_of(package: str, **found_in: str) -> None:
    """Have modules of a package imported without its `__init__`, which runs once something that it defines is wanted.

    `found_in` says where names are defined that its own modules want of it. Does nothing for a package that is imported
    already. Raise ModuleNotFoundError where there is none.
    """
    if package in sys.modules:
        return
    spec = find_spec(package)
    if spec is None or spec.loader is None:
        raise ModuleNotFoundError(f"No module named {package!r}", name=package)
    module = module_from_spec(spec)
    module.__dict__["_found_in"] = found_in
    module.__class__ = _Unbegun
    sys.modules[package] = module


def uvicorns_server_only() -> None:
    """Have uvicorn serve without its command line and its supervisors, which are 2 MB."""
    only_parts_of("uvicorn", Config="uvicorn.config")


class _Unbegun(ModuleType):
    """A package of which nothing ran yet."""

    __spec__: ModuleSpec
    _found_in: dict[str, str]

    def __getattr__(self, name: str) -> Any:
        """Begin after all, unless it is a module of the package that is looked for: the import system finds that."""
        if name in self._found_in:
            return getattr(import_module(self._found_in[name]), name)
        if name.startswith("__") or find_spec(f"{self.__name__}.{name}") is not None:
            raise AttributeError(name)
        self.__class__ = ModuleType  # type: ignore[assignment]  # that is how modules change theirs
        assert self.__spec__.loader is not None
        self.__spec__.loader.exec_module(self)
        return getattr(self, name)
