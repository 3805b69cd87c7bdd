"""One sentence for every name that is not on its list."""

from collections.abc import Iterable


def check_choice(key: str, value: object, accepted: Iterable[object]) -> None:
    """Raises ValueError naming ``key``, the value and what is accepted, if it is not among these."""
    accepted = tuple(accepted)
    if value not in accepted:
        raise ValueError(f"{key}: {value!r} is not one of {', '.join(map(str, accepted))}")
