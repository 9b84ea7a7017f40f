"""Public networks as judges: a face verifier and a face detector that nobody here trained (ONNX files of the user)."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from optics_sim.errors import PrivcamError
from optics_sim.run import hash_path

ARCFACE_SIDE = 112  # pixels; the square that an aligned face fills
DETECTION_SCORE = 0.6  # a face counts as found above this score
FACE_FRACTION = 0.6  # of the detector's canvas that the picture fills


def _session(path: Path) -> Any:
    try:
        import onnxruntime
    except ImportError:
        raise PrivcamError("a public face network needs onnxruntime", got="not installed",
                           todo="pip install 'privcam[attack]'") from None
    if not path.exists():
        raise PrivcamError("no such network file", got=str(path), todo="give the path of an ONNX file")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime raises its own untyped family
        raise PrivcamError("the network file cannot be read", got=f"{path}: {error}", allowed="ONNX",
                           todo="check the file") from None


def displayed(pictures: NDArray[np.float32]) -> NDArray[np.float32]:
    """Returns pictures of linear radiance [n, H, W] encoded for display (sRGB curve), 0..255."""
    linear = np.clip(pictures, 0.0, 1.0)
    encoded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * np.power(np.maximum(linear, 1e-9), 1 / 2.4) - 0.055)
    return np.asarray(255.0 * encoded, dtype=np.float32)


def _resized(picture: NDArray[np.float32], side: int) -> NDArray[np.float32]:
    return np.asarray(Image.fromarray(picture).resize((side, side), Image.Resampling.BICUBIC), dtype=np.float32).clip(0, 255)


class FaceVerifier:
    """A face network: pictures to embeddings. Input [n, 3, 112, 96] or [n, 3, 112, 112], (x - 127.5) / 128."""

    def __init__(self, path: Path) -> None:
        self._network = _session(path)
        self.digest = hash_path(path)
        self._input = self._network.get_inputs()[0]
        height, width = self._input.shape[-2:]
        if height != ARCFACE_SIDE or width not in (96, 112):
            raise PrivcamError("not a face verifier this kit knows how to feed", got=f"input {self._input.shape}",
                               allowed="[n, 3, 112, 96] or [n, 3, 112, 112]", todo="convert the network")
        self._width = int(width)

    def embed(self, pictures: NDArray[np.float32]) -> NDArray[np.float32]:
        """Returns embeddings [n, d] of aligned faces [n, H, W] of linear radiance."""
        crops = np.stack([_resized(picture, ARCFACE_SIDE) for picture in displayed(pictures)])
        margin = (ARCFACE_SIDE - self._width) // 2
        crops = crops[:, :, margin:margin + self._width]
        planes = np.repeat(((crops - 127.5) / 128.0)[:, None], 3, axis=1).astype(np.float32)
        parts = [self._network.run(None, {self._input.name: planes[i:i + 32]})[0] for i in range(0, len(planes), 32)]
        return cast(NDArray[np.float32], np.concatenate(parts))


class FaceDetector:
    """A YuNet face detector: the best score that a face is in the picture. Input [1, 3, s, s], BGR 0..255.

    Reference: Wu et al., "YuNet: a tiny millisecond-level face detector", 2023; score = sqrt(class * objectness).
    """

    def __init__(self, path: Path) -> None:
        self._network = _session(path)
        self.digest = hash_path(path)
        self._input = self._network.get_inputs()[0]
        names = {output.name for output in self._network.get_outputs()}
        if not {"cls_8", "obj_8"} <= names:
            raise PrivcamError("not a YuNet detector", got=sorted(names), allowed="outputs cls_8, obj_8, ...",
                               todo="give a YuNet ONNX file")
        self._side = int(self._input.shape[-1])

    def scores(self, pictures: NDArray[np.float32]) -> NDArray[np.float64]:
        """Returns the best face score of each picture [n, H, W] of linear radiance."""
        return np.array([self._score(picture) for picture in displayed(pictures)])

    def found(self, pictures: NDArray[np.float32]) -> NDArray[np.float64]:
        """Returns 1 where a face is found and 0 where none is, [n]."""
        return (self.scores(pictures) > DETECTION_SCORE).astype(float)

    def _score(self, picture: NDArray[np.float32]) -> float:
        side = int(self._side * FACE_FRACTION)
        start = (self._side - side) // 2
        canvas = np.full((self._side, self._side), picture.mean(), dtype=np.float32)
        canvas[start:start + side, start:start + side] = _resized(picture, side)
        planes = np.repeat(canvas[None, None], 3, axis=1)
        names = [f"{kind}_{stride}" for stride in (8, 16, 32) for kind in ("cls", "obj")]
        values = self._network.run(names, {self._input.name: planes})
        pairs = zip(values[::2], values[1::2], strict=True)
        return max(float(np.sqrt(np.clip(c, 0, 1) * np.clip(o, 0, 1)).max()) for c, o in pairs)
