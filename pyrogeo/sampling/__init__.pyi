from .exact import sample_smc as sample_smc
from .kernels.batch_hmc import BatchHMC as BatchHMC
from .mcmc import sample as sample
from .protocol import paper_protocol as paper_protocol
