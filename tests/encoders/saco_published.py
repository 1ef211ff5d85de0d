"""SACo's published networks written down once more, one image and one group at a time, in NumPy where it is texture."""

import numpy as np
import torch
import torch.nn.functional as F
from skimage.feature import local_binary_pattern
from torch import Tensor, nn

# Bands by their place in EuroSAT's TIFFs, as sentinel_bands.EuroSATGroupBands indexes them.
PLACES = ((3, 2, 1), (7, 3, 2), (11, 10, 3), (11, 8, 1), (11, 10, 0), (0, 4, 5), (6, 8, 9))


def classify(image: np.ndarray, resnet: nn.Sequential, weight: Tensor, bias: Tensor, bins: int = 16) -> np.ndarray:
    """Digital numbers (13, H, W) -> probabilities (K,)."""
    unit = (image - image.min()) / (image.max() - image.min())
    counts = []
    for band in (unit * 255).astype(int):
        codes = local_binary_pattern(band, 16, 2, method="uniform")
        counts.append([np.sum(codes == code) for code in range(bins)])
    histogram = np.array(counts, dtype=float)
    histogram = (histogram - histogram.min()) / (histogram.max() - histogram.min())
    said = []
    for places in PLACES:
        features = resnet(torch.tensor(unit[list(places)], dtype=torch.float32)[None])
        seen = torch.cat((features, torch.tensor(histogram.reshape(1, -1), dtype=torch.float32)), dim=1)
        said.append(torch.softmax(seen @ weight.T + bias, dim=1)[0].detach().numpy())
    mean: np.ndarray = np.mean(said, axis=0)
    return mean


def read_for_change(image: np.ndarray) -> Tensor:
    """Digital numbers of B04, B03, B02 (3, H, W) -> what `OSCD_ms_reader` makes of them, without resizing."""
    shown = []
    for band, mean, std in zip(image, (590.24, 614.22, 429.94), (675.89, 582.88, 572.42), strict=True):
        least, greatest = mean - 2 * std, mean + 2 * std
        grey = np.clip((band - least) / (greatest - least) * 255.0, 0, 255).astype(np.uint8)
        shown.append(grey / 255)
    return torch.tensor(np.array(shown), dtype=torch.float32)


def read_for_segmentation(image: np.ndarray) -> Tensor:
    """Digital numbers of PASTIS's bands (10, H, W) -> what `PASTIS_datalaoder` makes of them, folds 1 to 3."""
    mean = (1186.80, 1395.04, 1446.36, 1782.50, 2741.71, 3085.48, 3229.00, 3343.13, 2425.97, 1639.51)
    std = (1978.52, 1918.44, 1997.82, 1904.61, 1785.86, 1796.91, 1811.61, 1793.27, 1473.42, 1310.10)
    shown = (image - np.array(mean)[:, None, None]) / np.array(std)[:, None, None]
    return torch.tensor(shown, dtype=torch.float32)


class DoubleConv(nn.Module):
    def __init__(self, into: int, out: int, kept: bool) -> None:
        super().__init__()
        self.kept = kept
        if kept:
            self.conv_1 = nn.Sequential(nn.Conv2d(into, out, 3, padding=1), nn.BatchNorm2d(out), nn.ReLU())
            self.conv_2 = nn.Sequential(
                nn.Conv2d(out + into, out, 3, padding=1), nn.BatchNorm2d(out), nn.ReLU(), nn.Dropout2d(0.5)
            )
        else:
            self.double_conv = nn.Sequential(
                nn.Conv2d(into, out, 3, padding=1),
                nn.BatchNorm2d(out),
                nn.ReLU(),
                nn.Conv2d(out, out, 3, padding=1),
                nn.BatchNorm2d(out),
                nn.ReLU(),
                nn.Dropout2d(0.5),
            )

    def forward(self, x: Tensor) -> Tensor:
        if self.kept:
            return self.conv_2(torch.cat([x, self.conv_1(x)], dim=1))  # type: ignore[no-any-return]
        return self.double_conv(x)  # type: ignore[no-any-return]


class Dense(nn.Module):
    """Change (one class, two images) or segmentation."""

    def __init__(self, resnet: nn.Sequential, classes: int, kept: bool) -> None:
        super().__init__()
        self.encoder = resnet[:8]
        widths = (512, 256, 128, 64)
        outs = (256, 128, 64, 16)
        self.decoder = nn.Sequential(
            *(DoubleConv(2 * into, out, kept) for into, out in zip(widths, outs, strict=True)),
            nn.Conv2d(16, classes, 1),
        )

    def maps(self, x: Tensor) -> list[Tensor]:
        kept = []
        for index, module in enumerate(self.encoder):
            x = module(x)
            if index >= 4:
                kept.append(x)
        return kept

    def forward(self, image: Tensor, after: Tensor | None = None) -> Tensor:
        skips = self.maps(image)
        if after is not None:
            skips = [(a - b).abs() for a, b in zip(skips, self.maps(after), strict=True)]
        x = skips[-1]
        for index, module in enumerate(self.decoder):
            if index < 4:
                x = torch.cat((x, skips.pop()), dim=1)
            x = module(F.interpolate(x, scale_factor=2))
        return x
