"""What can go numerically wrong, by name, and the warnings a user can filter.

A mistake in what was passed in raises `ValueError` at the door; `BrokenFileError` is the one of files.
The arithmetic errors here are different: the input was fine and the computation failed.
"""

from typing import Any

__all__ = [
    "BrokenFileError",
    "GeodesicWarning",
    "NonFiniteDensityError",
    "NonFiniteLossError",
    "NotPositiveDefiniteError",
    "PyrogeoWarning",
    "SamplingWarning",
    "VacuumWarning",
]


class BrokenFileError(ValueError):
    """A file that is missing, damaged, another than its name says, or of a newer format.

    The message is one line that names the file.

    >>> import pyrogeo as pg
    >>> pg.recipes.load("nowhere")
    Traceback (most recent call last):
    pyrogeo.errors.BrokenFileError: nowhere/vae.json does not exist
    """


class NonFiniteLossError(ArithmeticError):
    """The training loss became NaN or infinite.

    Args:
        loss: what it was, for the message.
        epoch, batch: kept as the attributes below.

    Attributes:
        epoch: epoch of the failure, counted from 1.
        batch: batch within that epoch, counted from 1; 0 for the validation data.
    """

    def __init__(self, loss: float, epoch: int, batch: int):
        self.epoch, self.batch = epoch, batch
        super().__init__(
            f"the loss is {loss} in epoch {epoch}, batch {batch}; the last good weights were put "
            "back. A smaller learning rate, or bounded log-variances, usually helps."
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return _non_finite_loss_error, (self.args[0], self.epoch, self.batch)


def _non_finite_loss_error(message: str, epoch: int, batch: int) -> NonFiniteLossError:
    error = NonFiniteLossError(float("nan"), epoch, batch)
    error.args = (message,)
    return error


class NonFiniteDensityError(ArithmeticError):
    """A log-density became NaN or infinite where it cannot be passed over, as in exact draws."""


class NotPositiveDefiniteError(ArithmeticError):
    """A metric tensor has no Cholesky factor at some latent point."""


class PyrogeoWarning(UserWarning):
    """Base of all warnings of pyrogeo, for a filter that takes them together.

    >>> import warnings
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("error", PyrogeoWarning)
    ...     warnings.warn("2 of 3 geodesics did not converge", GeodesicWarning)
    Traceback (most recent call last):
    pyrogeo.errors.GeodesicWarning: 2 of 3 geodesics did not converge
    """


class VacuumWarning(PyrogeoWarning):
    """Much of the density's mass lies far from every centroid, where nothing was learned."""


class SamplingWarning(PyrogeoWarning):
    """Draws that are incomplete, or that deserve a second look."""


class GeodesicWarning(PyrogeoWarning):
    """A curve that is not the geodesic it was meant to be: not converged, or out of the domain."""
