"""How well a picture is seen and a person recognised: measures of images, of scores and of masks.

Images are float [n, row, column] (or one [row, column]) and every image measure returns one value per image,
so that an interval can be taken over people. Deliberately not here: intervals (`intervals.py`), torch.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import fft, linalg, ndimage, signal, stats

from optics_sim.errors import PrivcamError

SSIM_SIGMA = 1.5
SSIM_WINDOW = 11
LARGEST_GRAM = 4096
Values = NDArray[np.float64]


# --- images ---------------------------------------------------------------------------------------
def psnr(images: ArrayLike, references: ArrayLike, *, data_range: float = 1.0) -> Values:
    """Returns the peak signal-to-noise ratio of each image in dB, [n]; infinite for equal images.

    10 log10(data_range^2 / mean squared error). Raises PrivcamError for unlike shapes or NaN.
    """
    first, second = _pair(images, references)
    error = ((first - second) ** 2).mean(axis=(1, 2))
    with np.errstate(divide="ignore"):
        return 10.0 * np.log10(_positive_range(data_range) ** 2 / error)


def ssim(images: ArrayLike, references: ArrayLike, *, data_range: float = 1.0) -> Values:
    """Returns the structural similarity of each image, [n]; 1 for equal images.

    11x11 Gaussian window of sigma 1.5, K1 = 0.01, K2 = 0.03, population covariance, and *valid crop*: the mean is
    taken over window centres at least 5 pixels from every edge, where the window lies wholly inside the image.

    Reference: Wang, Bovik, Sheikh, Simoncelli, IEEE TIP 13(4), 2004, eq. 13.
    """
    first, second = _pair(images, references)
    if min(first.shape[1:]) < SSIM_WINDOW:
        raise PrivcamError("an image is smaller than the SSIM window", got=first.shape[1:],
                           allowed=f"at least {SSIM_WINDOW}x{SSIM_WINDOW}", todo="enlarge the image or use PSNR")
    c1, c2 = (0.01 * _positive_range(data_range)) ** 2, (0.03 * data_range) ** 2
    mean_a, mean_b = _window(first), _window(second)
    var_a = _window(first * first) - mean_a**2
    var_b = _window(second * second) - mean_b**2
    covariance = _window(first * second) - mean_a * mean_b
    similarity = (2 * mean_a * mean_b + c1) * (2 * covariance + c2)
    similarity /= (mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2)
    edge = SSIM_WINDOW // 2
    return similarity[:, edge:-edge, edge:-edge].mean(axis=(1, 2))


def nmi(images: ArrayLike, references: ArrayLike, *, bins: int = 256) -> Values:
    """Returns Studholme's normalised mutual information of each image, [n]: 1 nothing shared, 2 all shared.

    (H(A) + H(B)) / H(A, B) from a joint histogram whose bins span each image's own range, so that brightness and
    contrast do not matter. A constant image shares nothing: 1. The estimate is biased upwards when pixels are few
    against bins^2 (63x63 pixels in 256x256 bins: independent noise reads about 1.33), so compare only values of
    one size and one `bins`, beside a baseline.

    Reference: Studholme, Hill, Hawkes, Pattern Recognition 32(1), 1999.
    """
    first, second = _pair(images, references)
    if bins < 2:
        raise PrivcamError("too few histogram bins", got=bins, allowed="2 or more", todo="give more bins")
    return np.array([_nmi_of(_bin(a.ravel(), bins), _bin(b.ravel(), bins), bins) for a, b in zip(first, second, strict=True)])


def crete_roffet(images: ArrayLike, *, window: int = 11) -> Values:
    """Returns the perceptual blurriness of each image, [n]: 0 sharp .. 1 blurred; the blurrier axis counts.

    How much of the edge strength survives when the image is blurred once more: a sharp picture loses its edges, a
    blurred one has none to lose. A constant image has no edges: 1. Edge strength is Sobel's (the paper takes plain
    differences; Sobel, as scikit-image has it, is steadier under noise).

    Reference: Crete, Dolmiere, Ladret, Nicolas, "The blur effect", Proc. SPIE 6492, 2007.
    """
    stack = _stack(images)
    inner = (slice(None), slice(2, -1), slice(2, -1))
    if min(stack.shape[1:]) < 4:
        raise PrivcamError("an image is too small for a blurriness", got=stack.shape[1:], allowed="at least 4x4",
                           todo="give a larger image")
    worst = np.zeros(len(stack))
    for axis in (1, 2):
        again = ndimage.uniform_filter1d(stack, window, axis=axis, mode="reflect")
        sharp, blurred = _edges(stack, axis)[inner], _edges(again, axis)[inner]
        total = sharp.sum(axis=(1, 2))
        lost = np.maximum(0.0, sharp - blurred).sum(axis=(1, 2))
        kept = np.divide(total - lost, total, out=np.ones_like(total), where=total > 0)
        worst = np.maximum(worst, kept)
    return worst


# --- recognition ----------------------------------------------------------------------------------
def roc_auc(scores: ArrayLike, same: ArrayLike) -> float:
    """Returns the probability that a same-person pair scores above a different one; ties count half.

    `scores` [n], higher = more alike; `same` [n] booleans, both kinds present. 0.5 is chance.

    Reference: Hanley and McNeil, Radiology 143, 1982 (Mann-Whitney U / (n1 n0)).
    """
    values, is_same = _scores(scores, same)
    positives = int(is_same.sum())
    ranks = stats.rankdata(values)
    u = ranks[is_same].sum() - positives * (positives + 1) / 2
    return float(u / (positives * (len(values) - positives)))


def eer(scores: ArrayLike, same: ArrayLike) -> float:
    """Returns the equal error rate: where false accepts equal false rejects on the (linearly joined) ROC.

    0.5 is chance, 0 is perfect; tied scores move together, so constant scores give 0.5.
    """
    values, is_same = _scores(scores, same)
    levels, index = np.unique(values, return_inverse=True)
    accepted_same = np.bincount(index, is_same, len(levels))[::-1].cumsum()
    accepted_different = np.bincount(index, ~is_same, len(levels))[::-1].cumsum()
    false_reject = np.r_[1.0, 1.0 - accepted_same / is_same.sum()]
    false_accept = np.r_[0.0, accepted_different / (~is_same).sum()]
    gap = false_accept - false_reject
    after = int(np.argmax(gap >= 0))
    share = -gap[after - 1] / (gap[after] - gap[after - 1])
    return float(false_accept[after - 1] + share * (false_accept[after] - false_accept[after - 1]))


def rank1_credit(gallery: ArrayLike, gallery_people: ArrayLike, probes: ArrayLike, probe_people: ArrayLike) -> Values:
    """Returns, for each probe, whether its nearest gallery embedding (cosine) is of the same person, [probes].

    When several gallery entries are equally near, the credit is the share of them that is right: embeddings that
    carry nothing (all equal, or all zero) score the frequency of the person in the gallery, not 0 or 1.
    Embeddings are [n, features].
    """
    entries, queries = _unit(gallery), _unit(probes)
    entry_people, query_people = np.asarray(gallery_people), np.asarray(probe_people)
    if len(entries) != len(entry_people) or len(queries) != len(query_people) or entries.shape[1:] != queries.shape[1:]:
        raise PrivcamError("embeddings and people do not match",
                           got=f"gallery {entries.shape} / {entry_people.shape}, probes {queries.shape} / {query_people.shape}",
                           allowed="one person per embedding, one width", todo="check how the embeddings were made")
    likeness = queries @ entries.T
    nearest = likeness >= likeness.max(axis=1, keepdims=True) - 1e-12
    right = nearest & (query_people[:, None] == entry_people[None, :])
    return right.sum(axis=1) / nearest.sum(axis=1)


def rank1(gallery: ArrayLike, gallery_people: ArrayLike, probes: ArrayLike, probe_people: ArrayLike) -> float:
    """Returns the rank-1 identification rate, the mean of `rank1_credit`."""
    return float(rank1_credit(gallery, gallery_people, probes, probe_people).mean())


# --- masks ----------------------------------------------------------------------------------------
def aperture_ratio(transmission: ArrayLike) -> float:
    """Returns the open share of a mask [row, column], 1 = clear."""
    return float(np.mean(np.asarray(transmission, dtype=np.float64)))


def light_throughput(psf: ArrayLike) -> float:
    """Returns the fraction of light let through relative to the fully open aperture: the PSF's sum."""
    return float(np.sum(np.asarray(psf, dtype=np.float64)))


def condition_number(
    psf: ArrayLike, scene_shape: tuple[int, int], mode: Literal["valid", "full", "circular"] = "valid"
) -> float:
    """Returns the ratio of the largest to the smallest singular value of the convolution with `psf` [row, column].

    circular: max / min of |FFT| of the PSF padded to the scene. valid (and full): the singular values of the
    measurements x scene operator restricted to its row space (its column space for full). They are the roots of the
    eigenvalues of the dense Gram matrix, which is block Toeplitz in the PSF's autocorrelation; up to 4096
    measurements (scene pixels for full); about 0.1 s at 1,024 and 12 s at 4,000 on one core.
    Squaring costs half the digits: beyond about 3e7 the answer is infinite,
    meaning "not resolved in double precision". Raises PrivcamError for larger operators and other modes.
    """
    kernel = np.asarray(psf, dtype=np.float64)
    if kernel.ndim != 2 or kernel.shape[0] > scene_shape[0] or kernel.shape[1] > scene_shape[1]:
        raise PrivcamError("the PSF must be [row, column] and fit in the scene", got=kernel.shape,
                           allowed=f"up to {scene_shape}", todo="crop the PSF or enlarge the scene")
    if mode == "circular":
        gains = np.abs(fft.rfft2(kernel, scene_shape))
        return _ratio(float(gains.max()), float(gains.min()), np.finfo(float).eps * gains.size)
    if mode not in ("valid", "full"):
        raise PrivcamError("no condition number for this convolution", got=mode, allowed="valid, full, circular",
                           todo="choose one of these")
    side = scene_shape if mode == "full" else _valid_shape(scene_shape, kernel.shape)
    if side[0] * side[1] > LARGEST_GRAM:
        raise PrivcamError("too many measurements for a dense Gram matrix", got=side[0] * side[1],
                           allowed=f"up to {LARGEST_GRAM}", todo="take a smaller scene, or mode='circular'")
    eigenvalues = linalg.eigvalsh(_gram(kernel, side))
    return float(np.sqrt(_ratio(eigenvalues[-1], eigenvalues[0], np.finfo(float).eps * len(eigenvalues))))


# --- trade-offs -----------------------------------------------------------------------------------
def pareto_front(points: ArrayLike) -> NDArray[np.intp]:
    """Returns the indices of the points [n, 2] that no other point beats, by rising first coordinate.

    Both coordinates are better when larger (negate one that is not). Of equal points the first is kept.
    """
    values = _points(points)
    order = np.lexsort((np.arange(len(values)), -values[:, 1], -values[:, 0]))
    best, kept = -np.inf, []
    for index in order:
        if values[index, 1] > best:
            best = values[index, 1]
            kept.append(index)
    return np.array(kept[::-1], dtype=np.intp)


def hypervolume_2d(points: ArrayLike, reference: tuple[float, float]) -> float:
    """Returns the area between the Pareto front of points [n, 2] and a worst corner; larger is better.

    Both coordinates are better when larger; points that do not beat `reference` in both add nothing.

    Reference: Zitzler and Thiele, IEEE Trans. Evolutionary Computation 3(4), 1999 (the size of the space covered).
    """
    values = np.maximum(_points(points), np.asarray(reference, dtype=np.float64))
    front = values[pareto_front(values)]
    widths = np.diff(front[:, 0], prepend=reference[0])
    return float((widths * (front[:, 1] - reference[1])).sum())


# --- helpers --------------------------------------------------------------------------------------
def _stack(images: ArrayLike) -> Values:
    stack = np.asarray(images, dtype=np.float64)
    stack = stack[None] if stack.ndim == 2 else stack
    if stack.ndim != 3 or stack.size == 0 or not np.isfinite(stack).all():
        raise PrivcamError("images must be finite [n, row, column]", got=f"shape {stack.shape}",
                           allowed="float [n, row, column] or [row, column], no NaN", todo="select one plane, drop bad images")
    return stack


def _pair(images: ArrayLike, references: ArrayLike) -> tuple[Values, Values]:
    first, second = _stack(images), _stack(references)
    if first.shape != second.shape:
        raise PrivcamError("images and references differ in shape", got=f"{first.shape} and {second.shape}",
                           allowed="one shape", todo="resize one of them")
    return first, second


def _positive_range(data_range: float) -> float:
    if not data_range > 0:
        raise PrivcamError("the data range must be positive", got=data_range, allowed="> 0", todo="give 1.0 for 0..1 images")
    return data_range


def _window(stack: Values) -> Values:
    radius = SSIM_WINDOW // 2
    return ndimage.gaussian_filter(stack, (0, SSIM_SIGMA, SSIM_SIGMA), radius=(0, radius, radius))


def _edges(stack: Values, axis: int) -> Values:
    across = 3 - axis
    smooth = ndimage.correlate1d(stack, [0.25, 0.5, 0.25], axis=across, mode="reflect")
    return np.abs(ndimage.correlate1d(smooth, [-0.5, 0.0, 0.5], axis=axis, mode="reflect"))


def _bin(values: Values, bins: int) -> NDArray[np.int64]:
    low, high = values.min(), values.max()
    if high <= low:
        return np.zeros(values.shape, dtype=np.int64)
    edges = np.linspace(low, high, bins + 1)
    index = np.minimum(((values - low) * (bins / (high - low))).astype(np.int64), bins - 1)
    index -= values < edges[index]  # rounding may put a value on an edge one bin off
    index += (values >= edges[index + 1]) & (index != bins - 1)
    return index


def _nmi_of(first: NDArray[np.int64], second: NDArray[np.int64], bins: int) -> float:
    joint = _entropy(np.bincount(first * bins + second, minlength=bins * bins))
    apart = _entropy(np.bincount(first)) + _entropy(np.bincount(second))
    return apart / joint if joint > 0 else 1.0


def _entropy(counts: NDArray[np.intp]) -> float:
    share = counts[counts > 0] / counts.sum()
    return float(-(share * np.log(share)).sum())


def _scores(scores: ArrayLike, same: ArrayLike) -> tuple[Values, NDArray[np.bool_]]:
    values, is_same = np.asarray(scores, dtype=np.float64), np.asarray(same).astype(bool)
    if values.ndim != 1 or values.shape != is_same.shape or not np.isfinite(values).all():
        raise PrivcamError("scores and same must be finite and of one length", got=f"{values.shape} and {is_same.shape}",
                           allowed="[n] and [n], no NaN", todo="check the verifier's output")
    if is_same.all() or not is_same.any():
        raise PrivcamError("pairs are all of one kind", got=f"{int(is_same.sum())} same of {len(values)}",
                           allowed="both same and different pairs", todo="give pairs of both kinds")
    return values, is_same


def _unit(embeddings: ArrayLike) -> Values:
    values = np.asarray(embeddings, dtype=np.float64)
    length = np.linalg.norm(values, axis=1, keepdims=True)
    return np.divide(values, length, out=np.zeros_like(values), where=length > 0)


def _valid_shape(scene: tuple[int, int], kernel: tuple[int, ...]) -> tuple[int, int]:
    return scene[0] - kernel[0] + 1, scene[1] - kernel[1] + 1


def _gram(kernel: Values, side: tuple[int, int]) -> Values:
    padded = np.zeros((2 * side[0] - 1, 2 * side[1] - 1))
    auto = signal.correlate2d(kernel, kernel, mode="full")
    reach = [min(n - 1, k - 1) for n, k in zip(side, kernel.shape, strict=True)]
    take = tuple(slice(k - 1 - r, k + r) for k, r in zip(kernel.shape, reach, strict=True))
    put = tuple(slice(n - 1 - r, n + r) for n, r in zip(side, reach, strict=True))
    padded[put] = auto[take]
    y, x = np.divmod(np.arange(side[0] * side[1]), side[1])
    return padded[y[:, None] - y + side[0] - 1, x[:, None] - x + side[1] - 1]


def _ratio(largest: float, smallest: float, resolution: float) -> float:
    return largest / smallest if smallest > largest * resolution else float("inf")


def _points(points: ArrayLike) -> Values:
    values = np.asarray(points, dtype=np.float64)
    if values.ndim != 2 or values.shape[1] != 2 or len(values) == 0 or not np.isfinite(values).all():
        raise PrivcamError("points must be finite [n, 2]", got=values.shape, allowed="at least one (first, second)",
                           todo="drop the points without a value")
    return values
