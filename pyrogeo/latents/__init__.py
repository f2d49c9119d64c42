"""Laws fitted to embeddings: what is drawn from in the place of the prior, after training.

Each takes embeddings `(N, d)` and returns a Pyro distribution of event shape `(d,)` in their dtype, with
`sample((n,))` and `log_prob`, frozen and picklable. `priors.Fixed` makes a prior of it. Embeddings are
`posterior.mean`, or, where the decoder is to be fed what it was trained on, one `posterior.sample()`.
"""

from pyrogeo.latents.autoregressive import AutoregressiveFlow
from pyrogeo.latents.flow import fit_flow
from pyrogeo.latents.gaussian_mixture import fit_gaussian_mixture
from pyrogeo.latents.two_stage import TwoStage, fit_two_stage

__all__ = ["AutoregressiveFlow", "TwoStage", "fit_flow", "fit_gaussian_mixture", "fit_two_stage"]
