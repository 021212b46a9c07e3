"""What a cache of some size would have made of a trace: the engine's own policy beside others.

>>> for outcome in run(Path("trace.gz"), memory=[1 << 30], policies=["tinylfu", "lru"]):
...     print(outcome.policy, outcome.hit_ratio)
"""

from yggdrasil.simulate.run import DEFAULT_POLICIES, Outcome, run
from yggdrasil.simulate.trace_file import TraceFileError

__all__ = ["DEFAULT_POLICIES", "Outcome", "TraceFileError", "run"]
