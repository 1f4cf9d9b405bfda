"""`report.html`: what a run was, what it learned and what came out, in one file without links; and drawn puzzles."""

import sys
import types
from typing import Any


class _CallablePackage(types.ModuleType):
    """`tfssl.report` is both this package and the function of `tfssl.report(run)`: see `tfssl.export`."""

    def __call__(self, *arguments: Any, **settings: Any) -> Any:
        """Call `tfssl.report.report.report`, which says what it takes."""
        from tfssl.report.report import report

        return report(*arguments, **settings)


sys.modules[__name__].__class__ = _CallablePackage
