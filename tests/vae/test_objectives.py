"""Objectives against closed forms, direct sums and autograd."""

import copy
import math
from functools import partial

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import SVI, RenyiELBO, Trace_ELBO, TraceMeanField_ELBO
from pyro.optim import Adam
from torch import nn

import pyrogeo as pg
from pyrogeo import objectives
from pyrogeo.errors import NonFiniteLossError, PyrogeoWarning
from tests.conftest import small_vae
from tests.vae.test_model import linear_gaussian

quiet = partial(pg.fit, progress=False, seed=0)


@pytest.fixture(autouse=True)
def _clear():
    pyro.clear_param_store()
    yield
    pyro.clear_param_store()


def deterministic_vae(d=2, event=(1, 8, 8), width=32, **options):
    return pg.VAE(
        pg.priors.StandardNormal(d),
        pg.guides.Deterministic(pg.networks.mlp(event, width, d)),
        pg.likelihoods.Bernoulli(pg.networks.mlp(d, width, event)),
        **options,
    )


def latent(**options):
    return objectives.LatentAdversarial(pg.networks.mlp(2, 16, 1), **options)


def data_space(**options):
    return objectives.DataAdversarial(pg.networks.mlp((1, 8, 8), 64, 1), weight=0.1, **options)


OBJECTIVES = {
    "IWAE": (small_vae, lambda: objectives.IWAE(3)),
    "IWAE of one": (small_vae, lambda: objectives.IWAE(1)),
    "warm-up": (partial(small_vae, beta=0.5), lambda: objectives.Warmup(steps=20)),
    "warm-up of KL": (small_vae, lambda: objectives.Warmup(TraceMeanField_ELBO(), 20, 0.1)),
    "AE": (partial(deterministic_vae, beta=0.0), objectives.Reconstruction),
    "RAE": (
        partial(deterministic_vae, beta=0.1),
        lambda: objectives.Reconstruction(weight_decay=1e-3, gradient_penalty=0.01),
    ),
    "WAE": (deterministic_vae, lambda: objectives.WassersteinMMD("rbf", 5.0, (0.5, 1.0))),
    "WAE, stochastic": (small_vae, objectives.WassersteinMMD),
    "AAE": (deterministic_vae, latent),
    "VAE-GAN": (partial(small_vae, beta=0.01), data_space),
}


@pytest.mark.parametrize("name", OBJECTIVES)
def test_svi_and_plain_torch_train_with_each(name, digits):
    for plain in (False, True):
        make, objective = OBJECTIVES[name]
        vae, objective = make(), objective()
        before = copy.deepcopy(vae.state_dict())
        x = digits.train[:200]
        first = objective.loss(vae.model, vae.guide, x)
        if plain:
            stepper = torch.optim.Adam(vae.parameters(), lr=1e-2)
            for _ in range(25):
                stepper.zero_grad()
                objective.differentiable_loss(vae.model, vae.guide, x).backward()
                stepper.step()
        else:
            svi = SVI(vae.model, vae.guide, Adam({"lr": 1e-2}), objective)
            for _ in range(25):
                svi.step(x)
        assert objective.loss(vae.model, vae.guide, x) < first
        assert all((t != before[n]).any() for n, t in vae.named_parameters())


@pytest.mark.parametrize("name", OBJECTIVES)
def test_values_are_sums_over_the_batch_and_steps_leave_the_loss_alone(name, digits):
    make, objective = OBJECTIVES[name]
    vae, objective, x = make().double(), objective(), digits.train[:20].double()
    if not hasattr(objective, "discriminator"):  # those of data differ from loss by design
        torch.manual_seed(1)
        value = objective.differentiable_loss(vae.model, vae.guide, x).item()
        torch.manual_seed(1)
        expected = objective.loss(vae.model, vae.guide, x)
        if not isinstance(objective, objectives.Warmup):
            assert value == pytest.approx(expected, rel=1e-9)
    torch.manual_seed(1)
    values = [objective.loss(vae.model, vae.guide, x)]
    torch.manual_seed(1)
    values += [objective.loss(vae.model, vae.guide, x, 100) / 5]
    assert values[0] == pytest.approx(values[1], rel=1e-9)
    assert all(p.grad is None for p in vae.parameters())


@pytest.mark.parametrize("name", OBJECTIVES)
def test_resumption_to_the_same_bits(name, digits, tmp_path):
    make, objective = OBJECTIVES[name]
    whole, first = make(), objective()
    other = copy.deepcopy(first)
    resumed = copy.deepcopy(whole)
    fit = partial(quiet, data=digits.train[:100], validation=digits.validation[:50], batch_size=20)
    history = fit(whole, objective=first, epochs=4)
    path = tmp_path / "c.safetensors"
    fit(resumed, objective=copy.deepcopy(other), epochs=2, checkpoint=path)
    with torch.no_grad():
        for parameter in resumed.parameters():
            parameter.zero_()
    with pytest.warns(PyrogeoWarning, match="other weights"):
        again = fit(resumed, objective=other, epochs=4, checkpoint=path)
    assert again.table.equals(history.table)
    for mine, expected in zip(resumed.parameters(), whole.parameters(), strict=True):
        assert torch.equal(mine, expected)
    if hasattr(first, "discriminator"):
        for mine, expected in zip(
            other.discriminator.parameters(), first.discriminator.parameters(), strict=True
        ):
            assert torch.equal(mine, expected)


def mean_and_error(objective, vae, x, repeats=20):
    values = torch.tensor(
        [-objective.loss(vae.model, vae.guide, x) / len(x) for _ in range(repeats)]
    )
    return values.mean().item(), values.std().item() / math.sqrt(repeats)


def test_the_bound_rises_to_the_evidence():
    (_, narrow), evidence = linear_gaussian()
    x = evidence.sample((200,))
    truth = evidence.log_prob(x).mean().item()
    particles = (1, 3, 10, 100, 500)
    found = [mean_and_error(Trace_ELBO(), narrow, x)]
    found += [mean_and_error(objectives.IWAE(k), narrow, x) for k in particles]
    elbo, one, *rest = found
    # Differences of means of 20 at 4 standard errors: a false alarm in 30,000 of each.
    assert abs(elbo[0] - one[0]) < 4 * math.hypot(elbo[1], one[1])
    for (low, e), (high, f) in zip([one, *rest], rest[:3], strict=False):
        assert high - low > 4 * math.hypot(e, f)
    for value, error in found:
        assert value < truth + 4 * error
    # The guide is 0.8 times as wide as the posterior: the bias left at K = 500 is below 0.01 nats.
    assert truth - rest[-1][0] < 0.01
    assert truth - elbo[0] > 0.03


def test_importance_weights_are_those_of_each_datum(digits):
    vae, x = small_vae().double(), digits.train[:7].double()
    torch.manual_seed(1)
    loss = objectives.IWAE(5).differentiable_loss(vae.model, vae.guide, x)
    gradients = torch.autograd.grad(loss, list(vae.parameters()))
    torch.manual_seed(1)
    q = vae.posterior(x)
    z = q.rsample((5,))
    log_weight = vae.likelihood(z).log_prob(x) + vae.prior().log_prob(z) - q.log_prob(z)
    expected = -(log_weight.exp().mean(0)).log().sum()
    torch.testing.assert_close(loss, expected)
    for mine, its in zip(
        gradients, torch.autograd.grad(expected, list(vae.parameters())), strict=True
    ):
        torch.testing.assert_close(mine, its)
    torch.manual_seed(1)
    batchwise = RenyiELBO(0.0, 5, vectorize_particles=True, max_plate_nesting=1)
    assert isinstance(batchwise.loss(vae.model, vae.guide, x), float)


@pytest.mark.parametrize("beta", [0.0, 0.5])
def test_an_importance_weighted_bound_refuses_beta(beta, digits):
    vae, x = small_vae(beta=beta), digits.train[:5]
    with pytest.raises(ValueError, match="has no β: expected beta=1, got sites scaled by 0"):
        objectives.IWAE(3).loss(vae.model, vae.guide, x)
    for objective in (objectives.IWAE(3), RenyiELBO(), objectives.WassersteinMMD()):
        with pytest.raises(ValueError, match=f"{type(objective).__name__} has no β: expected"):
            quiet(vae, x, objective=objective)


@pytest.mark.parametrize(
    "objective",
    [None, TraceMeanField_ELBO(), objectives.IWAE(), objectives.Warmup(), data_space()],
)
def test_a_deterministic_guide_under_an_elbo_that_needs_entropy(objective, digits):
    with pytest.raises(ValueError, match="a deterministic guide under an ELBO that needs entropy"):
        quiet(deterministic_vae(), digits.train[:50], objective=objective)
    vae = deterministic_vae()
    with pytest.raises(ValueError, match="a deterministic guide has none"):
        objectives.IWAE(2).loss(vae.model, vae.guide, digits.train[:5])


def test_a_guide_without_reparametrisation_is_refused(digits):
    class Scored(pg.guides.DiagonalNormal):
        def forward(self, x):
            loc = super().forward(x).mean
            pair = dist.Normal(torch.stack([loc, -loc], -2), 1.0).to_event(1)
            return dist.MixtureSameFamily(dist.Categorical(torch.ones(len(x), 2)), pair)

    vae = pg.VAE(
        pg.priors.StandardNormal(2),
        Scored(pg.networks.mlp((1, 8, 8), 4)),
        small_vae().likelihood,
    )
    with pytest.raises(ValueError, match="needs reparametrised draws"):
        objectives.IWAE(2).loss(vae.model, vae.guide, digits.train[:5])


def test_reconstruction_is_the_sum_of_its_terms(digits):
    x = digits.train[:9].double()
    vae = deterministic_vae(beta=0.3).double()
    z = vae.posterior(x).mean
    terms = {
        "data": -vae.likelihood(z).log_prob(x).sum(),
        "latent": 0.3 * (0.5 * z.square().sum() + 9 * math.log(2 * math.pi)),
        "decay": 9 * 0.01 * sum(p.square().sum() for p in vae.likelihood.parameters()),
        "penalty": 0.2 * squared_norms(lambda z: vae.likelihood(z).mean, z).sum(),
    }
    objective = objectives.Reconstruction(weight_decay=0.01, gradient_penalty=0.2)
    loss = objective.differentiable_loss(vae.model, vae.guide, x)
    torch.testing.assert_close(loss, sum(terms.values()))
    vae.beta = 0.0
    plain = objectives.Reconstruction().differentiable_loss(vae.model, vae.guide, x)
    torch.testing.assert_close(plain, terms["data"])


def squared_norms(function, z):
    """‖∂f(zᵢ)/∂zᵢ‖² by autograd's reverse mode, datum by datum."""
    jacobians = [
        torch.autograd.functional.jacobian(function, point[None], create_graph=True) for point in z
    ]
    return torch.stack([j.square().sum() for j in jacobians])


DECODERS = {
    "mlp": lambda: pg.networks.mlp(3, 16, (1, 8, 8), activation=nn.Tanh),
    "conv": lambda: pg.networks.conv_decoder(3, 8, 4, (1, 8, 8), batch_norm=False),
    "spectral": lambda: nn.Sequential(
        nn.utils.parametrizations.spectral_norm(nn.Linear(3, 8)), nn.ELU(), nn.Linear(8, 5)
    ),
}


@pytest.mark.parametrize("name", DECODERS)
def test_the_gradient_penalty_is_autograd_s_jacobian(name):
    decoder = DECODERS[name]().double().eval()
    z = torch.randn(6, 3, dtype=torch.float64, requires_grad=True)
    found, expected = objectives.squared_jacobian(decoder, z), squared_norms(decoder, z)
    torch.testing.assert_close(found, expected)
    wanted = [z, *decoder.parameters()]
    for mine, its in zip(
        torch.autograd.grad(found.sum(), wanted, allow_unused=True),
        torch.autograd.grad(expected.sum(), wanted, allow_unused=True),
        strict=True,
    ):
        if its is None:
            assert mine is None or not mine.any()
        else:
            torch.testing.assert_close(mine, its)


def test_random_directions_estimate_the_penalty_without_bias():
    decoder = DECODERS["mlp"]().double()
    z = torch.randn(4, 3, dtype=torch.float64)
    exact = objectives.squared_jacobian(decoder, z)
    estimates = torch.stack([objectives.squared_jacobian(decoder, z, 50) for _ in range(200)])
    # Four z-tests at 1e-6: |t| ≤ 5; an error of 6% would be seen.
    error = estimates.std(0) / math.sqrt(200)
    assert ((estimates.mean(0) - exact).abs() < 5 * error).all()
    assert (error < 0.012 * exact).all()
    assert not objectives.squared_jacobian(lambda z: torch.ones_like(z), z).any()


@pytest.mark.parametrize("kernel", [objectives.imq, objectives.rbf])
def test_mmd_is_the_double_sum(kernel):
    a, b = torch.randn(7, 3).double(), 0.5 + torch.randn(5, 3).double()

    def k(u, v):
        s = ((u - v) ** 2).sum().item()
        c = 2 * 3 * 0.7**2
        return c / (c + s) if kernel is objectives.imq else math.exp(-s / c)

    same = sum(k(u, v) for i, u in enumerate(a) for j, v in enumerate(a) if i != j) / (7 * 6)
    same += sum(k(u, v) for i, u in enumerate(b) for j, v in enumerate(b) if i != j) / (5 * 4)
    cross = sum(k(u, v) for u in a for v in b) / 35
    found = objectives.mmd(a, b, partial(kernel, scale=0.7)).item()
    assert found == pytest.approx(same - 2 * cross, rel=1e-9)


@pytest.mark.parametrize("kernel", [objectives.imq, objectives.rbf])
def test_mmd_is_zero_in_expectation_for_equal_laws_only(kernel):
    # A z-test of 400 at 1e-6; a shift of half a standard deviation is seen at once.
    for shift in (0.0, 0.5):
        values = torch.tensor(
            [
                objectives.mmd(torch.randn(30, 2), torch.randn(30, 2) + shift, kernel)
                for _ in range(400)
            ]
        )
        t = values.mean() / (values.std() / 20)
        assert abs(t) < 4.9 if shift == 0 else t > 10


def test_wasserstein_adds_the_discrepancy_of_each_batch(digits):
    vae, x = deterministic_vae().double(), digits.train[:12].double()
    torch.manual_seed(1)
    loss = objectives.WassersteinMMD(weight=3.0, scale=(0.5, 2.0)).loss(vae.model, vae.guide, x)
    torch.manual_seed(1)
    z = vae.posterior(x).mean
    vae.prior().expand((12,))
    draws = torch.randn(12, 2, dtype=torch.float64)
    values = [objectives.mmd(z, draws, partial(objectives.imq, scale=s)) for s in (0.5, 2.0)]
    expected = -vae.likelihood(z).log_prob(x).sum() + 12 * 3.0 * sum(values) / 2
    assert loss == pytest.approx(expected.item(), rel=1e-9)
    own = objectives.WassersteinMMD(lambda a, b: a @ b.T, 3.0)
    assert math.isfinite(own.loss(vae.model, vae.guide, x))
    with pytest.raises(ValueError, match="at least two points of each law, got 1 and 1"):
        quiet(deterministic_vae(), digits.train[:1], objective=own)


def test_the_weight_of_the_latent_terms_rises(digits):
    x, warmup = digits.train[:10], objectives.Warmup(TraceMeanField_ELBO(), steps=4, start=0.2)
    vae = small_vae(beta=0.5)
    weights = []
    for step in range(6):
        weights.append(warmup.weight)
        vae.zero_grad()
        torch.manual_seed(step)
        warmup.loss_and_grads(vae.model, vae.guide, x)
        mine = [p.grad.clone() for p in vae.parameters()]
        vae.zero_grad()
        vae.beta = 0.5 * weights[-1]
        torch.manual_seed(step)
        TraceMeanField_ELBO().loss_and_grads(vae.model, vae.guide, x)
        vae.beta = 0.5
        for gradient, parameter in zip(mine, vae.parameters(), strict=True):
            torch.testing.assert_close(gradient, parameter.grad)
    assert weights == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0, 1.0])


def test_a_warm_up_reports_the_loss_of_the_full_weight(digits):
    x, vae = digits.train[:10], small_vae()
    warmup = objectives.Warmup(TraceMeanField_ELBO(), steps=10)
    full = [TraceMeanField_ELBO(num_particles=200).loss(vae.model, vae.guide, x)]
    found = sum(warmup.loss(vae.model, vae.guide, x) for _ in range(200)) / 200
    assert found == pytest.approx(full[0], rel=1e-2)
    assert warmup.loss_and_grads(vae.model, vae.guide, x) == pytest.approx(full[0], rel=0.1)
    assert warmup.differentiable_loss(vae.model, vae.guide, x).item() < found
    nothing = objectives.Warmup(steps=10)
    vae.beta = 0.0
    assert math.isfinite(nothing.loss_and_grads(vae.model, vae.guide, x))


@pytest.mark.parametrize("make", [latent, data_space])
def test_loss_steps_nothing_and_training_steps_the_discriminator(make, digits):
    vae, x, objective = small_vae(), digits.train[:30], make()
    before = copy.deepcopy(objective.state_dict())
    objective.loss(vae.model, vae.guide, x)
    objective.differentiable_loss(vae.model, vae.guide, x).backward()
    for name, tensor in objective.discriminator.state_dict().items():
        assert torch.equal(tensor, before["discriminator"][name])
    assert all(p.grad is None for p in objective.discriminator.parameters())
    objective.loss_and_grads(vae.model, vae.guide, x)
    for name, tensor in objective.discriminator.named_parameters():
        assert not torch.equal(tensor, before["discriminator"][name])
    assert objective.discriminator.training


def test_the_latent_discriminator_learns_to_tell_and_the_guide_to_fool(digits):
    x = digits.train[:500]
    distances = []
    discriminator = pg.networks.mlp(2, 64, 64, 1)
    for objective in (
        objectives.WassersteinMMD(weight=0.0),  # reconstruction alone
        objectives.LatentAdversarial(discriminator, weight=3.0, learning_rate=2e-3),
    ):
        vae = deterministic_vae()
        adam = partial(torch.optim.Adam, betas=(0.5, 0.999))
        options = {"batch_size": 50, "learning_rate": 2e-3, "optimizer": adam, "scheduler": None}
        quiet(vae, x, objective=objective, epochs=40, **options)
        z = vae.embed(x).mean
        distances.append(objectives.mmd(z, torch.randn(500, 2), objectives.imq).item())
    # Two samples of 500 of one law differ by 0 ± 0.001.
    assert distances[0] > 0.2
    assert distances[1] < 0.02


def certain(value):
    """A discriminator whose verdict is `value` where z is anything, and steep."""
    network = pg.networks.mlp(2, 16, 1)
    with torch.no_grad():
        network[-1].bias.fill_(value)
    return network


def test_a_discriminator_that_always_wins_leaves_loss_and_gradients_finite(digits):
    vae, x = deterministic_vae(), digits.train[:30]
    objective = objectives.LatentAdversarial(certain(-1e6), weight=1.0, learning_rate=0.0)
    assert math.isfinite(objective.loss_and_grads(vae.model, vae.guide, x))
    minimised = objective.differentiable_loss(vae.model, vae.guide, x)
    assert minimised.item() > 30 * 0.99e6  # it shows
    gradient = torch.cat([p.grad.flatten() for p in vae.posterior.parameters()])
    assert torch.isfinite(gradient).all()
    plain = deterministic_vae()
    plain.load_state_dict(vae.state_dict())
    objectives.WassersteinMMD(weight=0.0).loss_and_grads(plain.model, plain.guide, x)
    adversarial = gradient - torch.cat([p.grad.flatten() for p in plain.posterior.parameters()])
    assert adversarial.norm() > 1e-2  # −log D, unlike log(1 − D), still says where to go


@pytest.mark.parametrize("make", [latent, data_space])
def test_a_discriminator_that_becomes_nan_stops_training_with_the_last_good_weights(make, digits):
    vae, objective = small_vae(), make()
    with torch.no_grad():
        next(objective.discriminator.parameters()).fill_(math.nan)
    before = copy.deepcopy(vae.state_dict())
    with pytest.raises(NonFiniteLossError, match="nan in epoch 1, batch 1"):
        quiet(vae, digits.train[:50], objective=objective, epochs=2)
    for name, tensor in vae.state_dict().items():
        assert torch.equal(tensor, before[name])


def test_a_discriminator_follows_the_data_in_dtype(digits):
    vae, objective = deterministic_vae(), latent()
    quiet(vae, digits.train[:50], objective=objective, epochs=1)
    quiet(vae.double(), digits.train[:50], objective=objective, epochs=1)
    assert next(objective.discriminator.parameters()).dtype == torch.float64
    moments = objective.optimizer.state_dict()["state"][0]
    assert moments["exp_avg"].dtype == torch.float64


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: objectives.IWAE(0), "num_particles must be a positive integer, got 0"),
        (lambda: objectives.Warmup(steps=0), "steps must be a positive integer"),
        (lambda: objectives.Warmup(start=1.5), "start must be from 0 to 1"),
        (lambda: objectives.Warmup(objectives.IWAE()), "IWAE has no β to warm up"),
        (lambda: objectives.Warmup(RenyiELBO()), "RenyiELBO has no β to warm up"),
        (lambda: objectives.Reconstruction(weight_decay=-1), "weight_decay must be finite and not"),
        (lambda: objectives.Reconstruction(gradient_penalty=math.nan), "gradient_penalty must be"),
        (lambda: objectives.Reconstruction(gradient_penalty="1"), "must be a number"),
        (lambda: objectives.Reconstruction(directions=0), "directions must be a positive integer"),
        (lambda: objectives.WassersteinMMD("cubic"), "kernel: expected imq, rbf or a function"),
        (lambda: objectives.WassersteinMMD(scale=(1.0, 0.0)), "scale must be positive"),
        (lambda: objectives.WassersteinMMD(weight=-1.0), "weight must be finite"),
        (lambda: objectives.LatentAdversarial(3), "the discriminator must be a module"),
        (lambda: latent(learning_rate=math.inf), "learning_rate must be finite"),
        (lambda: objectives.DataAdversarial(nn.Linear(2, 1)), "must be a Sequential of features"),
    ],
)
def test_bad_input(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_programs_that_do_not_fit(digits):
    wide = objectives.LatentAdversarial(pg.networks.mlp(2, 8, 3))
    with pytest.raises(ValueError, match=r"one number for each point, got shape \(50, 3\)"):
        quiet(deterministic_vae(), digits.train[:50], objective=wide)

    def model(x):
        a = pyro.sample("a", dist.Normal(0.0, 1.0))
        b = pyro.sample("b", dist.Normal(a, 1.0))
        pyro.sample("x", dist.Normal(b, 1.0), obs=x)

    def guide(x):
        pyro.sample("a", dist.Delta(x))
        pyro.sample("b", dist.Delta(x))

    with pytest.raises(ValueError, match="a model with one latent site, got a, b"):
        objectives.WassersteinMMD().loss(model, guide, torch.tensor(1.0))
