"""Stop at a place of the program's own choice when SIGTERM, SIGUSR1 or SIGINT asks for it.

Schedulers send SIGTERM some seconds before they kill, Slurm SIGUSR1 as early as it is told to;
Ctrl-C is SIGINT.
"""

import os
import signal
import threading
import types
import typing as tp

ASKING = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)


class StoppedBySignal(SystemExit):
    """A program that was asked to stop has done so; the exit status is 128 + the signal's number.

    `text` says what was saved; run_stage prints it.
    """

    def __init__(self, number: int, text: str) -> None:
        super().__init__(128 + number)
        self.text = f"stopped by {signal.Signals(number).name}: {text}"


class StopRequest:
    """Inside the `with`, a first signal is noted as `number`; a second SIGINT interrupts at once.

    Outside the main thread, where Python allows no handlers, nothing is noted.
    """

    def __init__(self) -> None:
        self.number: int | None = None
        self._before: dict[signal.Signals, tp.Any] = {}

    def __enter__(self) -> "StopRequest":
        if threading.current_thread() is threading.main_thread():
            self._before = {each: signal.signal(each, self._note) for each in ASKING}
        return self

    def __exit__(self, *_: object) -> None:
        for each, handler in self._before.items():
            signal.signal(each, handler)

    def _note(self, number: int, _: types.FrameType | None) -> None:
        if number == signal.SIGINT:
            if self.number is not None:
                raise KeyboardInterrupt
            os.write(2, b"\nstopping after this step; Ctrl-C again stops at once, unsaved\n")
        self.number = number


def leave_to_parent() -> None:
    """Ignore these signals in a loader process: a terminal and Slurm send them to every process."""
    for each in ASKING:
        signal.signal(each, signal.SIG_IGN)
