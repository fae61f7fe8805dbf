"""Results that are quoted for comparison: published ones, and runs apart from the benchmark. None is a baseline.

A score is the value in the source for RelBench's test split: ROC-AUC between 0 and 1, or the mean absolute error. The
regime is the one that the source states or its code uses; None if neither is known.
"""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.data.problems import Regime


@dataclass(frozen=True, slots=True)
class Quoted:
    """One score; `source` is an arXiv number, a public repository and where to look in it, or how it was run."""

    method: str
    score: float
    regime: Regime | None
    source: str


NMAE_UNIT = 7.0257
"""Standard deviation of the train labels of rel-f1 driver-position: sources that give NMAE are multiplied by it."""

_LEADERBOARD = "github.com/stanford-star/relbench, leaderboard entry"
_OLD_BOARD = "RelBench leaderboard before version 3"
_RELARENA = "github.com/PriorLabs/relarena, baseline_results (arXiv 2608.16319)"
_KAPSO = "github.com/Leeroo-AI/kapso, benchmarks/relbench"
_REDELEX = "github.com/jakubpeleska/redelex (arXiv 2506.22199)"
_STUDY = "github.com/snap-stanford/relbench-user-study"
_SEED_PAPER = "arXiv 2605.16085"
_STATIC = "seed paper: BART and GraphSAGE over one static graph"

_KUMO = "Kumo Engine 1.0.0, refitted"
_KUMO_TYPES = "Kumo Engine 1.0.0, column types corrected by hand"
_KUMO_RUN = "package kumo-engine, run apart on two CPU cores: same labels, one trial of 64 channels instead of its plan"
"""The benchmark does not run it: its package needs other versions of pandas, pyarrow and sqlglot than relsql's tests.
The plan that it advises finished no epoch in four minutes, so it may reach more, above all on a GPU."""

QUOTED: dict[tuple[str, str], tuple[Quoted, ...]] = {
    ("rel-f1", "driver-dnf"): (
        Quoted("KumoRFM-2, in context", 0.8459, "seed-time", "github.com/kumo-ai/kumo-rfm (arXiv 2604.12596)"),
        Quoted("KumoRelational, in context", 0.8434, "seed-time", f"{_LEADERBOARD} 421"),
        Quoted("RT, fine-tuned", 0.842, "seed-time", _OLD_BOARD),
        Quoted("Kapso, LLM research agent", 0.8327, "seed-time", f"{_LEADERBOARD} 393"),
        Quoted("RT-J, in context", 0.8308, "seed-time", f"{_LEADERBOARD} 408"),
        Quoted("KumoRFM-1, fine-tuned", 0.8263, "seed-time", f"in {_SEED_PAPER}"),
        Quoted("RT-PluRel, fine-tuned", 0.8209, "seed-time", f"{_LEADERBOARD} 411"),
        Quoted(_KUMO_TYPES, 0.820, "seed-time", _KUMO_RUN),
        Quoted("Kurve-RSC, SQL aggregates and CatBoost", 0.8162, "seed-time", f"{_LEADERBOARD} 394"),
        Quoted(f"{_KUMO}, first run", 0.811, "seed-time", _KUMO_RUN),
        Quoted(f"{_KUMO}, second run", 0.809, "seed-time", _KUMO_RUN),
        Quoted("RT, from scratch", 0.7993, "seed-time", f"{_LEADERBOARD} 398"),
        Quoted("GraphSAGE, ResNet row encoder", 0.778, "seed-time", _REDELEX),
        Quoted("Rel-LLM", 0.771, "frozen", _OLD_BOARD),
        Quoted("RelGT", 0.7587, "frozen", f"arXiv 2505.10960, in {_RELARENA}"),
        Quoted("RelGNN", 0.7529, "frozen", f"arXiv 2502.06784, in {_RELARENA}"),
        Quoted("TabPFN-Rel API", 0.7322, "frozen", _RELARENA),
        Quoted("LightGBM, entity row and date", 0.7303, "frozen", _RELARENA),
        Quoted("RDL, GraphSAGE", 0.7262, "frozen", f"RelBench paper, in {_RELARENA}"),
        Quoted("KumoRFM-2, run again", 0.7203, "frozen", _RELARENA),
        Quoted("mean label of the entity", 0.6993, "frozen", _RELARENA),
        Quoted("data scientist, SQL and LightGBM", 0.6980, "frozen", _STUDY),
        Quoted("Griffin, fine-tuned", 0.7091, None, f"in {_SEED_PAPER}"),
        Quoted(f"{_STATIC}, fine-tuned", 0.6740, None, _SEED_PAPER),
        Quoted(f"{_STATIC}, frozen weights", 0.6140, None, _SEED_PAPER),
    ),
    ("rel-f1", "driver-top3"): (
        Quoted("Kapso, LLM research agent", 0.9357, "seed-time", f"{_LEADERBOARD} 393"),
        Quoted("KumoRFM-2, in context", 0.922, "seed-time", _OLD_BOARD),
        Quoted("RT, fine-tuned", 0.921, "seed-time", _OLD_BOARD),
        Quoted("RT-J, fine-tuned", 0.9171, "seed-time", f"{_LEADERBOARD} 409"),
        Quoted("Kurve-RSC, SQL aggregates and CatBoost", 0.9163, "seed-time", f"{_LEADERBOARD} 394"),
        Quoted("KumoRFM-1, in context", 0.9107, "seed-time", _RELARENA),
        Quoted("KumoRelational, in context", 0.908, "seed-time", f"{_LEADERBOARD} 421"),
        Quoted(_KUMO_TYPES, 0.894, "seed-time", _KUMO_RUN),
        Quoted("GraphSAGE, ResNet row encoder", 0.852, "seed-time", _REDELEX),
        Quoted(_KUMO, 0.851, "seed-time", _KUMO_RUN),
        Quoted("RT, from scratch", 0.8384, "seed-time", f"{_LEADERBOARD} 398"),
        Quoted("RelGNN", 0.8569, "frozen", f"arXiv 2502.06784, in {_RELARENA}"),
        Quoted("RelGT", 0.8352, "frozen", f"arXiv 2505.10960, in {_RELARENA}"),
        Quoted("data scientist, SQL and LightGBM", 0.8238, "frozen", _STUDY),
        Quoted("Rel-LLM", 0.822, "frozen", _OLD_BOARD),
        Quoted("KumoRFM-2, run again", 0.8209, "frozen", _RELARENA),
        Quoted("RDBLearn", 0.7969, "frozen", _RELARENA),
        Quoted("RDL, GraphSAGE", 0.7554, "frozen", f"RelBench paper, in {_RELARENA}"),
        Quoted("LightGBM, entity row and date", 0.7392, "frozen", _RELARENA),
        Quoted("KumoRFM-1, fine-tuned (protocol unpublished)", 0.9962, None, _OLD_BOARD),
        Quoted("GelGT", 0.859, None, f"{_LEADERBOARD} 420"),
    ),
    ("rel-f1", "driver-position"): (
        Quoted("Kapso, LLM research agent", 2.417, "seed-time", f"{_LEADERBOARD} 393, NMAE"),
        Quoted("RT, fine-tuned", 2.640, "seed-time", f"{_OLD_BOARD}, NMAE"),
        Quoted("RT-J, fine-tuned", 2.646, "seed-time", f"{_LEADERBOARD} 409, NMAE"),
        Quoted("LightGBM, retrained at every timestamp", 2.653, "seed-time", _KAPSO),
        Quoted("KumoRFM-1, fine-tuned", 2.731, "seed-time", _KAPSO),
        Quoted("KumoRFM-2, in context", 2.854, "seed-time", _KAPSO),
        Quoted("Kurve-RSC, SQL aggregates and CatBoost", 2.909, "seed-time", f"{_LEADERBOARD} 395, NMAE"),
        Quoted(_KUMO_TYPES, 2.92, "seed-time", _KUMO_RUN),
        Quoted("KumoRelational, in context", 3.07, "seed-time", f"{_LEADERBOARD} 421, NMAE"),
        Quoted("RDL, run again on fresh data", 3.15, "seed-time", "github.com/rllm-team/rllm, examples"),
        Quoted(_KUMO, 3.74, "seed-time", _KUMO_RUN),
        Quoted("Kapso, best frozen", 3.531, "frozen", _KAPSO),
        Quoted("TabPFN-Rel API", 3.757, "frozen", _RELARENA),
        Quoted("RelGNN", 3.798, "frozen", _RELARENA),
        Quoted("RT-PluRel", 3.818, "frozen", _RELARENA),
        Quoted("RelGT", 3.917, "frozen", _RELARENA),
        Quoted("data scientist, SQL and LightGBM", 3.963, "frozen", _STUDY),
        Quoted("RDL, GraphSAGE", 4.022, "frozen", _RELARENA),
        Quoted("KumoRFM-2, run again", 4.022, "frozen", _RELARENA),
        Quoted("constant per entity", 4.104, "frozen", _RELARENA),
        Quoted("LightGBM, entity row and date", 4.170, "frozen", _RELARENA),
        Quoted("GelGT", 3.745, None, f"{_LEADERBOARD} 420, NMAE"),
    ),
    ("rel-retail", "customer-return"): (Quoted(_KUMO, 0.756, "seed-time", _KUMO_RUN),),
    ("rel-retail", "customer-repurchase"): (Quoted(_KUMO, 0.737, "seed-time", _KUMO_RUN),),
}
"""By data set and task, best first within a regime."""
