"""Learning rates that are far from the recommended one, in words. Knows no schedule and no method."""

FAR = 5.0


def rate_remarks(rate: float, recommended: float, *, is_given: bool = True) -> tuple[str, ...]:
    """A sentence where the rate is more than FAR times above or below the recommended one of this base and method.

    `is_given`: somebody chose the rate; else the rows turned out to be of a kind that takes another one.

    Six facts were learnt by a 135M model at 1e-3 (12 of 12 answered) and not at 2e-4 (0 of 12), a fifth of it.
    """
    cure = "Leave the rate empty" if is_given else f"Give the rate {recommended:.1e}"
    if rate > FAR * recommended:
        return (
            f"the learning rate {rate:.1e} is {rate / recommended:.0f} times the recommended {recommended:.1e}; the "
            f"run may forget what the base knows, or diverge. {cure}, unless you mean it.",
        )
    if rate * FAR < recommended:
        return (
            f"the learning rate {rate:.1e} is {recommended / rate:.0f} times below the recommended {recommended:.1e}; "
            f"the run may end without having learnt anything. {cure}, unless you mean it.",
        )
    return ()
