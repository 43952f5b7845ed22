"""The trainings of benchmarks/memory.py: some set the constants of the estimate, the others only judge it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

ADJECTIVES = ("red", "old", "wide", "calm", "late", "new", "deep")


@dataclass(frozen=True, kw_only=True)
class Case:
    """`rows` conversations, the longest with about `asked` + `answered` characters (words on SmolLM2), others down to
    half of that where `spread`. `rows_at_once` is the schedule's micro batch."""

    name: str
    base: str
    quantisation: str = "none"
    rank: int = 16
    method: str = "lora"
    options: Mapping[str, Any] = field(default_factory=dict)
    objective: str = "supervised"
    asked: int = 240
    answered: int = 12
    rows: int = 10
    rows_at_once: int | None = 2
    batch_rows: int | None = None
    checkpointing: bool = False
    spread: bool = False
    steps: int = 2
    is_text: bool = False

    def spec(self) -> dict[str, Any]:
        """The TrainingSpec, of a file that is not named."""
        has_rank = self.method in ("lora", "dora", "loraplus", "pissa", "rslora")
        return {
            "base": "base-1",
            "data": {"training_file": "file-1", "max_length": 4096, "validation_fraction": 0, "sample_rows": 0},
            "quantisation": self.quantisation,
            "method": {
                "name": self.method,
                "options": {**({"rank": self.rank, "alpha": 2 * self.rank} if has_rank else {}), **self.options},
            },
            "objective": {"name": self.objective},
            "schedule": {
                "steps": self.steps, "batch_rows": self.batch_rows or self.rows_at_once or 8,
                "micro_batch_rows": self.rows_at_once, "gradient_checkpointing": self.checkpointing,
            },
        }  # fmt: skip

    def data(self) -> Iterator[dict[str, Any]]:
        for number in range(self.rows):
            share = 1 - 0.5 * ((number * 5) % 8) / 8 if self.spread else 1.0
            asked, answer = (self._text(number, round(share * size)) for size in (self.asked, self.answered))
            match self.objective:
                case "dpo":
                    yield {"prompt": asked, "chosen": answer, "rejected": answer[:-1] + "?"}
                case "kto":
                    yield {"prompt": asked, "completion": answer, "label": number % 2 == 0}
                case _ if self.is_text:
                    yield {"text": f"{asked} {answer}"}
                case _:
                    messages = [{"role": "user", "content": asked}, {"role": "assistant", "content": answer}]
                    yield {"messages": messages}

    def _text(self, number: int, size: int) -> str:
        """Another one for each number; a word of it is a token of SmolLM2, a character one of the random bases."""
        words = f"No {number}: " + " ".join(ADJECTIVES[(number + place) % len(ADJECTIVES)] for place in range(size))
        return words if self.base == "smollm2" else words[:size]


SETTING = (
    Case(name="large head, NF4", base="large-head", quantisation="nf4"),
    Case(name="own head, texts", base="own-head", is_text=True),
    Case(name="square", base="square"),
    Case(name="square, checkpointed", base="square", checkpointing=True),
    Case(name="square, one long row at once", base="square", rows_at_once=1, asked=700),
    Case(name="deep, NF4", base="deep", quantisation="nf4"),
    Case(name="dropout", base="square", options={"dropout": 0.05}),
    Case(name="DoRA", base="square", method="dora"),
    Case(name="SmolLM2, NF4, checkpointed", base="smollm2", rows_at_once=1, quantisation="nf4", checkpointing=True,
         asked=100),
)  # fmt: skip
HELD_OUT = (
    Case(name="one key head", base="one-key"),
    Case(name="square, q+v, dropout", base="square", options={"targets": "q+v", "dropout": 0.1}),
    Case(name="thin inner, DoRA", base="thin-inner", method="dora"),
    Case(name="qwen3, DPO", base="qwen3", objective="dpo", rows_at_once=1),
    Case(name="square, six steps, rows of many lengths", base="square", rows_at_once=4, spread=True, steps=6),
    Case(name="deep, (IA)3", base="deep", method="ia3", rows_at_once=4),
    Case(name="experts, checkpointed", base="experts", checkpointing=True, rows_at_once=4),
    Case(name="one key head, rank 64, int8", base="one-key", rank=64, quantisation="int8"),
    Case(name="qwen3, NF4 plain, checkpointed", base="qwen3", quantisation="nf4plain", checkpointing=True),
    Case(name="own head, KTO", base="own-head", objective="kto"),
    Case(name="wide, attention only", base="wide", options={"targets": "attention"}),
    Case(name="deep, PiSSA", base="deep", method="pissa"),
    Case(name="qwen3, norms", base="qwen3", method="layernorm"),
    Case(name="SmolLM2", base="smollm2", rows_at_once=1, asked=150),
)  # fmt: skip
