"""How far one picture lies from another, for tests of alignment."""

import numpy as np


def shift_of(a: np.ndarray, b: np.ndarray, steps: int = 20) -> tuple[float, float]:
    """Rows and columns by which `a` lies after `b`, by phase correlation of the coarser details, to 1/`steps` pixel.

    Source: Guizar-Sicairos et al., Efficient Subpixel Image Registration Algorithms, 2008.
    """
    window = np.outer(np.hanning(a.shape[0]), np.hanning(a.shape[1]))
    spectrum = np.fft.fft2((a - a.mean()) * window) * np.conj(np.fft.fft2((b - b.mean()) * window))
    rows, columns = (np.fft.fftfreq(length) for length in a.shape)
    coarse = np.hypot(rows[:, None], columns[None]) < 0.2  # what blur and noise leave
    spectrum = np.where(coarse, spectrum / np.maximum(np.abs(spectrum), 1e-9), 0)
    peak = np.unravel_index(np.fft.ifft2(spectrum).real.argmax(), a.shape)
    whole = [int(p) if p < length / 2 else int(p) - length for p, length in zip(peak, a.shape, strict=True)]
    y, x = (np.arange(start - 1, start + 1, 1 / steps) for start in whole)
    fine = np.exp(2j * np.pi * np.outer(y, rows)) @ spectrum @ np.exp(2j * np.pi * np.outer(columns, x))
    row, column = np.unravel_index(fine.real.argmax(), fine.shape)
    return float(y[row]), float(x[column])
