"""Checkpoints that are smaller and faster, and exact unless asked otherwise.

import mithril.checkpoint as mc
mc.save({"model": model.state_dict(), "epoch": 3}, "s3://bucket/run", step=1000)
state = mc.load("s3://bucket/run")
"""

from mithril.checkpoint.loading import Checkpoint, TensorSlice, load
from mithril.checkpoint.reports import (
    Inspection,
    TensorDifference,
    TensorReport,
    Verified,
    diff,
    inspect,
    verify,
)
from mithril.checkpoint.saving import Quantize, SaveReport, save
from mithril.checkpoint.staging import AsyncSave, save_async, wait
from mithril.checkpoint.steps import Retained, StepInfo, latest, list_steps, retain
from mithril.checkpoint.tier import Drained, Tier, drain

__all__ = [
    "AsyncSave",
    "Checkpoint",
    "Drained",
    "Inspection",
    "Quantize",
    "Retained",
    "SaveReport",
    "StepInfo",
    "TensorDifference",
    "TensorReport",
    "TensorSlice",
    "Tier",
    "Verified",
    "diff",
    "drain",
    "inspect",
    "latest",
    "list_steps",
    "load",
    "retain",
    "save",
    "save_async",
    "verify",
    "wait",
]
