#!/usr/bin/env python3
"""TensorBoard's own bytes for the events of src/train/tensorboard_test.cc, and a check that it reads ours.

  make_tensorboard_golden.py golden >tests/golden/train/events.hex     stock protobuf and record writer, one record a line
  make_tensorboard_golden.py read FOLDER                               what stock TensorBoard shows of a run's folder

Needs `pip install tensorboard`.
"""
import io
import sys

from tensorboard.backend.event_processing import event_accumulator, plugin_event_accumulator
from tensorboard.compat.proto import event_pb2, summary_pb2, tensor_pb2, tensor_shape_pb2, types_pb2
from tensorboard.summary.writer.record_writer import RecordWriter


def events():
    yield event_pb2.Event(wall_time=1.5e9, file_version="brain.Event:2")
    yield event_pb2.Event(wall_time=1.5e9, step=11, session_log=event_pb2.SessionLog(status=event_pb2.SessionLog.START))
    values = [("rollout/reward", 0.1), ("update/logprob_gap_max", 1.25e-7), ("speed/tokens_per_s", 20600.0),
              ("update/entropy", float("inf"))]
    yield event_pb2.Event(wall_time=1.5e9 + 0.25, step=300, summary=summary_pb2.Summary(
        value=[summary_pb2.Summary.Value(tag=tag, simple_value=value) for tag, value in values]))
    text = "| key | value |\n|---|---|\n| é | `1` |\n" + "x" * 200
    yield event_pb2.Event(wall_time=1.5e9, step=0, summary=summary_pb2.Summary(value=[summary_pb2.Summary.Value(
        tag="recipe", tensor=tensor_pb2.TensorProto(
            dtype=types_pb2.DT_STRING, string_val=[text.encode()],
            tensor_shape=tensor_shape_pb2.TensorShapeProto(dim=[tensor_shape_pb2.TensorShapeProto.Dim(size=1)])),
        metadata=summary_pb2.SummaryMetadata(
            plugin_data=summary_pb2.SummaryMetadata.PluginData(plugin_name="text"),
            data_class=summary_pb2.DATA_CLASS_TENSOR))]))


def golden():
    for event in events():
        out = io.BytesIO()
        RecordWriter(out).write(event.SerializeToString(deterministic=True))
        print(out.getvalue().hex())


def read(folder):
    old = event_accumulator.EventAccumulator(folder)
    old.Reload()
    for tag in old.Tags()["scalars"]:
        print(tag, [(e.step, e.value) for e in old.Scalars(tag)])
    new = plugin_event_accumulator.EventAccumulator(folder)  # what the server itself uses
    new.Reload()
    for plugin in ("scalars", "text"):
        for tag, content in sorted(new.PluginTagToContent(plugin).items()):
            print(plugin, tag, [(e.step, e.tensor_proto.string_val[:] or e.tensor_proto.float_val[:])
                                for e in new.Tensors(tag)])


if sys.argv[1:] == ["golden"]:
    golden()
elif len(sys.argv) == 3 and sys.argv[1] == "read":
    read(sys.argv[2])
else:
    sys.exit(__doc__)
