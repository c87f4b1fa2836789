# SPDX-License-Identifier: Apache-2.0
"""Bad models made of the bundled one's own graph: some cost more and answer the same bit for bit, some are damaged.

The converter would fold away what changes no answer. LiteRT runs every operation that the file holds.
"""

from __future__ import annotations

import copy
import struct
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from nudged_model import weight_spans

from helmet_agent.adapters.litert import bundled_model_dir

WEIGHTS = 2048
"""Constants of so many bytes are weights; biases and shapes are shorter."""


FLOAT16_NAN = b"\x00\x7e"
"""Little-endian, as in the file."""


FEW = 8192
"""Weights that take no memory worth the name, however often they are there."""


class Graph:
    """The bundled int8 model, opened for changes.

    Attributes:
        model: the whole file.
        net: its only subgraph.
    """

    def __init__(self) -> None:
        content = (bundled_model_dir() / "model.tflite").read_bytes()
        self.model: Any = schema.ModelT.InitFromPackedBuf(content, 0)
        (self.net,) = self.model.subgraphs

    def to_bytes(self) -> bytes:
        """The changed file."""
        builder = flatbuffers.Builder(0)
        builder.Finish(self.model.Pack(builder), b"TFL3")
        return bytes(builder.Output())

    def tensor_like(self, index: int, content: bytes = b"") -> int:
        """A new tensor of another one's shape, type and scale; with content it is a constant."""
        found = copy.deepcopy(self.net.tensors[index])
        found.name = b"more"
        found.buffer = self.buffer(content) if content else 0
        self.net.tensors.append(found)
        return len(self.net.tensors) - 1

    def buffer(self, content: bytes) -> int:
        """A new constant's bytes."""
        made = schema.BufferT()
        made.data = np.frombuffer(content, np.uint8)
        self.model.buffers.append(made)
        return len(self.model.buffers) - 1

    def is_small(self, operation: Any) -> bool:
        """Whether it is a convolution with a kernel of 1x1 and few weights."""
        kind = self.model.operatorCodes[operation.opcodeIndex].builtinCode
        shape = self.net.tensors[operation.inputs[1]].shape if len(operation.inputs) > 1 else ()
        return bool(kind == schema.BuiltinOperator.CONV_2D and tuple(shape[1:3]) == (1, 1) and np.prod(shape) <= FEW)

    def largest(self, one: int, other: int) -> int:
        """The larger value of two tensors of one shape and scale, place by place."""
        result = self.tensor_like(one)
        self.operate(schema.BuiltinOperator.MAXIMUM, [one, other], result)
        return result

    def operate(self, code: int, inputs: list[int], output: int) -> None:
        """One more operation, the last of all."""
        kind, operation = schema.OperatorCodeT(), schema.OperatorT()
        kind.builtinCode, kind.deprecatedBuiltinCode, kind.version = code, code, 2
        self.model.operatorCodes.append(kind)
        operation.opcodeIndex = len(self.model.operatorCodes) - 1
        operation.inputs, operation.outputs = np.array(inputs, np.int32), np.array([output], np.int32)
        self.net.operators.append(operation)


def slow(times: int) -> bytes:
    """Each small convolution of single pixels so many times over; what follows gets the largest of its equal answers.

    These take time and no memory: few weights, and no table of where the pixels of each place lie.
    """
    graph = Graph()
    operations, graph.net.operators = graph.net.operators, []
    for operation in operations:
        graph.net.operators.append(operation)
        if not graph.is_small(operation):
            continue
        (wanted,) = operation.outputs
        answer = graph.tensor_like(wanted)
        operation.outputs = np.array([answer], np.int32)
        for left in reversed(range(times - 1)):
            again, same = copy.deepcopy(operation), graph.tensor_like(wanted)
            again.outputs = np.array([same], np.int32)
            graph.net.operators.append(again)
            largest = graph.tensor_like(wanted) if left else int(wanted)
            graph.operate(schema.BuiltinOperator.MAXIMUM, [answer, same], largest)
            answer = largest
    return graph.to_bytes()


def hungry(more_bytes: int) -> bytes:
    """The network, and so many bytes of weights that change nothing: the least value there is, over and over."""
    graph = Graph()
    first = int(graph.net.outputs[0])
    shape = [int(side) for side in graph.net.tensors[first].shape]
    rows = more_bytes // int(np.prod(shape[1:]))
    ballast = graph.tensor_like(first, bytes([0x80]) * (rows * int(np.prod(shape[1:]))))
    graph.net.tensors[ballast].shape = np.array([rows, *shape[1:]], np.int32)
    which = graph.tensor_like(first, bytes(4))
    place = graph.net.tensors[which]
    place.shape, place.type, place.quantization = np.array([1], np.int32), schema.TensorType.INT32, None
    least = graph.tensor_like(first)
    graph.operate(schema.BuiltinOperator.GATHER, [ballast, which], least)
    graph.net.operators[-1].builtinOptionsType = schema.BuiltinOptions.GatherOptions
    graph.net.operators[-1].builtinOptions = schema.GatherOptionsT()
    graph.net.outputs = np.array([graph.largest(first, least), *graph.net.outputs[1:]], np.int32)
    return graph.to_bytes()


def with_nan() -> bytes:
    """The float variant with the weights of its largest layers no numbers."""
    content = bytearray((bundled_model_dir() / "model_float16.tflite").read_bytes())
    for span in weight_spans(bytes(content))[:3]:
        content[span.start : span.stop] = FLOAT16_NAN * (len(span) // 2)
    return bytes(content)


def one_bit_off() -> bytes:
    """A single bit of the file: the sign of the first output's scale."""
    graph = Graph()
    scale = struct.pack("<f", graph.net.tensors[graph.net.outputs[0]].quantization.scale[0])
    content = bytearray(graph.to_bytes())
    assert content.count(scale) == 1
    content[content.find(scale) + 3] ^= 0x80
    return bytes(content)


def stale_tail() -> bytes:
    """The new file over an older one of the same length, cut short: half of its weights are another network's."""
    new, old = Graph(), Graph()
    chance = np.random.default_rng(3)
    for buffer in old.model.buffers:
        if buffer.data is not None and len(buffer.data) >= WEIGHTS:
            buffer.data = chance.permutation(np.asarray(buffer.data, np.uint8))
    front, back = new.to_bytes(), old.to_bytes()
    assert len(front) == len(back)
    return front[: len(front) // 2] + back[len(front) // 2 :]
