"""From a run to a model that anyone can load: SavedModel, its check. Installed as tfssl.export; knows no training."""

import sys
import types
from typing import Any


class _CallablePackage(types.ModuleType):
    """`tfssl.export` is both this package and the function of `tfssl.export(run, folder)`.

    A function of that name in `tfssl` would be replaced by the package whenever a module of it is first imported, so
    the package itself can be called.
    """

    def __call__(self, *arguments: Any, **settings: Any) -> Any:
        """Call `tfssl.export.saved_model.export`, which says what it takes."""
        from tfssl.export.saved_model import export

        return export(*arguments, **settings)


sys.modules[__name__].__class__ = _CallablePackage
