"""A pytest plugin that imports a module with one change. $MUTANT: the module, a colon, the number of its mutant."""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import itertools
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from types import CodeType, ModuleType

from ci.mutants.mutate import mutants


class _Loader(importlib.machinery.SourceFileLoader):
    def get_code(self, fullname: str) -> CodeType:
        number = int(os.environ["MUTANT"].rpartition(":")[2])
        mutant = next(itertools.islice(mutants(Path(self.path).read_text()), number, None))
        return compile(mutant.tree, self.path, "exec")


class _Finder(importlib.abc.MetaPathFinder):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != os.environ["MUTANT"].rpartition(":")[0]:
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        if not spec or not spec.origin:
            return None
        return importlib.util.spec_from_file_location(fullname, spec.origin, loader=_Loader(fullname, spec.origin))


if "MUTANT" in os.environ:
    sys.meta_path.insert(0, _Finder())
