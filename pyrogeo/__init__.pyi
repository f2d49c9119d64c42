from . import datasets as datasets
from . import errors as errors
from . import geometry as geometry
from . import interpolation as interpolation
from . import latents as latents
from . import plots as plots
from . import recipes as recipes
from . import run as run
from .distributions import GeometricMixture as GeometricMixture
from .distributions import RiemannianUniform as RiemannianUniform
from .geometry import CentroidMetric as CentroidMetric
from .geometry import Metric as Metric
from .sampling import BatchHMC as BatchHMC
from .sampling import sample as sample
from .sampling import sample_smc as sample_smc
from .sampling.methods import methods as methods
from .vae import VAE as VAE
from .vae import fit as fit
from .vae import guides as guides
from .vae import likelihoods as likelihoods
from .vae import networks as networks
from .vae import objectives as objectives
from .vae import priors as priors
from .verdict import diagnose as diagnose

__version__: str
