"""Learning rates that are far from the recommended one, in words. Knows no schedule and no method."""

FAR = 5.0


def rate_remarks(rate: float, recommended: float) -> tuple[str, ...]:
    """A sentence where the rate is more than FAR times above or below the recommended one of this base and method.

    Six facts were learnt by a 135M model at 1e-3 (12 of 12 answered) and not at 2e-4 (0 of 12), a fifth of it.
    """
    if rate > FAR * recommended:
        return (
            f"the learning rate {rate:.1e} is {rate / recommended:.0f} times the recommended {recommended:.1e}; the "
            "run may forget what the base knows, or diverge. Leave the rate empty, unless you mean it.",
        )
    if rate * FAR < recommended:
        return (
            f"the learning rate {rate:.1e} is {recommended / rate:.0f} times below the recommended {recommended:.1e}; "
            "the run may end without having learnt anything. Leave the rate empty, unless you mean it.",
        )
    return ()
