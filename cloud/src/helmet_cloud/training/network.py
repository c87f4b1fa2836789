# SPDX-License-Identifier: Apache-2.0
"""The detector: YOLOX-nano's topology with ReLU6 and without a separate objectness output.

Topology after "YOLOX: Exceeding YOLO Series in 2021" (Ge et al., arXiv:2107.08430): CSPDarknet with depthwise
convolutions, a PAN neck and decoupled heads at strides 8, 16 and 32. What differs, and why:

- SiLU becomes ReLU6: bounded activations quantise to int8 without long tails.
- The focus stem (space to depth, then 3x3) is one 6x6/2 convolution in training, which is exactly the same function. In
  deployment it is a focus stem again, with TensorFlow's order of pixels: int8 kernels pad the channels of each place to
  4, 8 or, with AMX, 64, so that 36 places of 3 channels took more time than the rest of the network.
- 3x3/2 convolutions get the original's explicit padding ((1, 0), (1, 0)): TensorFlow's "same" is off by one pixel.
- The class logit is the sum of what the class branch and the box branch say (one 1x1 convolution over both), instead of
  class times objectness: then a loss mask per picture and class is all that partly labelled pictures need.
- Upsampling is depth_to_space of four copies: exact, and unlike resize or repeat it stays in one XNNPACK partition.

The builder makes two forms of the same function: for training (convolution, batch norm) and for deployment (convolution
with bias, focus stem). Layers are created in a fixed order, so that the units of both forms correspond one to one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf

from helmet_cloud.labels import LABELS
from helmet_cloud.training.classes import STRIDES
from helmet_cloud.training.norm import BatchNorm

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_RARE = -4.6  # log(.01 / .99): at the start nearly every place is background
_HALVING = 2


@dataclass(frozen=True, slots=True)
class NetworkSpec:
    """Size of the network.

    Attributes:
        base: channels of the stem; 16 is YOLOX-nano, tests use less.
        classes: channels of the class maps.
        activation: Keras's name of it.
    """

    base: int = 16
    classes: int = len(LABELS)
    activation: str = "relu6"


NANO = NetworkSpec()
"""The network that ships."""


@dataclass(frozen=True, slots=True)
class ConvUnit:
    """One convolution and, in the training form, the batch norm that follows it."""

    conv: Any
    norm: BatchNorm | None


@dataclass(frozen=True, slots=True)
class Network:
    """A Keras model and its convolutions in creation order.

    Attributes:
        model: float32 ``[B, H, W, 3]`` BGR 0..255 to six maps, for each stride s: class logits ``[B, H/s, W/s, C]`` and
            boxes ``[B, H/s, W/s, 4]`` as (dx, dy, log w, log h) in units of s.
        units: all convolutions before the predictors.
        class_units, box_units: the predictors, one a stride.
        backbone: how many of the units, from the first, make the backbone.
    """

    model: Any
    units: list[ConvUnit]
    class_units: list[ConvUnit]
    box_units: list[ConvUnit]
    backbone: int = 0


class Upsample(keras.layers.Layer):  # type: ignore[misc]  # Keras has no types
    """Nearest-neighbour upsampling by two, ``[B, H, W, C]`` to ``[B, 2H, 2W, C]``."""

    def call(self, inputs: Any) -> Any:
        """Each cell's four copies, side by side in depth, become a square of four cells."""
        return tf.nn.depth_to_space(tf.concat([inputs] * 4, axis=-1), 2)


class Cells(keras.layers.Layer):  # type: ignore[misc]  # Keras has no types
    """The pixels of each 2x2 cell side by side in depth, ``[B, H, W, C]`` to ``[B, H/2, W/2, 4C]``."""

    def call(self, inputs: Any) -> Any:
        """Row by row: top left, top right, bottom left, bottom right."""
        return tf.nn.space_to_depth(inputs, _HALVING)


def stem_on_cells(kernel: NDArray[np.float32]) -> NDArray[np.float32]:
    """The stem's 6x6/2 kernel ``[6, 6, 3, out]`` as the same function of cells, ``[3, 3, 12, out]``."""
    size, _, colours, out = kernel.shape
    cells = kernel.reshape(size // 2, 2, size // 2, 2, colours, out)
    return cells.transpose(0, 2, 1, 3, 4, 5).reshape(size // 2, size // 2, 4 * colours, out)


def stem_on_pixels(kernel: NDArray[np.float32]) -> NDArray[np.float32]:
    """The inverse of ``stem_on_cells``."""
    size, _, channels, out = kernel.shape
    pixels = kernel.reshape(size, size, 2, 2, channels // 4, out)
    return pixels.transpose(0, 2, 1, 3, 4, 5).reshape(2 * size, 2 * size, channels // 4, out)


@dataclass
class _Builder:
    spec: NetworkSpec
    deploy: bool
    units: list[ConvUnit] = field(default_factory=list)

    def stem(self, x: Any) -> Any:
        if self.deploy:
            return self.conv(Cells()(x), self.spec.base, 3)
        return self.conv(x, self.spec.base, 6, 2)

    def conv(self, x: Any, channels: int, kernel: int, stride: int = 1) -> Any:
        layer = keras.layers.Conv2D(channels, kernel, stride, padding="same", use_bias=self.deploy)
        return self._finish(x, layer)

    def depthwise(self, x: Any, stride: int = 1) -> Any:
        padding = "same"
        if stride == _HALVING:
            x = keras.layers.ZeroPadding2D(((1, 0), (1, 0)))(x)
            padding = "valid"
        return self._finish(x, keras.layers.DepthwiseConv2D(3, stride, padding=padding, use_bias=self.deploy))

    def _finish(self, x: Any, layer: Any) -> Any:
        x = layer(x)
        norm = None if self.deploy else BatchNorm()
        self.units.append(ConvUnit(layer, norm))
        if norm is not None:
            x = norm(x)
        return keras.layers.Activation(self.spec.activation)(x)

    def separable(self, x: Any, channels: int, stride: int = 1) -> Any:
        return self.conv(self.depthwise(x, stride), channels, 1)

    def csp(self, x: Any, channels: int, repeats: int, *, shortcut: bool) -> Any:
        """Cross-stage partial block: half of the channels pass ``repeats`` bottlenecks, the others go round them."""
        main = self.conv(x, channels // 2, 1)
        aside = self.conv(x, channels // 2, 1)
        for _ in range(repeats):
            inner = self.separable(self.conv(main, channels // 2, 1), channels // 2)
            main = keras.layers.Add()([inner, main]) if shortcut else inner
        return self.conv(keras.layers.Concatenate()([main, aside]), channels, 1)

    def backbone(self, x: Any) -> tuple[Any, Any, Any]:
        """Features at strides 8, 16 and 32."""
        c = self.spec.base
        x = self.stem(x)
        x = self.csp(self.separable(x, 2 * c, 2), 2 * c, 1, shortcut=True)
        level3 = self.csp(self.separable(x, 4 * c, 2), 4 * c, 3, shortcut=True)
        level4 = self.csp(self.separable(level3, 8 * c, 2), 8 * c, 3, shortcut=True)
        x = self.conv(self.separable(level4, 16 * c, 2), 8 * c, 1)
        pooled = [keras.layers.MaxPooling2D(size, 1, padding="same")(x) for size in (5, 9, 13)]
        x = self.conv(keras.layers.Concatenate()([x, *pooled]), 16 * c, 1)
        return level3, level4, self.csp(x, 16 * c, 1, shortcut=False)

    def neck(self, level3: Any, level4: Any, level5: Any) -> tuple[Any, Any, Any]:
        """Features mixed from coarse to fine and back."""
        c = self.spec.base
        top = self.conv(level5, 8 * c, 1)
        x = self.csp(keras.layers.Concatenate()([Upsample()(top), level4]), 8 * c, 1, shortcut=False)
        middle = self.conv(x, 4 * c, 1)
        out3 = self.csp(keras.layers.Concatenate()([Upsample()(middle), level3]), 4 * c, 1, shortcut=False)
        x = self.separable(out3, 4 * c, 2)
        out4 = self.csp(keras.layers.Concatenate()([x, middle]), 8 * c, 1, shortcut=False)
        x = self.separable(out4, 8 * c, 2)
        return out3, out4, self.csp(keras.layers.Concatenate()([x, top]), 16 * c, 1, shortcut=False)

    def head(self, features: Any) -> tuple[Any, Any]:
        """What one level knows about classes and about boxes."""
        c = 4 * self.spec.base
        stem = self.conv(features, c, 1)
        classes = self.separable(self.separable(stem, c), c)
        boxes = self.separable(self.separable(stem, c), c)
        return keras.layers.Concatenate()([classes, boxes]), boxes


def build_network(
    spec: NetworkSpec = NANO, *, deploy: bool = False, height: int | None = None, width: int | None = None
) -> Network:
    """Builds the network; ``deploy`` leaves batch norm out and lays the stem over 2x2 cells.

    Creation order equals the execution order of the published YOLOX-nano ONNX file; start_weights relies on it.
    """
    builder = _Builder(spec, deploy)
    image = keras.Input((height, width, 3))
    features = builder.backbone(image)
    backbone = len(builder.units)
    levels = builder.neck(*features)
    outputs: list[Any] = []
    class_units, box_units = [], []
    for stride, features in zip(STRIDES, levels, strict=True):
        both, boxes = builder.head(features)
        rare = keras.initializers.Constant(_RARE)
        class_units.append(
            ConvUnit(keras.layers.Conv2D(spec.classes, 1, bias_initializer=rare, name=f"class_{stride}"), None)
        )
        box_units.append(ConvUnit(keras.layers.Conv2D(4, 1, name=f"box_{stride}"), None))
        outputs += [class_units[-1].conv(both), box_units[-1].conv(boxes)]
    return Network(keras.Model(image, outputs), builder.units, class_units, box_units, backbone)
