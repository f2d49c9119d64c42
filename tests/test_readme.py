"""The README's program runs as it stands, with less work."""

import re
from functools import partial
from pathlib import Path

import pytest
import torch

import pyrogeo as pg

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def test_the_program(monkeypatch, capsys):
    monkeypatch.setattr(pg, "fit", partial(pg.fit, epochs=2, progress=False))
    sample = pg.sample
    monkeypatch.setattr(pg, "sample", lambda d, n, **o: sample(d, 20, **o, warmup_steps=20))
    names = {}
    exec(BLOCKS[0], names)
    assert "verdict:" in capsys.readouterr().out
    assert names["images"].shape == (10_000, 1, 8, 8)
    assert torch.isfinite(names["images"]).all()
    exec(BLOCKS[1], names)
    names["svi"].step(names["digits"].train[:10])
    exec(BLOCKS[4], names)
    assert names["path"].frames.shape == (4, 12, 1, 8, 8)
    assert names["D"].shape == (20, 20)
    exec(BLOCKS[5], names)


def test_an_encoder_of_one_s_own():
    names = {"pg": pg, "means": torch.randn(200, 3), "log_variances": torch.randn(200, 3) - 2}
    exec(BLOCKS[2], names)
    assert names["z"].shape == (1000, 3)


def test_a_metric_of_one_s_own(monkeypatch):
    sample = partial(pg.sample, seed=0, warmup_steps=100, progress=False)
    monkeypatch.setattr(pg, "sample", sample)
    names = {"pg": pg}
    exec(BLOCKS[3], names)
    z = torch.from_numpy(names["draws"].posterior["z"].to_numpy())
    height = (1 - (z**2).sum(-1)) / (1 + (z**2).sum(-1))
    # Archimedes: the height of a uniform point on the sphere is uniform on [−1, 1].
    assert abs(height.mean()) < 0.15
    assert height.var().item() == pytest.approx(1 / 3, abs=0.06)


def test_the_other_estimator(monkeypatch, embedded):
    pytest.importorskip("sklearn_extra", reason="scikit-learn-extra is not installed")
    names = {"pg": pg, "posterior": embedded[16]}
    exec(BLOCKS[6], names)
    assert names["metric"].n_centroids == 100


def test_every_file_it_names_exists():
    for target in re.findall(r"\]\(((?!https?:)[^)]+)\)", README):
        assert (ROOT / target).exists(), target
