"""The metric that a Riemannian Hamiltonian VAE learns along with its encoder."""

import copy

import torch
from torch import Tensor

from pyrogeo._checks import positive, whole
from pyrogeo.errors import NotPositiveDefiniteError
from pyrogeo.geometry.checks import check_like, check_points
from pyrogeo.geometry.metrics.base import Metric
from pyrogeo.geometry.precision import hold_, in_precision_of_the_metric

__all__ = ["LearnedMetric"]


class LearnedMetric(Metric):
    """G(z)⁻¹ = Σᵢ Lᵢ Lᵢᵀ exp(−‖z − cᵢ‖² / T²) + λ I.

    G is small near the centroids, so that geodesics keep to the data, and I / λ far from them. An entry
    with Lᵢ = 0 counts for nothing.

    A chain on √det G⁻¹ from the centroids is how an RHVAE is sampled: the inverse view has that volume
    element, `paper_protocol(metric.inverse, metric.embeddings, n)` runs it. As G⁻¹ → λ I at infinity,
    that density has infinite mass, and only short chains from the data have a meaning.

    Args:
        centroids: cᵢ, shape `(N, d)`.
        factors: Lᵢ, shape `(N, d, d)`.
        temperature: T, in units of latent space.
        regularization: λ > 0.

    Raises:
        ValueError: for tensors of other shapes, or numbers that are not positive and finite.

    Source: Chadebec, Thibeau-Sutre, Burgos, Allassonnière, *Data augmentation in high dimensional low
    sample size setting using a geometry-based variational autoencoder*, 2022.

    >>> metric = LearnedMetric(torch.zeros(1, 2), torch.eye(2)[None], 1.0, 0.5)
    >>> metric.inverse(torch.zeros(2))
    tensor([[1.5000, 0.0000],
            [0.0000, 1.5000]])
    """

    centroids: Tensor
    factors: Tensor
    temperature: Tensor
    regularization: Tensor
    _products: Tensor | None = None

    def __init__(
        self,
        centroids: Tensor,
        factors: Tensor,
        temperature: float = 1.0,
        regularization: float = 0.01,
    ):
        super().__init__()
        check_points("centroids", centroids)
        n, d = centroids.shape
        check_like(centroids, "factors", factors, (n, d, d))
        temperature = positive("temperature", temperature)
        regularization = positive("regularization", regularization)
        self.register_buffer("centroids", centroids.detach().clone())
        self.register_buffer("factors", factors.detach().clone())
        self.register_buffer("temperature", centroids.new_tensor(temperature))
        self.register_buffer("regularization", centroids.new_tensor(regularization))

    @classmethod
    def empty(
        cls, n: int, d: int, temperature: float = 1.0, regularization: float = 0.01
    ) -> "LearnedMetric":
        """Room for `n` entries that do not count yet: G = I / λ.

        Raises:
            ValueError: for no entries or no dimensions.

        >>> LearnedMetric.empty(100, 2)
        LearnedMetric(N=100, d=2, temperature=1, regularization=0.01)
        """
        if min(whole("n", n, 0), whole("d", d, 0)) < 1:
            raise ValueError(f"expected room for entries in at least one dimension, got {(n, d)}")
        return cls(torch.zeros(n, d), torch.zeros(n, d, d), temperature, regularization)

    @property
    def dimension(self) -> int:
        """The number of dimensions, d."""
        return self.centroids.shape[1]

    @property
    def embeddings(self) -> Tensor:
        """The centroids of the entries that count, shape `(n, d)`."""
        return self.centroids[(self.factors != 0).any(-1).any(-1)]

    def extra_repr(self) -> str:
        return (
            f"N={len(self.centroids)}, d={self.dimension}, temperature={self.temperature:.4g}, "
            f"regularization={self.regularization:.4g}"
        )

    def replaced(self, centroids: Tensor, factors: Tensor) -> "LearnedMetric":
        """The same T and λ with other cᵢ and Lᵢ, through which gradients flow."""
        new = copy.copy(self)
        new._buffers = {**self._buffers, "centroids": centroids, "factors": factors}
        new._products = _products(factors)  # once, for all of a guide's steps
        return new

    @in_precision_of_the_metric
    def precision(self, z: Tensor) -> Tensor:
        """G(z)⁻¹ at points `(*, d)`, shape `(*, d, d)`.

        Raises:
            ValueError: for points of another dimension, and neither float32 nor float64.
        """
        d = self.dimension
        if not torch.is_tensor(z) or z.shape[-1:] != (d,):
            got = tuple(z.shape) if torch.is_tensor(z) else type(z)
            raise ValueError(f"expected latent points of shape (*, {d}), got {got}")
        c, y = self.centroids, z.reshape(-1, d)
        square = (y * y).sum(-1, keepdim=True) - 2 * y @ c.mT + (c * c).sum(-1)
        omega = hold_(-square / self.temperature**2).exp()
        products = _products(self.factors) if self._products is None else self._products
        kernels = (omega @ products).reshape(*z.shape, d)
        identity = torch.eye(d, dtype=z.dtype, device=z.device)
        return 0.5 * (kernels + kernels.mT) + self.regularization * identity

    def forward(self, z: Tensor) -> Tensor:
        factor = self._factor(z)
        identity = torch.eye(self.dimension, dtype=z.dtype, device=z.device)
        # Not cholesky_inverse, whose forward-mode derivative is wrong in torch 2.13.
        inverse = torch.cholesky_solve(identity.expand_as(factor), factor)
        return 0.5 * (inverse + inverse.mT)

    def cholesky(self, z: Tensor) -> Tensor:
        # With G⁻¹ = U Uᵀ and U upper triangular, U⁻ᵀ is the factor of G.
        upper = self._factor(z, flipped=True).flip(-1, -2)
        identity = torch.eye(self.dimension, dtype=z.dtype, device=z.device)
        lower: Tensor = torch.linalg.solve_triangular(
            upper.mT, identity.expand_as(upper), upper=False
        )
        return lower

    def log_volume_element(self, z: Tensor) -> Tensor:
        return -self._factor(z).diagonal(dim1=-2, dim2=-1).log().sum(-1)

    def sharp(self, z: Tensor, p: Tensor) -> Tensor:
        return torch.einsum("...ij,...j->...i", self.precision(z), p)

    def _factor(self, z: Tensor, flipped: bool = False) -> Tensor:
        """The Cholesky factor of G(z)⁻¹, or of that with rows and columns in reverse."""
        precision = self.precision(z)
        factor: Tensor
        factor, info = torch.linalg.cholesky_ex(precision.flip(-1, -2) if flipped else precision)
        if info.any():
            where = z.detach()[info > 0][0].tolist() if z.dim() > 1 else z.tolist()
            raise NotPositiveDefiniteError(f"the metric is not positive definite at z = {where}")
        return factor


def _products(factors: Tensor) -> Tensor:
    """Lᵢ Lᵢᵀ as rows, shape `(N, d²)`."""
    return (factors @ factors.mT).flatten(1)
