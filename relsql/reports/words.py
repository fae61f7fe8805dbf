"""A task and the limits of its model in plain words."""

from __future__ import annotations

from relsql.registry.cards.card import ModelCard
from relsql.registry.function_names import full_name
from relsql.tasks.target import CLASS, CLASSES, MEAN, MEDIAN, PROBABILITY, quantile_level
from relsql.tasks.task import Task


def question(task: Task) -> str:
    """What a score answers, in one sentence."""
    asked = {
        PROBABILITY: f"how probable is it that {task.target_col} is {task.positive or 1}",
        CLASS: f"which class is {task.target_col}",
        CLASSES: f"which classes are in {task.target_col}",
        MEAN: f"what {task.target_col} is to be expected on average",
        MEDIAN: f"which {task.target_col} is as likely to be exceeded as not",
    }.get(task.predicts) or f"which {task.target_col} is not exceeded with probability {quantile_level(task.predicts)}"
    return f"For each row of {task.entity_table}: {asked}, {_when(task)}?"


def _when(task: Task) -> str:
    """The moment or the window that the answer is about."""
    if task.kind != "forecast":
        return task.moment
    within = f"in each of the {task.steps} equal parts of the" if task.steps else "in the"
    return f"{within} {task.timedelta} after the moment of the question"


def intended_use(card: ModelCard) -> tuple[str, ...]:
    """What scores can be used for."""
    task = card.task
    use = {
        PROBABILITY: "Rank rows by their probability, and compare it with a threshold. It is calibrated on validation "
        "labels.",
        MEAN: "Add scores up, or multiply them by prices: they are means.",
        CLASS: "Take the likeliest class, or the probabilities of all. They are calibrated on validation labels.",
        CLASSES: "Take the classes above their thresholds, or the probabilities of all, which do not add up to 1.",
        MEDIAN: "Compare rows with each other, and a row with its own past. Medians do not add up to a median of sums; "
        "for sums, train a task with target mean.",
    }.get(task.predicts) or "Plan for a bad case: scores are quantiles, which do not add up."
    return (
        f"Scores of rows of {task.entity_table} that are in the database, {_when(task)}, and for no other span.",
        use,
    )


def limits(card: ModelCard) -> tuple[str, ...]:
    """What scores must not be used for, and when they are worth less than the metrics say."""
    task, removed = card.task, [f"{table}({column})" for table, column in card.task.removed]
    seen = "at or before" if task.visible == "at-or-before" else "strictly before"
    found = [f"A score reads rows with a time {seen} as_of, and rows without a time always."]
    if card.regime == "frozen":
        found.append(
            f"It was trained for data that end up to {task.num_eval_timestamps - 1} horizons before as_of, and judged "
            "on such data."
        )
    else:
        found.append(
            "It was trained and judged on data that are complete up to as_of. Where rows arrive late, scores are worse "
            "than the metrics say."
        )
    status = f"{full_name(card.name)}(..).status"
    if card.stale_after_days is None:
        found.append("No linked row has a time, so nothing says when the data of a row have become too old.")
    else:
        found.append(
            f"In training the newest linked row was at most {card.stale_after_days:,.0f} days old. Where it is older, "
            f"{status} is 'stale', and the score is a guess."
        )
    found.append(f"A row without linked rows is scored by its own columns alone; {status} is then 'no_history'.")
    if task.test_timestamp:
        found.append(
            f"No label from {task.test_timestamp:%Y-%m-%d} on was used in training. The world may have changed since."
        )
    if removed:
        found.append(f"Columns that it does not read, because they would reveal the answer: {', '.join(removed)}.")
    found.append(
        "A score is a forecast from rows. It does not say what would happen if somebody acted on it, and the model was "
        "not examined for how it treats groups of people."
    )
    return tuple(found)
