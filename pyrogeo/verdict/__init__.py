"""The verdict on chains, whether they agree and are long enough, and on ranks, whether they are uniform."""

from pyrogeo.verdict.diagnosis import Diagnosis, diagnose
from pyrogeo.verdict.ranks import RankBand, RankCheck, check_ranks, rank_band, ranks_among

__all__ = [
    "Diagnosis",
    "RankBand",
    "RankCheck",
    "check_ranks",
    "diagnose",
    "rank_band",
    "ranks_among",
]
