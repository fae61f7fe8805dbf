"""Generated databases with planted signals, and the best possible forecast given the process that generates them.

league    two hops: the reliability of a team, which shows in the results of all its cars
clinics   one hop and two hops: a patient's own visits, and the other visits of the patient's doctor
tickets   text: the meaning of the words in an account's tickets, in addition to the numbers of its orders
"""

from __future__ import annotations

from benchmarks.data.generated.clinics import CLINICS
from benchmarks.data.generated.database import Generated, read_labels, read_truth
from benchmarks.data.generated.league import LEAGUE
from benchmarks.data.generated.tickets import TICKETS

DATABASES: dict[str, Generated] = {each.name: each for each in (LEAGUE, CLINICS, TICKETS)}

__all__ = ["DATABASES", "Generated", "read_labels", "read_truth"]
