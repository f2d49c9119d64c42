"""What a run shows: its pictures, and one page that holds them."""

from pyrogeo.reports.page import report

__all__ = ["report"]
