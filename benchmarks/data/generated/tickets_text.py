"""Free text with a meaning: sentences of 6 to 15 words that express the writer's mood in many ways."""

from __future__ import annotations

import re

import numpy as np

TONES = ("angry", "neutral", "happy")
SYNONYMS = {
    "angry": (
        *("furious", "angry", "annoyed", "upset", "terrible", "awful", "dreadful", "unacceptable"),
        *("disappointing", "frustrating", "useless", "disgraceful", "hopeless", "horrible", "appalling", "painful"),
    ),
    "neutral": (
        *("standard", "usual", "regular", "ordinary", "average", "typical", "plain", "routine"),
        *("fair", "common", "normal", "moderate", "unchanged", "expected", "steady", "adequate"),
    ),
    "happy": (
        *("delighted", "great", "wonderful", "excellent", "pleased", "superb", "lovely", "brilliant"),
        *("perfect", "fantastic", "impressive", "splendid", "thrilled", "marvellous", "smooth", "outstanding"),
    ),
}
"""Words of each tone; each word belongs to one tone only."""

THINGS = (
    *("invoice", "delivery", "dashboard", "login", "report", "export", "upgrade", "discount", "parcel", "contract"),
    *("printer", "update", "setup", "password", "calendar", "backup", "search", "meeting", "payment", "shipment"),
    *("manual", "screen", "battery", "cable", "form", "portal", "chat", "phone", "letter", "catalogue"),
    *("brochure", "ladder", "monitor", "keyboard", "drawer", "engine", "filter", "helmet", "kettle", "lamp"),
    *("mirror", "needle", "oven", "pump", "ribbon", "sensor", "tablet", "valve", "window", "zipper"),
    *("warranty", "training", "survey", "template", "folder", "server", "router", "licence", "voucher", "refill"),
)
PLACES = (
    *("warehouse", "office", "branch", "shop", "kitchen", "workshop", "studio", "factory", "garage", "lobby"),
    *("store", "depot", "clinic", "school", "hotel", "library", "market", "harbour", "garden", "tower"),
)
TIMES = (
    *("today", "yesterday", "lately", "again", "overnight", "recently", "twice", "meanwhile", "afterwards", "early"),
    *("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday", "midday", "tonight", "weekly"),
)
PEOPLE = (
    *("colleague", "manager", "driver", "agent", "customer", "team", "assistant", "engineer", "partner", "supplier"),
    *("accountant", "operator", "neighbour", "buyer", "planner", "clerk"),
)
ASKS = ("question about", "note on", "message about", "request for", "feedback on", "news of", "follow up on", "re")
SENTENCES = (
    "the {thing} is {tone} and {tone}",
    "{tone} {thing}, {tone} {person}, {time} too",
    "how {tone} the {thing} is, and how {tone} the {person} was",
    "we find the {thing} {tone} and the {thing} {tone}",
    "the {thing} at our {place} was {tone} and {tone} {time}",
    "a {tone} {thing} and a {tone} {thing} reached the {place}",
    "{time} our {person} called the {thing} {tone}, even {tone}",
    "it is {tone} that the {person} sent a {tone} {thing} {time}",
    "my {person} is {tone} about the {thing}, it looks {tone} {time}",
    "about the {thing} from the {place}: {tone}, {tone} and {tone}",
    "{tone} {thing} {time}, the {person} at the {place} said {tone}",
    "our {place} got the {thing} {time} and it seems {tone} to the {person}, {tone}",
    "the {person} from the {place} told us {time} that the {thing} is {tone} and {tone}",
)
"""Slots are filled at random; every sentence expresses its tone two or three times."""

_FILLERS = {"thing": THINGS, "place": PLACES, "time": TIMES, "person": PEOPLE}


def subject(rng: np.random.Generator) -> str:
    """A subject line, which is unrelated to the tone."""
    return f"{_pick(rng, ASKS)} {_pick(rng, THINGS)} {_pick(rng, TIMES)}"


def body(rng: np.random.Generator, tone: int) -> str:
    """A sentence in one of `TONES`."""
    words = _FILLERS | {"tone": SYNONYMS[TONES[tone]]}
    return re.sub(r"\{(\w+)\}", lambda slot: _pick(rng, words[slot[1]]), _pick(rng, SENTENCES))


def words(text: str) -> list[str]:
    """The words of a text, in order."""
    return re.findall(r"[a-z]+", text)


def vocabulary() -> list[str]:
    """All words that a body may have, each once."""
    fixed = [word for sentence in SENTENCES for word in words(re.sub(r"\{\w+\}", " ", sentence))]
    free = [word for options in (*SYNONYMS.values(), *_FILLERS.values()) for word in options]
    return list(dict.fromkeys([*fixed, *free]))


def _pick(rng: np.random.Generator, options: tuple[str, ...]) -> str:
    return options[int(rng.integers(len(options)))]
