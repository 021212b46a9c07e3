"""Checkpoints in the training loops of Hugging Face's Trainer, Lightning and DeepSpeed, where these are installed."""

from pathlib import Path
from typing import Any

import pytest
import torch
from tests.mithril.checkpoint.states import assert_same

import mithril.checkpoint as mc

# Warnings of the frameworks, on import and in use, are theirs.
pytestmark = pytest.mark.filterwarnings("default")


class Regression(torch.nn.Module):  # type: ignore[misc, unused-ignore]
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.line = torch.nn.Linear(4, 1)

    def forward(self, x: torch.Tensor, labels: torch.Tensor | None = None) -> dict[str, torch.Tensor]:
        found = self.line(x).squeeze(-1)
        return {"logits": found} if labels is None else {"loss": (found - labels).square().mean(), "logits": found}


def rows(count: int = 32) -> list[dict[str, torch.Tensor]]:
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randn(count, 4, generator=generator)
    return [{"x": row, "labels": row.sum()} for row in inputs]


def test_the_callback_saves_and_a_fresh_model_is_restored(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    from mithril.checkpoint import transformers as hook  # noqa: PLC0415 (needs what may not be there)

    url = str(tmp_path / "run")
    arguments = transformers.TrainingArguments(
        str(tmp_path / "out"), max_steps=6, save_strategy="no", report_to=[], use_cpu=True, disable_tqdm=True
    )
    model = Regression()
    callback = hook.MithrilCallback(url, every=2)
    transformers.Trainer(model, arguments, train_dataset=rows(), callbacks=[callback]).train()
    assert [info.step for info in mc.list_steps(url)] == [2, 4, 6]
    fresh = Regression()
    optimizer = transformers.Trainer(fresh, arguments, train_dataset=rows()).create_optimizer()
    assert hook.restore(url, fresh, optimizer) == 6
    assert_same(dict(fresh.state_dict()), dict(model.state_dict()))
    assert len(optimizer.state) == 2


def test_lightning_goes_on_from_its_file(tmp_path: Path) -> None:
    lightning: Any = pytest.importorskip("pytorch_lightning", reason="Lightning is not installed")
    from mithril.checkpoint.lightning import MithrilCheckpointIO  # noqa: PLC0415 (needs what may not be there)

    class Module(lightning.LightningModule):  # type: ignore[misc, name-defined, unused-ignore]
        def __init__(self) -> None:
            super().__init__()
            self.model = Regression()

        def training_step(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
            return self.model(**batch)["loss"]

        def configure_optimizers(self) -> Any:
            return torch.optim.AdamW(self.parameters())

    def trainer(steps: int) -> Any:
        return lightning.Trainer(
            accelerator="cpu", max_steps=steps, default_root_dir=tmp_path, logger=False, enable_progress_bar=False,
            enable_checkpointing=False, plugins=[MithrilCheckpointIO()], enable_model_summary=False,
        )  # fmt: skip

    loader = torch.utils.data.DataLoader(rows(), batch_size=8)
    first = trainer(3)
    module = Module()
    first.fit(module, loader)
    file = tmp_path / "state.ckpt"
    first.save_checkpoint(file)
    assert file.stat().st_size < 1000
    assert mc.latest(str(tmp_path / "mithril")) == 3
    second = trainer(5)
    later = Module()
    second.fit(later, loader, ckpt_path=file, weights_only=False)
    assert second.global_step == 5
    first.strategy.remove_checkpoint(file)
    assert mc.latest(str(tmp_path / "mithril")) is None


def test_the_engine_of_deepspeed_keeps_states(tmp_path: Path) -> None:
    pytest.importorskip("deepspeed", reason="DeepSpeed is not installed")
    from mithril.checkpoint.deepspeed import MithrilCheckpointEngine  # noqa: PLC0415 (needs what may not be there)

    engine = MithrilCheckpointEngine()
    state = {"module": {"w": torch.randn(50, 20)}, "ds_version": "x", "shapes": [{"w": torch.Size([50, 20])}]}
    for step in (1, 2):
        engine.save(state, tmp_path / f"global_step{step}" / "mp_rank_00_model_states.pt")
        assert engine.commit(f"global_step{step}")
    found = engine.load(tmp_path / "global_step1" / "mp_rank_00_model_states.pt")
    assert_same(found, state)
