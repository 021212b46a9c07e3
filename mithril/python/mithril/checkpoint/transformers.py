"""Checkpoints in the training loop of Hugging Face's Trainer, by its public callback.

trainer = Trainer(..., callbacks=[MithrilCallback("s3://bucket/run", every=500)])
"""

from typing import Any

from transformers import TrainerCallback

from mithril.checkpoint.loading import load
from mithril.checkpoint.objects import Location
from mithril.checkpoint.saving import Base
from mithril.checkpoint.staging import save_async, wait


class MithrilCallback(TrainerCallback):  # type: ignore[misc, unused-ignore]
    """Saves model, optimizer and schedule in the background: each `every` steps, or when the Trainer itself saves.

    With `every`, set `save_strategy="no"`, so that the Trainer writes no checkpoints of its own beside these.
    """

    def __init__(self, url: Location, *, every: int | None = None, base: Base = "auto") -> None:
        self._url = url
        self._every = every
        self._base = base
        self._saved: int | None = None

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Saves, if it is time to."""
        if self._every is not None and state.global_step % self._every == 0:
            self._save(state, **kwargs)

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Saves beside the Trainer."""
        if self._every is None:
            self._save(state, **kwargs)

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Waits for the last save."""
        wait()

    def _save(self, state: Any, *, model: Any, optimizer: Any = None, lr_scheduler: Any = None, **_: Any) -> None:
        if not state.is_world_process_zero or self._saved == state.global_step:
            return
        content = {
            "model": model.state_dict(),
            "optimizer": None if optimizer is None else optimizer.state_dict(),
            "lr_scheduler": None if lr_scheduler is None else lr_scheduler.state_dict(),
            "global_step": state.global_step,
            "epoch": state.epoch,
        }
        # A job that goes on from an earlier step comes by the same steps again.
        save_async(content, self._url, step=state.global_step, base=self._base, overwrite=True)
        self._saved = state.global_step


def restore(
    url: Location, model: Any, optimizer: Any = None, lr_scheduler: Any = None, *, step: int | None = None
) -> int:
    """Loads what the callback has saved into a model, its optimizer and its schedule, and gives the step."""
    content = load(url, step=step, framework="torch")
    model.load_state_dict(content["model"])
    if optimizer is not None and content["optimizer"] is not None:
        optimizer.load_state_dict(content["optimizer"])
    if lr_scheduler is not None and content["lr_scheduler"] is not None:
        lr_scheduler.load_state_dict(content["lr_scheduler"])
    return int(content["global_step"])
