import torch

import pyrogeo as pg


def test_digits_are_split_without_overlap():
    data = pg.datasets.digits()
    parts = [data.train, data.validation, data.test]
    assert [len(p) for p in parts] == [1131, 126, 540]
    everything = torch.cat(parts)
    assert everything.shape == (1797, 1, 8, 8)
    assert (everything.min(), everything.max()) == (0, 1)
    assert len(torch.unique(everything, dim=0)) == 1797
    for labels in (data.train_labels, data.validation_labels, data.test_labels):
        share = torch.bincount(labels).double() / len(labels)
        assert share.min() > 0.08  # stratified
    assert not torch.equal(pg.datasets.digits(seed=1).train, data.train)
