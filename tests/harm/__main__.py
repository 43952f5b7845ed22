"""`python -m tests.harm` prints the table of seeded faults; with `--write` it renews the one of docs/trust.md."""

import re
import sys

from tests.harm.registry import table
from tests.harm.test_harm import PAGE

if "--write" in sys.argv:
    page = PAGE.read_text()
    found = re.sub(r"(?<=<!-- faults -->\n).*?(?=<!-- end -->)", lambda _: table(), page, flags=re.DOTALL)
    PAGE.write_text(found)
print(table())
