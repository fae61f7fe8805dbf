"""Tell epoch seconds and milliseconds from ids and other large numbers, where the name of a column does not."""

from __future__ import annotations

import datetime
import re
from collections.abc import Sequence

from relsql.schema.discovery.profile import Profile
from relsql.schema.times.readings import PLAIN_NUMBER, Reading

MIN_DISTINCT = 0.8
"""The least share of values that are distinct, by an approximate count: amounts repeat, moments hardly do."""

MAX_DENSITY = 0.05
"""The most values per second: serial numbers leave no gaps."""

TEN_DIGITS = "2001-09-09 01:46:40"
"""When epoch seconds reached ten digits. Earlier ones look like any other number of nine digits."""


def is_only_time(profile: Profile, readings: Sequence[Reading | None]) -> bool:
    """True for epoch numbers that can hardly be anything else.

    Args:
        profile: the profile of the moments that the numbers are read as.
        readings: the readings of all times of the table, None for a column that is a time. If any of these times is
            certain, the result is False.
    """
    if not all(reading and reading.ambiguous == PLAIN_NUMBER for reading in readings):
        return False
    low, high = profile.low or "", profile.high or ""
    now = datetime.datetime.now(datetime.UTC).isoformat(" ")
    if not re.match(r"\d{4}-", low) or not re.match(r"\d{4}-", high) or low < TEN_DIGITS or high > now:
        return False
    seconds = (datetime.datetime.fromisoformat(high) - datetime.datetime.fromisoformat(low)).total_seconds()
    return profile.distinct >= MIN_DISTINCT * profile.values and profile.distinct <= MAX_DENSITY * seconds
