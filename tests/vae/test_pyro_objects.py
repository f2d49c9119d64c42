"""Everything of Pyro's and torch's namespaces that could be handed to `fit`: taken, or refused in one line.

The lists are read off the installed libraries, so that what a new version brings is tried too.
"""

import re
import warnings
from functools import partial

import numpy as np
import pyro
import pyro.contrib.gp
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import SVI, Trace_ELBO, autoguide
from torch import nn
from torch.optim import lr_scheduler

import pyrogeo as pg
from pyrogeo.vae.training.makers import makers

X = torch.randn(30, 5, generator=torch.Generator().manual_seed(0))


def made(likelihood=None, guide=None, beta=1.0):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        if guide is None:
            guide = pg.guides.DiagonalNormal(pg.networks.mlp(5, 4))
        likelihood = likelihood or pg.likelihoods.Normal(pg.networks.mlp(2, 5))
        return pg.VAE(pg.priors.StandardNormal(2), guide, likelihood, beta=beta)


def weights(vae):
    return torch.cat([p.detach().flatten() for p in vae.parameters()])


def taken(vae=None, data=X, **options):
    """True where `fit` trains; else what it says, in one line and before anything moved."""
    vae = vae or made()
    before, message = weights(vae), None
    try:
        history = pg.fit(vae, data, epochs=1, progress=False, seed=0, batch_size=10, **options)
    except ValueError as error:
        message = str(error)
    moved = not torch.equal(weights(vae), before)
    if message is not None:
        assert (moved, "\n" in message, len(message) < 800) == (False, False, True), message
        return message
    assert moved
    assert np.isfinite(history.table["loss"]).all()
    return True


def classes_of(module, base):
    found = [x for x in vars(module).values() if isinstance(x, type) and issubclass(x, base)]
    return sorted({x for x in found if x is not base}, key=lambda x: x.__name__)


OF_TORCH = classes_of(torch.optim, torch.optim.Optimizer)
REFUSED = {"LBFGS": "closure", "SparseAdam": "sparse gradients", "Muon": "2D"}


@pytest.mark.parametrize("optimizer", OF_TORCH, ids=lambda x: x.__name__)
def test_every_optimiser_of_torch(optimizer):
    outcome = taken(optimizer=optimizer)
    why = REFUSED.get(optimizer.__name__)
    assert outcome is True if why is None else why in outcome and "torch.optim.Adam" in outcome


OF_PYRO = sorted(set(pyro.optim.__all__) - {"PyroOptim", "PyroLRScheduler"})
SCHEDULERS = {
    "CyclicLR": {"base_lr": 1e-4, "max_lr": 1e-2, "cycle_momentum": False},
    "ExponentialLR": {"gamma": 0.9},
    "LambdaLR": {"lr_lambda": lambda epoch: 0.9**epoch},
    "MultiplicativeLR": {"lr_lambda": lambda epoch: 0.9},
    "MultiStepLR": {"milestones": [1]},
    "StepLR": {"step_size": 1},
    "OneCycleLR": {"max_lr": 1e-2, "total_steps": 10},
    "CosineAnnealingLR": {"T_max": 10},
    "CosineAnnealingWarmRestarts": {"T_0": 10},
}


@pytest.mark.parametrize("name", OF_PYRO)
def test_every_name_of_pyro_optim(name):
    maker = getattr(pyro.optim, name)
    if isinstance(maker, type):  # HorovodOptimizer
        assert "param store" in taken(optimizer=maker(pyro.optim.Adam({"lr": 0.1})))
        return
    if not hasattr(lr_scheduler, name):
        own = {"eta": 1e-3} if name == "AdagradRMSProp" else {"lr": 1e-3}
        assert (taken(optimizer=maker(own)) is True) == (name not in REFUSED)
        as_torch_s = name not in {*REFUSED, "AdagradRMSProp"}  # which has no lr
        assert (taken(optimizer=maker) is True) == as_torch_s
        return

    def scheduler():
        words = {"optimizer": torch.optim.Adam, "optim_args": {"lr": 1e-3}}
        return maker({**words, **SCHEDULERS.get(name, {})})

    outcomes = [taken(scheduler=scheduler()), taken(optimizer=scheduler())]
    of_others = name.lstrip("_") in ("ChainedScheduler", "SequentialLR", "LRScheduler")
    assert all("scheduler:" in x if of_others else x is True for x in outcomes), outcomes
    assert taken(scheduler=partial(getattr(lr_scheduler, name), **SCHEDULERS.get(name, {})))


def test_a_pyro_optimiser_steps_as_it_does_under_svi():
    for wrapper in (
        pyro.optim.Adam({"lr": 0.01, "betas": (0.8, 0.9)}),
        pyro.optim.SGD({"lr": 0.01, "momentum": 0.5}, {"clip_norm": 0.5}),
        pyro.optim.RMSprop({"lr": 0.01}, {"clip_value": 0.1}),
        pyro.optim.ClippedAdam({"lr": 0.01, "clip_norm": 0.2, "lrd": 0.9}),
    ):
        ours, theirs = ([nn.Parameter(torch.ones(3)), nn.Parameter(torch.ones(2))] for _ in "ab")
        stepper = makers(wrapper, None).optimizer(ours)
        for step in range(4):
            for parameter in (*ours, *theirs):
                parameter.grad = torch.arange(len(parameter)) - 1.0 + step
            stepper.step()
            wrapper(theirs)
        torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=0)


def test_a_pyro_scheduler_lowers_the_rate():
    words = {"optimizer": torch.optim.SGD, "optim_args": {"lr": 1e-4}, "gamma": 0.5}
    history = pg.fit(made(), X, epochs=3, progress=False, scheduler=pyro.optim.ExponentialLR(words))
    np.testing.assert_allclose(history.table["learning_rate"], [1e-4, 5e-5, 2.5e-5])


def raising(parameters, lr):
    raise RuntimeError("not\ntoday")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"optimizer": raising}, "raising is not called .*RuntimeError: not today"),
        ({"optimizer": lambda parameters: 0}, "unexpected keyword argument 'lr'"),
        ({"optimizer": lambda parameters, lr: 0}, "made <class 'int'>, which has no param_groups"),
        ({"optimizer": torch.optim.Adam(made().parameters())}, "an instance of Adam"),
        ({"optimizer": "adam"}, "such as optimizer=torch.optim.Adam.*got 'adam'"),
        ({"optimizer": pyro.optim.multi.Newton({"z": 1.0})}, "an instance of Newton"),
        ({"optimizer": pyro.optim.multi.Newton}, "unexpected keyword argument 'lr'"),
        ({"optimizer": pyro.optim.Adam(lambda name: {"lr": 1e-3})}, "function of each parameter"),
        (
            {"optimizer": pyro.optim.Adam({"lr": 1e-3}), "learning_rate": 0.1},
            "learning_rate: 0.1 beside pyro.optim.Adam with lr=0.001",
        ),
        ({"scheduler": lr_scheduler.StepLR}, "StepLR is not called .*step_size.*functools.partial"),
        ({"scheduler": pyro.optim.Adam({"lr": 1e-3})}, "pyro.optim.Adam is an optimiser"),
        ({"scheduler": lambda optimizer: 3}, "has no step; expected one of torch.optim"),
        (
            {
                "scheduler": pyro.optim.StepLR(
                    {"optimizer": torch.optim.SGD, "optim_args": {}, "step_size": 1}
                ),
                "optimizer": torch.optim.SGD,
            },
            "optimizer: SGD beside scheduler: pyro.optim.StepLR",
        ),
    ],
)
def test_makers_that_do_not_make_one(options, message):
    assert re.search(message, str(taken(**options)))


def test_an_optimiser_that_has_trained_something_else():
    used = pyro.optim.Adam({"lr": 1e-3})
    vae = made()
    with pyro.get_param_store().scope():
        SVI(vae.model, vae.guide, used, Trace_ELBO()).step(X)
    assert "make a new one" in taken(optimizer=used)


def test_a_vae_without_parameters():
    vae = made()
    vae.requires_grad_(False)
    assert "nothing to train" in taken(vae)


OF_INFER = [
    x
    for x in vars(pyro.infer).values()
    if isinstance(x, type) and x is not pyro.infer.ELBO and hasattr(x, "loss")
]
NOT_TAKEN = {
    "EnergyDistance": "has no loss_and_grads",
    "ReweightedWakeSleep": "not one number but a tuple of 2",
    "TraceTailAdaptive_ELBO": "Loss method for TraceTailAdaptive_ELBO not implemented",
}


def objective_of(kind):
    options = {}
    if kind.__name__ == "Trace_MMD":
        options["kernel"] = pyro.contrib.gp.kernels.RBF(2)
    if kind.__name__ == "TraceTailAdaptive_ELBO":
        options |= {"num_particles": 4, "vectorize_particles": True}
    if kind.__name__.startswith("Jit"):
        options["ignore_jit_warnings"] = True
    return kind(**options)


@pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning", "ignore:.*for enumeration"
)
@pytest.mark.parametrize("kind", OF_INFER, ids=lambda x: x.__name__)
def test_every_objective_of_pyro(kind):
    outcome = taken(objective=objective_of(kind))
    why = NOT_TAKEN.get(kind.__name__)
    assert outcome is True if why is None else why in outcome and "take " in outcome
    if outcome is not True:
        return
    # What says that it uses β does, and what has none is refused beside one.
    outcome = taken(made(beta=0.5), objective=objective_of(kind))
    losses = []
    for beta in (1.0, 0.5):
        vae = made(beta=beta)
        with torch.random.fork_rng(), pyro.get_param_store().scope(), warnings.catch_warnings():
            torch.manual_seed(0)
            losses.append(objective_of(kind).loss(vae.model, vae.guide, X))
    if outcome is True:
        assert losses[0] > losses[1] + 0.1
    else:
        assert "has no β" in outcome


@pytest.mark.parametrize(
    "name", [x for x in autoguide.__all__ if isinstance(getattr(autoguide, x), type)]
)
def test_every_autoguide_is_refused_as_a_guide(name):
    try:
        guide = getattr(autoguide, name)(lambda: None)
    except Exception:  # wants more than a model, or is no guide
        return
    if not isinstance(guide, nn.Module):
        return
    assert "guide" in taken(made(guide=guide))


class Likelihood(nn.Module):
    def __init__(self, make, out=5):
        super().__init__()
        self.make, self.network = make, pg.networks.mlp(2, out)

    def forward(self, z):
        return self.make(self.network(z)).to_event(1)


OF_INTEGERS = {
    "Poisson": (lambda f: dist.Poisson(f.exp()), 5, "integers of at least 0"),
    "Binomial": (lambda f: dist.Binomial(3, logits=f), 5, r"integers in \[0, 3\]"),
    "Geometric": (lambda f: dist.Geometric(logits=f), 5, "integers of at least 0"),
    "NegativeBinomial": (lambda f: dist.NegativeBinomial(4, logits=f), 5, "integers of at least 0"),
    "Categorical": (lambda f: dist.Categorical(logits=f), (5, 4), r"integers in \[0, 3\]"),
    "Bernoulli": (lambda f: dist.Bernoulli(logits=f), 5, "integers"),
}


@pytest.mark.parametrize("name", OF_INTEGERS)
@pytest.mark.parametrize("dtype", [torch.uint8, torch.int32, torch.int64, torch.float64])
def test_integers_where_the_likelihood_is_of_integers(name, dtype):
    make, out, expected = OF_INTEGERS[name]
    vae = made(Likelihood(make, out))
    data = torch.randint(2, (30, 5), generator=torch.Generator().manual_seed(0))
    assert taken(vae, data.to(dtype)) is True
    same = made(Likelihood(make, out))
    assert taken(same, data.float()) is True
    torch.testing.assert_close(vae.embed(data).mean, vae.embed(data.float()).mean, rtol=0, atol=0)
    # integers alone: half a count is none, and neither is less than none
    with pytest.raises(ValueError, match=expected):
        pg.fit(vae, data + 0.5, progress=False)
    if dtype.is_signed:
        with pytest.raises(ValueError, match=expected):
            pg.fit(vae, data.to(dtype) - 1, progress=False)


def test_integers_of_which_nobody_knows_what_is_white():
    for dtype in (torch.uint8, torch.int64):
        assert "x.float() / 255" in taken(made(), X.abs().to(dtype))
    assert taken(made(pg.likelihoods.Bernoulli(pg.networks.mlp(2, 5))), X > 0) is True


def test_integers_that_float32_would_round():
    vae = made(Likelihood(lambda f: dist.Poisson(f.exp())))
    assert "vae.double()" in taken(vae, torch.full((30, 5), 2**24 + 1))


class SeesWhatIsMissing(nn.Module):
    def __init__(self):
        super().__init__()
        self.network = pg.networks.mlp(10, 4)

    def forward(self, x):
        return self.network(torch.cat([x.nan_to_num(), x.isnan().to(x.dtype)], -1))


def test_missing_values_where_both_parts_take_them():
    x = X.clone()
    x[torch.rand(x.shape, generator=torch.Generator().manual_seed(1)) < 0.2] = torch.nan
    blind = pg.guides.DiagonalNormal(pg.networks.mlp(5, 4))

    def sees():
        return pg.guides.DiagonalNormal(SeesWhatIsMissing())

    def takes():
        return Likelihood(lambda f: dist.NanMaskedNormal(f, torch.ones_like(f)))

    vae = made(takes(), sees())
    assert taken(vae, x) is True
    assert taken(vae, np.ma.masked_array(x.nan_to_num().numpy(), x.isnan().numpy())) is True
    assert vae.embed(x).mean.isfinite().all()
    for parts in ((takes(), blind), (None, sees()), (None, blind)):
        assert "NanMaskedNormal" in taken(made(*parts), x)
    x[0, 0] = torch.inf
    assert "NaN or infinite" in taken(vae, x)


WITHOUT_MEAN = {
    "Categorical": (lambda f: dist.Categorical(logits=f), (5, 4), "network(z).argmax(-1)"),
    "Cauchy": (lambda f: dist.Cauchy(f, 1.0), 5, "network(z)"),
    "StudentT": (lambda f: dist.StudentT(1.0, f, 1.0), 5, "network(z)"),
    "HalfCauchy": (lambda f: dist.HalfCauchy(f.exp()), 5, "0 * network(z)"),
}


@pytest.mark.parametrize("name", WITHOUT_MEAN)
def test_the_picture_of_a_likelihood_without_a_mean_is_its_mode(name):
    make, out, mode = WITHOUT_MEAN[name]
    vae, z = made(Likelihood(make, out)), torch.randn(7, 2)
    frames = pg.likelihoods.picture(vae.decode(z))
    expected = eval(mode, {"network": vae.likelihood.network, "z": z})
    torch.testing.assert_close(frames, expected.to(frames), rtol=0, atol=0)
    normal = made()
    torch.testing.assert_close(pg.likelihoods.picture(normal.decode(z)), normal.decode(z).mean)


def test_a_likelihood_with_neither_mean_nor_mode():
    class Neither(dist.Normal):
        mean = property(lambda self: self.loc * torch.nan)
        mode = property(lambda self: (_ for _ in ()).throw(NotImplementedError))

    vae = made(Likelihood(lambda f: Neither(f, 1.0)))
    with pytest.raises(ValueError, match="Neither has neither a finite mean nor a mode"):
        pg.likelihoods.picture(vae.decode(torch.zeros(3, 2)))


def test_an_objective_that_compares_means_and_a_likelihood_without_one():
    make, out, _ = WITHOUT_MEAN["Categorical"]
    vae = made(Likelihood(make, out))
    objective = pg.objectives.DataAdversarial(pg.networks.mlp(5, 4, 1))
    assert "has not; take an ELBO" in taken(vae, X.abs().floor(), objective=objective)


def svi_of(vae):
    return SVI(vae.model, vae.guide, pyro.optim.Adam({"lr": 1e-2}), Trace_ELBO())


def test_a_param_store_of_an_earlier_session(tmp_path):
    with pyro.get_param_store().scope():
        first = made()
        svi_of(first).step(X)
        pyro.get_param_store().save(tmp_path / "store")
    vae = made()
    vae._name = first._name  # as the first VAE of the next session is called
    with pyro.get_param_store().scope() as _:
        pyro.get_param_store().load(tmp_path / "store")
        before = weights(vae)
        stepper = svi_of(vae)
        with pytest.raises(ValueError, match="holds other parameters named") as refused:
            stepper.step(X)
        first_line = str(refused.value).split("\n")[0]  # Pyro adds the shapes of the trace
        assert "update_module_params=True" in first_line
        assert taken(vae) is True  # fit has a store of its own
        # what the line says to do
        for part in ("prior", "posterior", "likelihood"):
            pyro.module(f"{vae._name}.{part}", getattr(vae, part), update_module_params=True)
        torch.testing.assert_close(weights(vae), weights(first), rtol=0, atol=0)
        svi_of(vae).step(X)
        assert not torch.equal(weights(vae), weights(first))
        pyro.clear_param_store()
        other = made()
        svi_of(other).step(X)
        assert not torch.equal(weights(other), before)
