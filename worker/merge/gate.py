"""Gate P8: thresholds, the shift's interval, and the report that decides. Arithmetic on numbers others measured."""

import math
from collections.abc import Sequence

from models.domain.merging import ArithmeticCheck, LogitCheck, MergeMode, MergeReport, ShiftCheck, StorageDtype
from worker.merge.listen import Distance

NEEDED_TOP1 = {StorageDtype.FP32: 0.9999, StorageDtype.BF16: 0.99}
ALLOWED_KL = {StorageDtype.FP32: 1e-6, StorageDtype.BF16: 1e-3}
NEEDED_ANSWER_TOKENS = 2000
Z_95 = 1.96


def judge(
    mode: MergeMode, storage: StorageDtype, arithmetic: ArithmeticCheck, against_adapter: Distance, shift: ShiftCheck
) -> MergeReport:
    """The verdict, with a sentence for every reason to refuse."""
    logits = LogitCheck(
        positions=against_adapter.positions, top1_agreement=against_adapter.top1_agreement,
        mean_kl=against_adapter.mean_kl, needed_top1=NEEDED_TOP1[storage], allowed_kl=ALLOWED_KL[storage],
    )  # fmt: skip
    refusals = (*_arithmetic_refusals(arithmetic), *_logit_refusals(logits, storage), *_shift_refusals(shift))
    return MergeReport(
        mode=mode, storage=storage, arithmetic=arithmetic, logits=logits, shift=shift,
        passed=not refusals, refusals=refusals,
    )  # fmt: skip


def shift_of(
    adapter_losses: Sequence[float], merged_losses: Sequence[float], tokens: Sequence[int], words: Distance
) -> ShiftCheck:
    """Loss per answer token of the merge minus that of the adapter, with its 95 % interval.

    The arguments are per row: summed losses (nats) of the two, answer tokens. Tokens of one row hang together,
    so the row is the unit: a ratio of sums with its linearised variance (Cochran, Sampling Techniques, 6.3).
    """
    total, rows = sum(tokens), len(tokens)
    if not total:
        return ShiftCheck(verdict="not_enough_data", answer_tokens=0)
    changes = [merged - adapter for merged, adapter in zip(merged_losses, adapter_losses, strict=True)]
    difference = sum(changes) / total
    enough = total >= NEEDED_ANSWER_TOKENS and rows > 1
    spread = sum((change - difference * count) ** 2 for change, count in zip(changes, tokens, strict=True))
    half_width = Z_95 * math.sqrt(spread * rows / (rows - 1)) / total if rows > 1 else math.inf
    worse = difference - half_width > 0
    return ShiftCheck(
        verdict=("worse" if worse else "not_worse") if enough else "not_enough_data", answer_tokens=total,
        adapter_loss=sum(adapter_losses) / total, merged_loss=sum(merged_losses) / total, difference=difference,
        interval_low=difference - half_width if rows > 1 else None,
        interval_high=difference + half_width if rows > 1 else None,
        top1_agreement=words.top1_agreement, mean_kl=words.mean_kl,
    )  # fmt: skip


def _arithmetic_refusals(check: ArithmeticCheck) -> list[str]:
    refusals = []
    for names, meaning in (
        (check.missing_modules, "were not merged although the adapter changes them"),
        (check.unexpected_modules, "are in the merge but neither in the base nor in the adapter"),
        (check.changed_untouched, "differ from the base although the adapter does not change them"),
        (check.beyond_one_ulp, "are more than 1 ulp from base + adapter"),
    ):
        if names:
            refusals.append(f"{len(names)} tensors {meaning}: {', '.join(names[:3])}{' ...' if names[3:] else ''}")
    return refusals


def _logit_refusals(check: LogitCheck, storage: StorageDtype) -> list[str]:
    refusals = []
    if not check.top1_agreement >= check.needed_top1:
        refusals.append(
            f"the merged model's most likely token agrees with the adapter's at {check.top1_agreement:.4f} of "
            f"{check.positions} positions; {check.needed_top1} was needed"
        )
    if not check.mean_kl <= check.allowed_kl:
        refusals.append(f"its KL from the adapter is {check.mean_kl:.2e}; at most {check.allowed_kl:.0e} is allowed")
    if refusals and storage is StorageDtype.BF16:
        refusals[-1] += " (an unsure model can lose this much by rounding to bf16 alone: store it as fp32)"
    return refusals


def _shift_refusals(check: ShiftCheck) -> list[str]:
    if check.verdict != "worse":
        return []
    return [
        f"on the original base it answers worse than on the quantised base it was trained on: loss per token "
        f"{check.difference:+.4f}, 95 % interval {check.interval_low:+.4f} to {check.interval_high:+.4f}. "
        f'Merge "as tested" instead'
    ]
