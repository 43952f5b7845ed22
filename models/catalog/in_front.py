"""What methods that put virtual tokens before every row share: how many. Knows no tensors."""

from pydantic import Field

from models.domain.training import Spec


class InFront(Spec):
    """The base reads these before each row, as it would read a prompt; they are learnt, and no words."""

    tokens: int = Field(
        20,
        ge=1,
        le=512,
        title="Virtual tokens",
        description="So many learnt tokens stand before every row. They take that much of the base's context, and time "
        "in every pass; 10 to 100 are usual.",
    )


def tokens_of(options: InFront) -> int:
    return options.tokens
