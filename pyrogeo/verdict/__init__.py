"""The verdict on chains, whether they agree and whether there are enough draws."""

from pyrogeo.verdict.diagnosis import Diagnosis, diagnose

__all__ = ["Diagnosis", "diagnose"]
