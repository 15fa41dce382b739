import jax.numpy as jnp
import numpy as np

from jaxrecon import fourier


def fft2c(case):
    """Centred transforms and fastMRI's crop, real and imaginary parts last."""
    out = {}
    for key in case.outputs:
        name, size, *crop = key.split("_")
        x = case[f"x_{size}"]
        x = jnp.asarray(x[..., 0] + 1j * x[..., 1])
        if name == "crop":
            y = fourier.center_crop(x, [int(n) for n in crop[0].split("x")])
        else:
            y = {"fft2c": fourier.fftc, "ifft2c": fourier.ifftc}[name](x)
        out[key] = np.stack([y.real, y.imag], -1)
    return out


HANDLERS = {("varnet", "fft2c"): fft2c}
