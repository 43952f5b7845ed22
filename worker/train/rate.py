"""The learning rate of a training: which one it takes, and what is said where that is far from the recommended one."""

from models.catalog.rates import recommended_of
from models.domain.estimate import learning_rate
from models.domain.rates import rate_remarks
from worker.train.setting import Setting


def rate_of(setting: Setting) -> float:
    """The highest rate of its schedule. Of an empty one the rows do not decide: see `with_rate_of_rows`."""
    hidden_size = setting.shapes.hidden_size
    return learning_rate(setting.spec.schedule, hidden_size, recommended_of(setting.spec, hidden_size).value)


def rate_said(setting: Setting, *, are_texts: bool) -> tuple[str, ...]:
    """`are_texts`: all rows to train on are plain texts, which nobody knew where the rate was left empty."""
    recommended = recommended_of(setting.spec, setting.shapes.hidden_size, are_texts=are_texts).value
    is_given = setting.spec.schedule.learning_rate is not None or not are_texts
    return rate_remarks(rate_of(setting), recommended, is_given=is_given)
