"""The PromptUnet of PromptMR and PromptMR+, and its wrapper that normalises complex images.

Parameter trees, beside the names of PromptMR's state dicts (level l = 1 is the finest):

  PromptUnet:      feat/kernel                     feat_extract.weight
                   enc_{l}/...                     enc_level{l}...
                   skip_{l}/cab_{i}/...            skip_attn{l}.skip_attn.{i}...
                   bottleneck/cab_{i}/...          bottleneck.{i}...
                   prompt_{l}/..., dec_{l}/...     prompt_level{l}..., dec_level{l}...
                   out/kernel                      conv_last.weight
  NormPromptUnet:  unet/...                        unet....

The blocks are in prompt_blocks.py.
"""

from typing import Any

import jax.numpy as jnp
from flax import linen
from jaxtyping import Array, Bool, Complex, Float

from .conv import Conv
from .prompt_blocks import CABs, DecoderLevel, EncoderLevel, Features, PromptBlock, Slope
from .unet import pad_to_multiple, standardize, unpad

History = tuple[Float[Array, "*batch _ _ _"], ...]
"""Past features of each decoder level, the coarsest first: (..., y, x, n_history channel), the newest first."""


class PromptUnet(linen.Module):
    """A U-Net of channel attention blocks with prompts at each decoder level and, in PromptMR+, momentum over past features.

    No normalisation layers. One slope is shared by all PReLUs (of the whole model: it is an argument) but that of the
    first CAB.

    Source: PromptMR (Xin et al. 2023), PromptMR+ (Xin et al. 2024) and their code.

    Attributes:
      features: channels of the first level.
      level_features: channels of the levels below, finest first; its length is the number of levels.
      prompt_features: channels of the prompts of each level.
      prompt_lengths: number of prompts of each level.
      prompt_sizes: pixels of the prompts of each level.
      enc_cabs: CABs of each encoder level.
      dec_cabs: CABs of each decoder level, on features and prompt.
      skip_cabs: CABs of each skip connection.
      bottleneck_cabs: CABs between encoder and decoder.
      n_history: past features that the decoder levels see; 0: none.
      attention: False leaves channel attention out.
      dtype: what the convolutions compute in; the result has the input's dtype.
    """

    features: int
    level_features: tuple[int, ...]
    prompt_features: tuple[int, ...]
    prompt_lengths: tuple[int, ...]
    prompt_sizes: tuple[int, ...]
    enc_cabs: tuple[int, ...]
    dec_cabs: tuple[int, ...]
    skip_cabs: tuple[int, ...]
    bottleneck_cabs: int
    n_history: int = 0
    attention: bool = True
    dtype: Any = None

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of all levels, the finest first."""
        return (self.features, *self.level_features)

    @linen.compact
    def __call__(
        self, x: Features, slope: Slope, history: History | None = None, first: bool | Bool[Array, ""] = False
    ) -> tuple[Features, History]:
        """One pass.

        Args:
          x: (..., y, x, channel), sizes that 2^levels divides.
          slope: the slope of the shared PReLU, ().
          history: past features (..., y, x, n_history channel) of each decoder level, shaped as `empty_history` says; None
            where n_history is 0.
          first: there is no past yet, () or a bool: the present features stand in for it.

        Returns:
          (output (..., y, x, channel), the history with the present features put first).
        """
        levels = range(len(self.level_features))
        h = Conv(self.features, bias=False, dtype=self.dtype, name="feat")(x)
        skips = []
        for i in levels:
            encoder = EncoderLevel(
                self.level_features[i], self.enc_cabs[i], self.attention, i == 0, self.dtype, name=f"enc_{i + 1}"
            )
            h, skip = encoder(h, slope)
            skips.append(skip)
        h = self._cabs(self.bottleneck_cabs, "bottleneck")(h, slope)
        new_history: list[Features] = []
        for i in reversed(levels):
            past = None
            if self.n_history:
                assert history is not None
                copies = jnp.tile(h, self.n_history)
                past = jnp.where(first, copies, history[len(new_history)])
                new_history.append(jnp.concatenate([h, past[..., : -h.shape[-1]]], -1))
            prompt = PromptBlock(
                self.prompt_features[i],
                self.prompt_lengths[i],
                self.prompt_sizes[i],
                self.dtype,
                name=f"prompt_{i + 1}",
            )(h)
            decoder = DecoderLevel(
                self.widths[i], self.dec_cabs[i], self.n_history, self.attention, self.dtype, name=f"dec_{i + 1}"
            )
            h = decoder(h, prompt, self._cabs(self.skip_cabs[i], f"skip_{i + 1}")(skips[i], slope), slope, past)
        h = Conv(x.shape[-1], 5, bias=False, dtype=self.dtype, name="out")(h)
        return h.astype(x.dtype), tuple(new_history)

    def _cabs(self, number, name):
        return CABs(number, self.attention, dtype=self.dtype, name=name)

    def empty_history(self, height: int, width: int, dtype: Any) -> History:
        """Zeros shaped as the history of an image; () without n_history.

        Args:
          height: pixels of the image along y.
          width: pixels along x.
          dtype: the dtype, where the network does not compute in one of its own.

        Returns:
          (y, x, n_history channel) for each decoder level, the coarsest first.
        """
        if not self.n_history:
            return ()
        dtype = self.dtype or dtype
        levels = range(len(self.level_features), 0, -1)
        return tuple(
            jnp.zeros((height >> i, width >> i, self.n_history * self.level_features[i - 1]), dtype) for i in levels
        )


class NormPromptUnet(linen.Module):
    """A PromptUnet between normalisation and its inverse, on complex images with K channels: K in, K out.

    One mean and one standard deviation for all real and imaginary parts of all channels; the network sees [all real
    parts, all imaginary parts], padded with zeros to a multiple of 2^levels. The mean is added back to all outputs.

    Source: PromptMR, PromptMR+ and their code; there a constant input gives NaN, here itself.

    Attributes:
      unet: the network.
    """

    unet: PromptUnet

    @linen.compact
    def __call__(
        self,
        x: Complex[Array, "*batch k y x"],
        slope: Slope,
        history: History | None = None,
        first: bool | Bool[Array, ""] = False,
    ) -> tuple[Complex[Array, "*batch k y x"], History]:
        """One pass.

        Args:
          x: (..., k, y, x); leading axes are examples, each with its own statistics.
          slope: the slope of the shared PReLU, ().
          history: past features, shaped (..., y, x, n_history channel) as `empty_history` says; None where n_history is 0.
          first: there is no past yet, () or a bool: the present features stand in for it.

        Returns:
          (output (..., k, y, x), the history with the present features put first).
        """
        k = x.shape[-3]
        parts, mean, std = standardize(jnp.concatenate([x.real, x.imag], -3))
        h = pad_to_multiple(jnp.moveaxis(parts, -3, -1), self.multiple)
        h, history = self.unet(h, slope, history, first)
        parts = jnp.moveaxis(unpad(h, *x.shape[-2:]), -1, -3) * std + mean
        return parts[..., :k, :, :] + 1j * parts[..., k:, :, :], history

    @property
    def multiple(self) -> int:
        """Sizes are padded to a multiple of this."""
        return 2 ** len(self.unet.level_features)

    def empty_history(self, x: Complex[Array, "*batch k y x"]) -> History:
        """Zeros shaped as the history of an image (..., k, y, x): see `PromptUnet.empty_history`."""
        height, width = (n + -n % self.multiple for n in x.shape[-2:])
        return self.unet.empty_history(height, width, x.real.dtype)
