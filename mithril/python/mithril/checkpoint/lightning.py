"""Checkpoints of Lightning, by its public plug-in.

    trainer = Trainer(..., plugins=[MithrilCheckpointIO("s3://bucket/run")])

Lightning names a file for each checkpoint. That file holds only the URL and the step; the tensors are in the store, so
that steps share what is alike. What is neither a tensor nor a plain value is pickled, as Lightning itself does.
"""

import importlib
import io
from pathlib import Path
from typing import Any

import torch

from mithril.checkpoint import pointers, steps
from mithril.checkpoint.loading import load
from mithril.checkpoint.objects import opened
from mithril.checkpoint.saving import save
from mithril.core.errors import MithrilError


def _base_class() -> Any:
    for name in ("lightning.pytorch.plugins", "pytorch_lightning.plugins"):
        try:
            return importlib.import_module(name).CheckpointIO
        except ImportError:
            continue
    raise MithrilError("mithril.checkpoint.lightning needs the package lightning or pytorch-lightning")


_TENSOR_PARTS = ("state_dict", "optimizer_states", "lr_schedulers")
_FRAMEWORK = "lightning"


class MithrilCheckpointIO(_base_class()):  # type: ignore[misc]
    """Stores checkpoints at a URL: by default in the folder `mithril` beside Lightning's own files."""

    def __init__(self, url: str | None = None) -> None:
        super().__init__()
        self._url = url

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Saves a checkpoint, and then the file that names it."""
        file = Path(path)
        url = self._url or str(file.parent / "mithril")
        step = int(checkpoint.get("global_step", 0))
        parts = {name: checkpoint[name] for name in _TENSOR_PARTS if name in checkpoint}
        rest = io.BytesIO()
        torch.save({name: value for name, value in checkpoint.items() if name not in parts}, rest)
        save({"parts": parts, "rest": rest.getvalue()}, url, step=step, overwrite=True)
        pointers.write(file, _FRAMEWORK, url, step)

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = None) -> dict[str, Any]:
        """The checkpoint that a file names."""
        url, step = pointers.read(Path(path), _FRAMEWORK)
        content = load(url, step=step, framework="torch")
        rest = torch.load(
            io.BytesIO(content["rest"]), map_location=map_location or "cpu", weights_only=bool(weights_only)
        )
        return {**rest, **content["parts"]}

    def remove_checkpoint(self, path: Any) -> None:
        """Removes the file and the step; `mithril checkpoint retain` frees what no step needs any more."""
        file = Path(path)
        if not file.exists():
            return
        url, step = pointers.read(file, _FRAMEWORK)
        file.unlink()
        # Several files may name one step, such as that of the last checkpoint.
        others = [pointers.read(other, _FRAMEWORK) for other in file.parent.glob("*.ckpt")]
        if (url, step) not in others:
            with opened(url) as store:
                store.delete(steps.key_of(step))
