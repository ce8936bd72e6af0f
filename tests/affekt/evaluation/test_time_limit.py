"""A clip that takes too long to measure is listed, and the others are measured."""

from types import SimpleNamespace

from affekt.evaluation import measure


def test_a_clip_above_the_limit_failed_by_timeout(monkeypatch, tmp_path):
    asked = []

    def pool(function, tasks, workers, start, lost, seconds):
        asked.append((workers, seconds))
        yield from (lost(task, TimeoutError("it took longer than 7 s")) for task in tasks)

    monkeypatch.setattr(measure, "parallel_map", pool)
    task = measure.Task(SimpleNamespace(id="a"), None, {"landmarks": "key"})
    never = SimpleNamespace(has=lambda *_: False)
    one = SimpleNamespace(name="landmarks", is_kept=lambda _: False)
    (outcome,) = measure.measure_all([task], [one], None, never, 2, 7.0)
    assert asked == [(2, 7.0)]
    assert (outcome.reason, outcome.message) == ("timeout", "a: it took longer than 7 s")
