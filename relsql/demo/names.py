"""Made-up names: combined from syllables, each used only once."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

NATIONALITIES = (
    "Velmarian",
    "Torruskan",
    "Ondrish",
    "Calvewan",
    "Brenmari",
    "Sorvanian",
    "Kestrallian",
    "Dunmarran",
    "Ysoldic",
    "Quorran",
)
_FIRST_STARTS = (
    "Avi",
    "Bre",
    "Dso",
    "Éli",
    "Fen",
    "Hja",
    "Ilo",
    "Jor",
    "Kæl",
    "Miv",
    "Nuo",
    "Ose",
    "Rha",
    "Syl",
    "Tev",
)
_FIRST_ENDS = ("bren", "dax", "fia", "lko", "mund", "nel", "rik", "shan", "tto", "vara", "wyn", "zo")
_LAST_STARTS = (
    "Abro",
    "Blint",
    "Crav",
    "Dolv",
    "Ervo",
    "Grøn",
    "Hulf",
    "Kesto",
    "Lurm",
    "Ogra",
    "Prev",
    "Stor",
    "Vulm",
)
_LAST_ENDS = ("ack", "bekko", "dantz", "esku", "farro", "gird", "hault", "imov", "kvist", "lewin", "rossa", "tüm")
_PLACE_STARTS = (
    "Ald",
    "Bor",
    "Cind",
    "Drey",
    "Esk",
    "Fal",
    "Gorm",
    "Hask",
    "Marl",
    "Nex",
    "Orr",
    "Pell",
    "Tarn",
    "Wex",
)
_PLACE_ENDS = ("amoor", "brava", "cliff", "dûne", "enza", "fjall", "gate", "holt", "ivara", "mond", "okka", "stead")
_CIRCUIT_KINDS = ("Ring", "Park", "Street Circuit", "Speedway", "Autodrome")
_TEAM_KINDS = ("Racing", "Motorsport", "Grand Prix", "Works Team", "Engineering")


class Namer:
    """Generates names, never the same one twice."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._taken: set[str] = set()

    def person(self) -> str:
        """A first and a last name."""
        return self._fresh(lambda: f"{self._join(_FIRST_STARTS, _FIRST_ENDS)} {self._join(_LAST_STARTS, _LAST_ENDS)}")

    def place(self) -> str:
        """A town."""
        return self._fresh(lambda: self._join(_PLACE_STARTS, _PLACE_ENDS))

    def circuit(self, town: str) -> str:
        """A circuit near `town`."""
        return self._fresh(lambda: f"{town} {self._pick(_CIRCUIT_KINDS)}")

    def team(self) -> str:
        """A racing team."""
        return self._fresh(lambda: f"{self._join(_LAST_STARTS, _LAST_ENDS)} {self._pick(_TEAM_KINDS)}")

    def nationality(self) -> str:
        """A nationality; unlike names, nationalities repeat."""
        return self._pick(NATIONALITIES)

    def _pick(self, options: Sequence[str]) -> str:
        return options[int(self._rng.integers(len(options)))]

    def _join(self, starts: Sequence[str], ends: Sequence[str]) -> str:
        return self._pick(starts) + self._pick(ends)

    def _fresh(self, draw: Callable[[], str]) -> str:
        name = draw()
        while name in self._taken:
            name = draw()
        self._taken.add(name)
        return name
