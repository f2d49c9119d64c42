"""What a run shows: its pictures, a summary in lines, and one page that holds them."""

from pyrogeo.reports.page import report
from pyrogeo.reports.summary import summary

__all__ = ["report", "summary"]
