"""Generated databases with planted signals, and the best forecast of their labels under the law that draws them.

league    two hops: how reliable a team is, read from the results of all its cars
clinics   one hop and two hops: a patient's own visits, and the other visits of the patient's doctor
tickets   text: what the words of an account's tickets mean, beside the numbers of its orders
"""

from __future__ import annotations

from benchmarks.generated.clinics import CLINICS
from benchmarks.generated.database import Generated, read_labels, read_truth
from benchmarks.generated.league import LEAGUE
from benchmarks.generated.tickets import TICKETS

DATABASES: dict[str, Generated] = {each.name: each for each in (LEAGUE, CLINICS, TICKETS)}

__all__ = ["DATABASES", "Generated", "read_labels", "read_truth"]
