"""Rows as teams really have them: an export of a help desk with its usual faults, and a table that no format knows."""

import csv
import io
import json
import random

GREETINGS = ("Hello,", "Hi there,", "Good morning,", "Dear team,", "")
THINGS = ("desk lamp", "kettle", "wall shelf", "travel mug", "alarm clock", "coffee grinder", "reading light", "scale")
TROUBLES = {
    "arrived with a broken switch": "I am sorry that it came broken. A new one leaves us today; keep the old one.",
    "is smaller than in the picture": "The size stands below it, but I see how it misleads. You can return it.",
    "smells of burnt plastic when it is on": "Please unplug it. I have sent you a label, and we refund it today.",
    "has the wrong plug for my country": "We have an adapter for that and will send you one free of charge.",
    "stopped after two days": "That should not happen. Shall I send a new one, or would you rather have the money?",
    "came without the manual": "The manual is on our page, and I have put a printed one in the post for you.",
    "is not the colour I ordered": "My mistake would be to argue about blue. The right one is on its way to you.",
}
MORE = (
    "I have waited for an answer since Monday.", "It was a present for my sister.", "What do you suggest?",
    "I still have the box.", "Otherwise I like it.", "", "",
)  # fmt: skip
LONG = (
    "To set it up again, first take out the battery and wait for a minute. Then hold the round button until the light "
    "blinks twice, let it go, and hold it once more until it stays on. "
)


def tickets(count: int = 220) -> bytes:
    """Chat messages as JSON lines: mostly good, some with people's data, some alike, some that cannot be used."""
    draw = random.Random(11)
    rows = [_ticket(draw, number) for number in range(count)]
    rows[1] = _talk("My parcel was left with a neighbour I do not know.", "Please ask your neighbours for it.")
    rows[8] = _talk("Your colleague on the phone was rude to me.", "I am sorry. I will tell him.")
    rows[20] = _talk("Where can I write to?", "Write to marta.holm@northwind.example, she decides about refunds.")
    rows[57] = _talk("Who calls me back?", "Jonas does. His number is +46 8 123 456 78, until five.")
    rows[90] = _talk("Did my payment go through?", "Yes, the card 4111 1111 1111 1111 was charged on Friday.")
    for number, of in ((33, 32), (71, 12), (140, 12), (141, 12), (199, 60)):
        rows[number] = rows[of]  # the export had them twice
    for number in (100, 101, 102):
        asked = f"Can I pay the order {51000 + number} by invoice, and within how many days is it due?"
        rows[number] = _talk(asked, "Yes. It is due within 30 days of the day on which we send it.")
    for number, times in ((44, 9), (118, 14), (163, 30)):
        rows[number] = _talk("My clock shows nothing. How do I set it up again?", (LONG * times).strip())
    rows[66] = {"messages": [{"role": "user", "content": "Hello?"}]}
    rows[150] = {"messages": [{"role": "user", "content": "And?"}, {"role": "assistant", "content": ""}]}
    rows[177] = {"messages": [{"role": "customer", "content": "Hi"}, {"role": "assistant", "content": "Hello."}]}
    lines = [json.dumps(row, ensure_ascii=False).encode() for row in rows]
    lines[205] = lines[205][:60]
    return b"\n".join(lines) + b"\n"


def reviews_csv(count: int = 60) -> bytes:
    """A table whose columns no format knows: they have to be pointed to fields."""
    draw, out = random.Random(5), io.StringIO()
    table = csv.writer(out)
    table.writerow(["review_id", "customer_says", "we_answered", "stars"])
    for number in range(count):
        thing, (trouble, answer) = draw.choice(THINGS), draw.choice(list(TROUBLES.items()))
        table.writerow([f"R-{4100 + number}", f"The {thing} {trouble}.", answer, draw.randint(1, 4)])
    return out.getvalue().encode()


def _ticket(draw: random.Random, number: int) -> dict:
    thing, (trouble, answer) = draw.choice(THINGS), draw.choice(list(TROUBLES.items()))
    asked = f"{draw.choice(GREETINGS)} the {thing} from order {48210 + 7 * number} {trouble}. {draw.choice(MORE)}"
    begins = draw.choice(
        (f"Thank you for writing about your {thing}.", f"About the {thing}:", "Thank you for the note.")
    )
    ends = draw.choice(("Is there anything else?", "Tell me when it has arrived.", "We will be quicker next time.", ""))
    return _talk(asked.strip(), f"{begins} {answer} {ends}".strip())


def _talk(asked: str, answered: str) -> dict:
    return {
        "messages": [
            {"role": "system", "content": "You answer customers of Northwind, briefly and warmly."},
            {"role": "user", "content": asked},
            {"role": "assistant", "content": answered},
        ]
    }
