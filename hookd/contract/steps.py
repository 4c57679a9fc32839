"""The names of a deployment's steps: in its record, in its log and in the numbers; looks that come later go by them."""

from enum import StrEnum
from typing import Final


class StepName(StrEnum):
    """What a deployment does, one after the other; a handover uses some of the later ones."""

    SPACE = "space"
    FETCH = "fetch"
    MEND = "mend"
    COMPARE = "compare"
    CHECKOUT = "checkout"
    DEPENDENCIES = "dependencies"
    SHARE = "share"
    BUILD = "build"
    PREFLIGHT = "preflight"
    OWNERSHIP = "ownership"
    BEFORE_SWITCH = "before_switch"
    FLUSH = "flush"
    SETTLE = "settle"
    SWITCH = "switch"
    START = "start"
    RESTART = "restart"
    HEALTH = "health"
    ROLL_BACK = "roll back"
    STOP_OLD = "stop old"
    PRUNE = "prune"


# By these is counted how often it was tried to bring back what should run.
MENDING: Final = frozenset({StepName.MEND, StepName.SETTLE})
