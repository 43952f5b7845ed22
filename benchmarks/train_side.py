"""One side of benchmarks/train.py: trains the given rows in a process of its own, a step each time it is told to.

    python -m benchmarks.train_side SIDE BASE ROWS [--quantisation nf4] [--checkpointing] [--device cuda:0 --dtype bf16]

SIDE is tuneroom, tuneroom-apart (each row by itself: no beginning in common is shared), trainer (transformers' Trainer
+ PEFT, padded batches), trl (SFTTrainer), trl-packed, unsloth, or products: the bare matrix products of the same step
by torch's own sgemm. ROWS is JSON, a list of steps of rows, each {"ids": [...], "start": first trained token}. Reads a
line from stdin before each step, writes one of JSON after it.
All sides have the same rows in a step, start weights, learning rates, clipping, optimiser, threads and dtype.
"""

import argparse
import json
import os
import sys
import time
from functools import partial
from pathlib import Path
from types import MethodType
from typing import Any

from worker.waiting import WAITING

STEP_RATE, RANK, ALPHA = 1e-3, 16, 32
CORES = len(os.sched_getaffinity(0))
# As Tuneroom starts its own children, for every side alike: a waiting side leaves the cores alone.
os.environ.update({**WAITING, "OMP_NUM_THREADS": str(CORES)})
os.environ.update({"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"})

import torch  # noqa: E402
from transformers import TrainerCallback, TrainingArguments  # noqa: E402

from models.domain.base_model import Shapes  # noqa: E402
from models.domain.estimate import rate_share  # noqa: E402
from models.domain.training import MethodChoice, Quantisation, ScheduleSpec  # noqa: E402
from worker.data.rendered import Rendered, Span  # noqa: E402
from worker.device import DTYPES, device_facts  # noqa: E402
from worker.loading import load_base  # noqa: E402

Steps = list[list[dict[str, Any]]]
SCHEDULE = ScheduleSpec(scheduler="constant", warmup_ratio=0, learning_rate=STEP_RATE)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("side")
    parser.add_argument("base", type=Path)
    parser.add_argument("rows", type=Path)
    parser.add_argument("--quantisation", default="none")
    parser.add_argument("--checkpointing", action="store_true")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="fp32")
    asked = parser.parse_args()
    torch.set_num_threads(CORES)
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # libraries print as they like
    turn = _Turn(out, asked.device)
    steps: Steps = json.loads(asked.rows.read_text())
    build = {
        "tuneroom": _tuneroom, "tuneroom-apart": partial(_tuneroom, shares=False), "trainer": _trainer,
        "trl": partial(_trl, packed=False), "trl-packed": partial(_trl, packed=True),
        "unsloth": partial(_trl, packed=False),
    }  # fmt: skip
    if asked.side == "products":
        _products(asked, steps, turn)
        return
    trainer = build[asked.side](asked, steps)
    turn.follow(trainer)
    trainer.train()


class _Turn(TrainerCallback):
    """Waits for its turn before each step and says what the step took."""

    def __init__(self, out: Any, device: str) -> None:
        self._out, self._is_cuda = out, device != "cpu"
        self.loss, self.tokens = 0.0, 0

    def follow(self, trainer: Any) -> None:
        """Reads the loss and the tokens of each step on the way."""
        taken = type(trainer).training_step

        def training_step(this: Any, model: Any, inputs: Any, *rest: Any, **named: Any) -> torch.Tensor:
            self.tokens = _useful(inputs)
            loss = taken(this, model, inputs, *rest, **named)
            self.loss = float(loss)
            return loss

        trainer.training_step = MethodType(training_step, trainer)
        trainer.add_callback(self)

    def begin(self) -> None:
        self._say({"ready": True})
        sys.stdin.readline()
        if self._is_cuda:
            torch.cuda.reset_peak_memory_stats()
        else:
            Path("/proc/self/clear_refs").write_text("5")  # the peak from here on, not that of loading
        self._began, self._cpu = time.perf_counter(), time.process_time()

    def end(self) -> None:
        if self._is_cuda:
            torch.cuda.synchronize()
        seconds, cpu = time.perf_counter() - self._began, time.process_time() - self._cpu
        said = {"seconds": seconds, "cpu_seconds": cpu, "loss": self.loss, "tokens": self.tokens}
        self._say({**said, "peak_bytes": self._peak()})
        if not sys.stdin.readline():
            sys.exit()
        self._began, self._cpu = time.perf_counter(), time.process_time()

    def _peak(self) -> int:
        if self._is_cuda:
            return torch.cuda.max_memory_allocated()
        line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024

    def _say(self, what: dict[str, Any]) -> None:
        self._out.write(json.dumps(what) + "\n")
        self._out.flush()

    def on_train_begin(self, *args: Any, **kwargs: Any) -> None:
        self.begin()

    def on_step_end(self, *args: Any, **kwargs: Any) -> None:
        self.end()


def _useful(inputs: Any) -> int:
    """Tokens without padding: of our step's rows, or of a collated batch."""
    if isinstance(inputs, tuple):
        return sum(len(row.ids) for rows in inputs for row in rows)
    mask = inputs.get("attention_mask")
    return int(mask.sum()) if mask is not None else inputs["input_ids"].numel()


def _same_start(model: torch.nn.Module) -> None:
    """Equal start weights on every side, whatever draws them."""
    for number, (_, weight) in enumerate(sorted((n, p) for n, p in model.named_parameters() if "lora_A" in n)):
        draw = torch.Generator().manual_seed(number)
        weight.data.copy_(torch.randn(weight.shape, generator=draw) / weight.shape[1] ** 0.5)


def _arguments(kind: Any, asked: argparse.Namespace, steps: Steps, **more: Any) -> Any:
    return kind(
        output_dir="/tmp/unused", max_steps=len(steps), per_device_train_batch_size=len(steps[0]),
        learning_rate=STEP_RATE, max_grad_norm=1.0, weight_decay=0.0, optim="adamw_torch",
        use_cpu=asked.device == "cpu",
        logging_strategy="no", save_strategy="no", eval_strategy="no", report_to=[], disable_tqdm=True,
        dataloader_num_workers=0, dataloader_pin_memory=False, remove_unused_columns=False, bf16=asked.dtype == "bf16",
        gradient_checkpointing=asked.checkpointing, gradient_checkpointing_kwargs={"use_reentrant": False}, **more,
    )  # fmt: skip


def _tuneroom(asked: argparse.Namespace, steps: Steps, *, shares: bool = True) -> Any:
    from worker.train.adapter import fresh_adapter
    from worker.train.loss import TokenLoss
    from worker.train.objective import Supervised
    from worker.train.plan import Plan
    from worker.train.trainer import PlannedSteps, PlannedTrainer, Wish, training_arguments

    base = _base(asked)
    shapes = Shapes.model_validate_json((asked.base / "shapes.json").read_text())
    model = fresh_adapter(base, MethodChoice(options={"rank": RANK, "alpha": ALPHA}), shapes, seed=1)
    if asked.checkpointing:
        base.activation_checkpointing_enable({"use_reentrant": False})
    _same_start(model)
    rows = [_rendered(row) for step in steps for row in step]
    width = len(steps[0])
    plan = Plan(
        steps=tuple((tuple(range(k * width, (k + 1) * width)),) for k in range(len(steps))), steps_per_epoch=len(steps)
    )
    arguments = training_arguments(
        SCHEDULE, steps=len(steps), learning_rate=STEP_RATE, folder=Path("/tmp/unused"), use_cpu=asked.device == "cpu"
    )
    objective = Supervised(model, TokenLoss(model, rows[0], shares=shares), torch.device(asked.device))
    return PlannedTrainer(
        model, arguments, steps=PlannedSteps(plan, rows), schedule=SCHEDULE, objective=objective,
        watch=lambda figures: Wish(), save=lambda trainer, step: None,
    )  # fmt: skip


def _rendered(row: dict[str, Any]) -> Rendered:
    return Rendered(ids=row["ids"], spans=(Span(turn=1, start=row["start"], end=len(row["ids"])),), text="")


def _base(asked: argparse.Namespace) -> Any:
    return load_base(asked.base, Quantisation(asked.quantisation), device_facts(asked.device), DTYPES[asked.dtype])


def _labelled(row: dict[str, Any]) -> dict[str, Any]:
    ids, start = row["ids"], row["start"]
    return {"input_ids": ids, "labels": [-100] * start + ids[start:]}


def _peft(model: Any) -> Any:
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules="all-linear", task_type="CAUSAL_LM")
    model = get_peft_model(model, config)
    _same_start(model)
    return model


def _in_order(trainer: Any) -> Any:
    """The rows in the plan's order and the rates of the plan's curve, as the other side has them."""
    trainer._get_train_sampler = lambda *_: torch.utils.data.SequentialSampler(trainer.train_dataset)

    def create_scheduler(num_training_steps: int, optimizer: Any = None) -> Any:
        rate = torch.optim.lr_scheduler.LambdaLR(
            optimizer or trainer.optimizer,
            lambda taken: rate_share(min(taken + 1, num_training_steps), num_training_steps, SCHEDULE),
        )
        trainer.lr_scheduler = rate
        return rate

    trainer.create_scheduler = create_scheduler
    return trainer


def _trainer(asked: argparse.Namespace, steps: Steps) -> Any:
    from transformers import AutoTokenizer, DataCollatorForSeq2Seq, Trainer

    tokenizer = AutoTokenizer.from_pretrained(asked.base)
    model = _peft(_base(asked))
    return _in_order(
        Trainer(
            model=model, args=_arguments(TrainingArguments, asked, steps),
            train_dataset=[_labelled(row) for step in steps for row in step],
            data_collator=DataCollatorForSeq2Seq(tokenizer, padding=True, label_pad_token_id=-100),
        )
    )  # fmt: skip


def _trl(asked: argparse.Namespace, steps: Steps, *, packed: bool) -> Any:
    if asked.side == "unsloth":
        from unsloth import FastLanguageModel

        model, tokenizer = FastLanguageModel.from_pretrained(
            str(asked.base), load_in_4bit=asked.quantisation == "nf4", dtype=DTYPES[asked.dtype], max_seq_length=2048
        )
        model = FastLanguageModel.get_peft_model(
            model, r=RANK, lora_alpha=ALPHA, use_gradient_checkpointing=asked.checkpointing
        )
        _same_start(model)
    else:
        from transformers import AutoTokenizer

        tokenizer, model = AutoTokenizer.from_pretrained(asked.base), _peft(_base(asked))
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    rows = [_labelled(row) for step in steps for row in step]
    # Packed: blocks that hold about as many tokens as a step of the others has.
    width = max(max(len(row["input_ids"]) for row in rows), sum(len(r["input_ids"]) for r in rows) // len(steps))
    arguments = _arguments(SFTConfig, asked, steps, packing=packed, max_length=width if packed else None)
    if packed:
        arguments.per_device_train_batch_size = 1
    return _in_order(
        SFTTrainer(model=model, args=arguments, train_dataset=Dataset.from_list(rows), processing_class=tokenizer)
    )


def _products(asked: argparse.Namespace, steps: Steps, turn: _Turn) -> None:
    """Each linear layer's product forwards and towards its input, and the head's at the trained tokens, by `mm`."""
    shapes = Shapes.model_validate_json((asked.base / "shapes.json").read_text())
    linear = [one.shape for one in shapes.modules if one.kind == "linear" and len(one.shape) == 2]
    layers = [(out, wide) for out, wide in linear if shapes.vocabulary not in (out, wide)]
    kind = {"device": asked.device, "dtype": DTYPES[asked.dtype]}
    weights = {shape: torch.randn(*shape, **kind) for shape in {*layers, (shapes.vocabulary, shapes.hidden_size)}}
    turn.begin()
    for rows in steps:
        tokens = sum(len(row["ids"]) for row in rows)
        trained = sum(len(row["ids"]) - row["start"] for row in rows)
        work = [(shape, tokens) for shape in layers] + [((shapes.vocabulary, shapes.hidden_size), trained)]
        for (out, wide), count in work:
            y = torch.ones(count, wide, **kind) @ weights[out, wide].T
            y @ weights[out, wide]
        turn.tokens = tokens
        turn.end()


if __name__ == "__main__":
    main()
