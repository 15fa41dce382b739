import jax

from jaxrecon import fourier
from jaxrecon.complex_ops import to_channels


def fft2c(case):
    """Centred transforms and fastMRI's crop, real and imaginary parts last."""
    images = {key: case[key][..., 0] + 1j * case[key][..., 1] for key in case.file.files if key.startswith("x_")}

    def apply(images, key):
        name, size, *crop = key.split("_")
        x = images[f"x_{size}"]
        if name == "crop":
            return fourier.center_crop(x, [int(n) for n in crop[0].split("x")])
        return {"fft2c": fourier.fftc, "ifft2c": fourier.ifftc}[name](x)

    evaluate = jax.jit(lambda images: {key: to_channels(apply(images, key)) for key in case.outputs})
    return evaluate(images)


HANDLERS = {("varnet", "fft2c"): fft2c}
