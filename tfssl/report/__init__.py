"""`report.html`: what a run was, what it learned and what came out, in one file without links."""

from tfssl.report.page import write_report

__all__ = ["write_report"]
