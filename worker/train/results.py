"""What a training says of itself when it ends: the adapter's manifest and the figures of the outcome."""

from typing import cast

from peft import PeftModel

from models.domain.adapter import AdapterBase, AdapterData, AdapterMachine, AdapterManifest
from models.domain.ids import Sha256
from models.domain.objectives import Objective
from worker.device import dtype_name
from worker.jobdir import JobDir, sha256_of
from worker.loading import MANIFEST, WEIGHTS
from worker.train.adapter import adapted_names, method_options
from worker.train.checkpoints import Story, library_versions
from worker.train.inputs import Rows
from worker.train.plan import Plan
from worker.train.rate import rate_of
from worker.train.setting import Setting
from worker.train.starting import parent_of


def manifest_of(
    setting: Setting, rows: Rows, story: Story, model: PeftModel, plan: Plan, *, step: int, chosen: int
) -> AdapterManifest:
    """For the weights of step `chosen`, already saved in out/, of a training that took `step` steps.

    Holds no time of day: equal trainings leave equal bytes.
    """
    assert story.first_loss is not None and story.last_loss is not None
    spec, losses = setting.spec, dict(story.losses)
    return AdapterManifest(
        base=AdapterBase(
            name=setting.facts.base_name,
            tree_sha256=setting.facts.base_tree_sha256,
            config_sha256=Sha256(sha256_of(setting.base / "config.json")),
            tokenizer_sha256=Sha256(sha256_of(setting.base / "tokenizer.json")),
            chat_template_sha256=cast(Sha256 | None, setting.base_facts.chat_template_sha256),
        ),
        quantisation=spec.quantisation,
        compute_dtype=dtype_name(setting.dtype),
        template_arguments=spec.data.template_arguments,
        stop_token_ids=rows.stop_token_ids,
        method=spec.method.name,
        method_options=method_options(spec.method).model_dump(mode="json"),
        target_modules=adapted_names(model),
        weights_sha256=Sha256(sha256_of(setting.jobdir.out / WEIGHTS)),
        seed=spec.schedule.seed,
        learning_rate=rate_of(setting),
        objective=None if spec.objective.name is Objective.SUPERVISED else spec.objective,
        reference_sha256=cast(Sha256 | None, story.reference_sha256),
        data=AdapterData(
            training_sha256=rows.training_sha256,
            rows=len(rows.units),
            steps=step,
            trained_tokens=story.trained_tokens,
            first_loss=story.first_loss,
            last_loss=story.last_loss,
            heldout_loss_before=story.losses[0][1] if story.losses else None,
            heldout_loss_after=losses.get(chosen, story.losses[-1][1]) if len(losses) > 1 else None,
            tokens=rows.training.tokens,
            sources=rows.sources,
            validation_sha256=rows.validation_sha256,
            split=rows.split,
            left_out=rows.left_out,
            epochs=step / plan.steps_per_epoch,
            planned_steps=len(plan.steps) if step < len(plan.steps) else None,
            stopped_early_at=story.improvement.stopped_at,
            adapter_step=chosen if chosen != step else None,
        ),
        machine=AdapterMachine(
            device=setting.device.name,
            cpu_model=story.cpu_model,
            threads=setting.order.threads,
            versions=library_versions(),
        ),
        continued_from=parent_of(spec, setting.start),
    )


def figures(jobdir: JobDir, step: int) -> dict[str, object]:
    """The outcome's result: the manifest, and its main figures by name."""
    manifest = AdapterManifest.model_validate_json((jobdir.out / MANIFEST).read_text())
    return {
        "manifest": manifest.model_dump(mode="json"),
        "loss_before": manifest.data.heldout_loss_before,
        "loss_after": manifest.data.heldout_loss_after,
        "first_loss": manifest.data.first_loss,
        "last_loss": manifest.data.last_loss,
        "trained_tokens": manifest.data.trained_tokens,
        "steps": step,
        "stopped_early_at": manifest.data.stopped_early_at,
        "adapter_step": manifest.data.adapter_step,
    }
