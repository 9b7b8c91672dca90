"""TensorBoard and the event files of posttrain.

    python tools/oracles/events.py            # the records that crates/posttrain/src/events.rs is tested against
    python tools/oracles/events.py RUN        # what TensorBoard reads in a run folder, tag by tag

Needs `pip install tensorboard` (2.21).
"""

import io
import sys

from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter


def records():
    out = io.BytesIO()
    writer = RecordWriter(out)
    writer.write(Event(wall_time=1.5, file_version="brain.Event:2").SerializeToString())
    start = SessionLog(status=SessionLog.START)
    writer.write(Event(wall_time=1.5, step=7, session_log=start).SerializeToString())
    values = [Summary.Value(tag="train/loss", simple_value=0.25), Summary.Value(tag="eval/loss", simple_value=-1.0)]
    writer.write(Event(wall_time=2.5, step=300, summary=Summary(value=values)).SerializeToString())
    print(out.getvalue().hex())


def show(run):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(run, size_guidance={"scalars": 0})
    events.Reload()
    for tag in events.Tags()["scalars"]:
        print(tag, [(e.step, round(e.value, 6)) for e in events.Scalars(tag)])


show(sys.argv[1]) if len(sys.argv) > 1 else records()
