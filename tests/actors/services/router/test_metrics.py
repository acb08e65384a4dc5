"""The router's counters."""

from tars.actors.services.router.metrics import Metrics


def test_questions_answers_and_their_average_are_counted() -> None:
    metrics = Metrics()
    metrics.asked(10.0, "a")
    metrics.asked(11.0, "b")
    metrics.spoke()
    metrics.answered(12.0, "a")
    metrics.answered(14.0, "b")

    expected = {"llm_requests": 2, "llm_responses": 2, "tts_messages": 1, "avg_llm_latency_s": 2.5, "llm_inflight": 0}
    assert expected == metrics.values()


def test_the_average_is_told_to_the_microsecond() -> None:
    metrics = Metrics()
    for request_id, answered_s in (("a", 1.0), ("b", 1.0), ("c", 3.0)):
        metrics.asked(0.0, request_id)
        metrics.answered(answered_s, request_id)

    assert 1.666667 == metrics.values()["avg_llm_latency_s"]


def test_an_answer_counts_once_and_an_unasked_one_not_at_all() -> None:
    metrics = Metrics()
    metrics.asked(0.0, "a")

    assert [True, False, False] == [metrics.answered(1.0, "a"), metrics.answered(2.0, "a"), metrics.answered(2.0, "b")]
    assert 1 == metrics.llm_responses


def test_an_abandoned_question_is_no_longer_in_flight_and_counts_as_no_answer() -> None:
    metrics = Metrics()
    metrics.asked(0.0, "a")
    metrics.abandoned("a")
    metrics.abandoned("never asked")

    assert {"llm_responses": 0, "llm_inflight": 0}.items() <= metrics.values().items()


def test_questions_nobody_answers_do_not_pile_up() -> None:
    metrics = Metrics()
    for number in range(10_000):
        metrics.asked(0.0, str(number))

    assert 256 == metrics.values()["llm_inflight"]
    assert 10_000 == metrics.llm_requests
