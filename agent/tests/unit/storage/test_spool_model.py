# SPDX-License-Identifier: Apache-2.0
"""Random lives of a spool beside a plain model: a dictionary of what must be there, in the order of value."""

import hashlib
import shutil
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from helmet_agent.adapters.spool import Spool
from helmet_agent.contract import ExampleRecord, HardExample

QUOTA = 400 << 10
IN_MEMORY = Path("/dev/shm")  # noqa: S108 - hundreds of lives wait for no disk here; mkdtemp makes a folder of its own
DAY = 86400.0
NOW = 1.8e9
# Documented in docs/storage.md: random choice < IBT < the other rules of Sedna < rules that see what those cannot.
RANKS = {"Random": 0, "IBT": 1, "Threshold": 2, "lost_track": 3}


def example_of(number: int, size: int, name: str, value: float, age_days: int) -> HardExample:
    jpeg = f"picture {number}".encode().ljust(size, b".")
    record = ExampleRecord(
        sha256=hashlib.sha256(jpeg).hexdigest(),
        node="node",
        source="gate",
        frame=number,
        time_seconds=NOW - age_days * DAY,
        width=64,
        height=64,
        model="a" * 64,
        rule=name,
        value=value,
        detections=(),
    )
    return HardExample(jpeg, record)


examples = st.builds(
    example_of,
    st.integers(0, 60),
    st.sampled_from([100, 30_000, 60_000, 120_000]),
    st.sampled_from(sorted(RANKS)),
    st.sampled_from([0.0, 0.25, 0.5, 1.0]),
    st.integers(0, 60),
)


class SpoolMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="spool-model-", dir=IN_MEMORY if IN_MEMORY.is_dir() else None))
        self.spool = Spool(self.folder, QUOTA)
        self.held: dict[str, HardExample] = {}
        self.uploaded: set[str] = set()

    def teardown(self) -> None:
        self.spool.close()
        shutil.rmtree(self.folder)

    def worth(self, sha256: str) -> tuple[object, ...]:
        record = self.held[sha256].record
        return (sha256 not in self.uploaded, RANKS[record.rule], record.value, record.time_seconds, sha256)

    def on_disk(self) -> set[str]:
        pictures = {path.stem for path in self.folder.glob("??/*.jpg")}
        assert pictures == {path.stem for path in self.folder.glob("??/*.json")}
        return pictures

    @rule(example=examples)
    def put(self, example: HardExample) -> None:
        sha256 = example.record.sha256
        before = self.spool.stats().counters
        accepted = self.spool.put(example)
        after = self.spool.stats().counters
        if sha256 in self.held:
            assert not accepted
            assert after["duplicates"] == before["duplicates"] + 1
            return
        self.held[sha256] = example
        present = self.on_disk()
        if not accepted:
            assert after["quota_refused"] == before["quota_refused"] + 1
            del self.held[sha256]
            assert present == set(self.held), "a refusal costs nobody else"
            return
        gone = set(self.held) - present
        left = [self.worth(kept) for kept in present]
        assert all(self.worth(lost) < min(left) for lost in gone), "only the least valuable go"
        evicted = after["evicted"] + after["evicted_uploaded"] - before["evicted"] - before["evicted_uploaded"]
        assert evicted == len(gone)
        assert after["evicted_uploaded"] - before["evicted_uploaded"] == len(gone & self.uploaded)
        for lost in gone:
            del self.held[lost]
            self.uploaded.discard(lost)

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def upload(self, data: st.DataObject) -> None:
        sha256 = data.draw(st.sampled_from(sorted(self.held)))
        assert self.spool.mark_uploaded(sha256)
        self.uploaded.add(sha256)

    @rule(days=st.integers(0, 60))
    def expire(self, days: int) -> None:
        old = {name for name, example in self.held.items() if example.record.time_seconds < NOW - days * DAY}
        assert self.spool.expire(NOW, days) == len(old)
        for name in old:
            del self.held[name]
        self.uploaded -= old

    @rule()
    def reopen(self) -> None:
        self.spool.close()
        self.spool = Spool(self.folder, QUOTA)
        counters = self.spool.stats().counters
        assert not any(counters.values()), counters

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def lose_files(self, data: st.DataObject) -> None:
        sha256 = data.draw(st.sampled_from(sorted(self.held)))
        self.spool.close()
        for path in self.folder.glob(f"??/{sha256}.*"):
            path.unlink()
        self.spool = Spool(self.folder, QUOTA)
        assert self.spool.stats().counters["missing"] == 1
        del self.held[sha256]
        self.uploaded.discard(sha256)

    @rule()
    def lose_the_index(self) -> None:
        self.spool.close()
        (self.folder / "index.sqlite").unlink()
        self.spool = Spool(self.folder, QUOTA)
        assert self.spool.stats().counters["adopted"] == len(self.held)
        self.uploaded.clear()

    @invariant()
    def it_holds_exactly_what_the_model_holds(self) -> None:
        assert self.on_disk() == set(self.held)
        assert all(self.spool.open(sha256) == example for sha256, example in self.held.items())
        waiting = sorted(set(self.held) - self.uploaded, key=self.worth, reverse=True)
        assert list(self.spool.pending(1000)) == waiting

    @invariant()
    def it_keeps_its_quota(self) -> None:
        files = sum(path.stat().st_size for path in self.folder.rglob("*") if path.is_file())
        assert files <= self.spool.stats().used_bytes + 64  # the lock file's process number
        assert self.spool.stats().used_bytes <= QUOTA


TestSpoolAgainstItsModel = SpoolMachine.TestCase
TestSpoolAgainstItsModel.settings = settings(
    max_examples=25,
    stateful_step_count=20,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
