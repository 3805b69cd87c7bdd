"""At which look a figure of a growing sweep is judged. The Snakefile imports this: it loads nothing heavy.

:mod:`nfd.evidence.significance` says what level a look has.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from nfd.pipeline.jobs import seed_list

# (number of seeds now, numbers of seeds at which the sweep is judged)
SeedsAndSchedule = tuple[int, Sequence[int]]


def looks_of(
    config: Mapping[str, Any], figures: Mapping[str, Sequence[str]]
) -> dict[str, SeedsAndSchedule]:
    """The looks of those of ``figures`` (name: experiments) whose experiments have 'looks'.

    A figure of several experiments is at the look of the one with the fewest seeds.
    """
    found = {}
    for figure, experiments in figures.items():
        growing = [config["experiments"][name] for name in experiments]
        growing = [settings for settings in growing if "looks" in settings]
        if growing:
            least = min(growing, key=lambda settings: len(seed_list(settings["seeds"])))
            found[figure] = (len(seed_list(least["seeds"])), least["looks"])
    return found
