"""How far a campaign of rounds has come, in a file, so that it can be ended at any time and continued."""

import json
import secrets
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from yggdrasil.server.files import replace_file


@dataclass
class Progress:
    """Rounds that are wanted and done."""

    wanted: int
    seed: int = field(default_factory=lambda: secrets.randbits(32))
    done: int = 0
    acknowledged: int = 0
    seconds: float = 0.0
    kinds: Counter[str] = field(default_factory=Counter)
    """How often each kind of thing was done."""

    @classmethod
    def kept(cls, file: Path | None, wanted: int, seed: int | None) -> "Progress":
        """Continues what is in the file; a campaign that is over, or another seed, begins anew."""
        if file is not None and file.exists():
            found = json.loads(file.read_text())
            kept = cls(**{**found, "wanted": wanted, "kinds": Counter(found["kinds"])})
            if kept.done < wanted and seed in {None, kept.seed}:
                return kept
        return cls(wanted) if seed is None else cls(wanted, seed)

    def keep(self, file: Path | None) -> None:
        """Writes it down."""
        if file is not None:
            file.parent.mkdir(parents=True, exist_ok=True)
            replace_file(file, json.dumps(vars(self)).encode())

    @property
    def seed_of_rest(self) -> int | str:
        """The seed of what is left: where rounds are done already, they are not drawn again."""
        return f"{self.seed}/{self.done}" if self.done else self.seed

    def __str__(self) -> str:
        left = self.seconds / max(self.done, 1) * (self.wanted - self.done)
        kinds = ", ".join(f"{name}: {count}" for name, count in sorted(self.kinds.items()))
        return (
            f"{self.done} of {self.wanted} rounds in {self.seconds:.0f} s, about {left:.0f} s left, "
            f"{self.acknowledged} acknowledged writes, nothing lost; {kinds}"
        )
