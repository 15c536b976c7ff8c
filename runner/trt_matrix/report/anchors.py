"""Where a cell stands on the page: `#cell-ort-1.32.0/cpu/int8-shared-entropy`."""

import hashlib
import re

UNSAFE = re.compile(r"[^A-Za-z0-9._:/*-]+")
LONGEST = 120


def cell_anchor(cell: str) -> str:
    """Returns the id of the element of a cell; needs no escaping, in HTML or in an address."""
    safe = UNSAFE.sub("-", cell)[:LONGEST]
    if safe == cell:
        return f"cell-{safe}"
    return f"cell-{safe}-{hashlib.sha256(cell.encode('utf-8', 'surrogatepass')).hexdigest()[:8]}"
