"""The call log: one entry per call, in the order in which the calls took effect. Bounded."""

import json
import threading
import time
from collections import deque
from itertools import islice
from typing import Optional, TextIO

_KEPT = 200_000


class Journal:
    """Entries with ascending numbers that never start again, not even after a reset."""

    def __init__(self, file: Optional[TextIO] = None):
        self._lock = threading.Lock()
        self._entries: deque = deque(maxlen=_KEPT)
        self._last = 0
        self._file = file

    def add(self, entry: dict) -> None:
        with self._lock:
            self._last += 1
            entry = {"n": self._last, "time": time.time(), **entry}
            self._entries.append(entry)
            if self._file is not None:
                self._file.write(json.dumps(entry) + "\n")
                self._file.flush()

    def since(self, number: int) -> list:
        """Entries after the one with that number."""
        with self._lock:
            first = self._last - len(self._entries) + 1
            return list(islice(self._entries, max(0, number - first + 1), None))

    def reset(self) -> None:
        with self._lock:
            self._entries.clear()
