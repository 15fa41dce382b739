"""How slices are reconstructed: the choices, and what a scan decides of them."""

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
import pywt

from ..checks import UserError, check_known
from ..classical.methods import METHODS, Method
from ..classical.scale import Rule
from ..coils.espirit import CROP

if TYPE_CHECKING:
    from .network import Network

ESTIMATED = ("espirit", "jsense")
"""Names of maps that are estimated from the center of k-space."""
_OF_METHODS = {"method": "method", "lam": "lam", "n_iter": "iterations", "wavelet": "wavelet", "scale": "scale"}
"""Field that has no meaning for a network -> its name in messages."""


@dataclasses.dataclass(frozen=True)
class Settings:
    """How slices are reconstructed; `complete` fills in what was left open.

    Attributes:
      method: name of the reconstruction, one of `jaxrecon.classical.methods.METHODS`; None becomes l1-wavelet, with a network
        it stays None, as lam, n_iter, wavelet and scale do.
      lam: weight of the regularization, in units of the scale; None: the method's, where to begin; `find_lam` finds that of
        your data.
      n_iter: iterations; None: the method's.
      wavelet: an orthogonal wavelet of PyWavelets, for methods that have one; None: db4, or haar for small images.
      scale: rule of `classical.data_scale`; None: bart. The result is given back in the units of the data.
      maps: "espirit", "jsense", "given" (those of the scan, or of a file beside it), "none"; None: given ones where there are
        some, none for one coil, else ESPIRiT's.
      calib_size: width of the calibration region; None: what is complete, at most 24.
      n_sets: map sets of ESPIRiT.
      map_crop: ESPIRiT's maps are 0 where the eigenvalue is not above it; with a network that of its training.
      network: a trained network, in place of the method.

    Raises:
      ValueError: a network beside a method, or beside what is of methods.
    """

    method: str | None = None
    lam: float | None = None
    n_iter: int | None = None
    wavelet: str | None = None
    scale: Rule | None = None
    maps: str | None = None
    calib_size: int | None = None
    n_sets: int = 1
    map_crop: float = CROP
    network: "Network | None" = None

    def __post_init__(self):
        if self.network is None:
            object.__setattr__(self, "method", self.method or "l1-wavelet")
            object.__setattr__(self, "scale", self.scale or "bart")
            return
        given = {words: getattr(self, name) for name, words in _OF_METHODS.items() if getattr(self, name) is not None}
        if given:
            found = ", ".join(f"{words} {value}" for words, value in given.items())
            raise UserError(
                f"{found}: for reconstructions by a method, but a network is given: leave out the one or the other"
            )

    @property
    def label(self) -> str:
        """What figures call it."""
        return self.network.name if self.network is not None else str(self.method)

    @property
    def classical(self) -> Method | None:
        """The method's entry in the table; None for a network."""
        return check_known("method", str(self.method), METHODS) if self.network is None else None

    @property
    def needs_maps(self) -> bool:
        """Whether maps have to be found for several coils."""
        return self.maps != "none" and (self.classical is None or self.classical.maps)

    @property
    def estimates(self) -> dict:
        """The options of `estimate_maps`."""
        return {
            "method": self.maps,
            "calib_size": self.calib_size,
            "n_sets": self.n_sets,
            "crop": self.map_crop,
        }

    def complete(self, shape: tuple[int, ...], *, n_coils: int, given_maps: bool) -> "Settings":
        """The same with all choices made for a scan.

        Args:
          shape: (y, x) of its slices.
          n_coils: its receive coils.
          given_maps: whether there are maps, in the scan or beside it.

        Raises:
          ValueError: values out of range, maps that there are not, or a wavelet that does not exist, is not orthogonal, or does
            not fit.
        """
        method = self.classical
        return dataclasses.replace(
            self,
            maps=self._maps(n_coils, given_maps),
            map_crop=self.map_crop if self.network is None else self.network.experiment.data.espirit_crop,
            **({} if method is None else self._solver(method, shape)),
        )

    def _maps(self, n_coils, given_maps):
        if not 1 <= self.n_sets <= n_coils:
            raise UserError(f"map sets {self.n_sets}: {n_coils} coils have 1 to {n_coils} sets")
        if not 0 <= self.map_crop < 1:
            raise UserError(
                f"map crop {self.map_crop:g}: ESPIRiT's eigenvalues lie within 0 and 1, expected 0 or more and below 1"
            )
        if self.maps not in (None, *ESTIMATED, "given") or (self.maps == "given" and not given_maps):
            raise UserError(f"maps {self.maps}: expected espirit, jsense, or maps that are given")
        if self.network is not None and self.n_sets > 1:
            raise UserError("map sets: networks take one")
        if self.network is not None and not self.network.needs_maps:
            return "none"
        if self.maps is not None:
            return self.maps
        return "given" if given_maps else "none" if n_coils == 1 else "espirit"

    def _solver(self, method, shape):
        lam = (method.lam or 0.0) if self.lam is None else self.lam
        n_iter = (method.n_iter or 0) if self.n_iter is None else self.n_iter
        if not (np.isfinite(lam) and lam >= 0) or (n_iter < 1 and method.n_iter is not None):
            raise UserError(f"lam must not be negative and iterations positive, but they are {lam} and {n_iter}")
        wavelet = self.wavelet or ("db4" if _levels("db4", shape) else "haar")
        if method.wavelet:
            if wavelet not in pywt.wavelist(kind="discrete") or not pywt.Wavelet(wavelet).orthogonal:
                raise UserError(f"wavelet {wavelet}: expected an orthogonal one, haar, dbN, symN or coifN")
            if not _levels(wavelet, shape):
                raise UserError(f"wavelet {wavelet} is too long for {shape[0]} x {shape[1]} pixels: try a shorter one")
        return {"lam": lam, "n_iter": n_iter, "wavelet": wavelet}


def _levels(wavelet, shape):
    length = pywt.Wavelet(wavelet).dec_len
    return min(pywt.dwt_max_level(n + n % 2, length) for n in shape)
