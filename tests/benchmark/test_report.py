from __future__ import annotations

import orjson

from bench.child import Cores
from bench.machine import Machine, processor
from bench.report import Row, all_ratios, as_json, as_text, ratio, rows
from bench.rounds import Failure, Measured
from bench.statistics import Spread
from bench.throughput import Sample

WAY = "blaster, QoS 1"
MACHINE = Machine("a processor", 2, Cores(1, 0), "Linux 6", "3.11.7", "mosquitto 2", "abc1234", {"aiomqtt": "2.5.1"}, (0.1, 0.9))


def sample(contender: str, per_cpu_s: int, *, rss_bytes: int = 1 << 20, scenario: str = WAY) -> Sample:
    return Sample(contender, scenario, per_cpu_s, 2.0, 1.0, rss_bytes)


SAMPLES = (
    sample("tars 5", 3000),
    sample("aiomqtt 3.1.1", 1000),
    sample("aiomqtt 3.1.1", 500),
    sample("tars 5", 1000, rss_bytes=3 << 20),
    sample("tars 5", 2000, scenario="mosquitto, QoS 1"),
)
MEASURED = Measured(SAMPLES, (Failure("gmqtt 5", WAY, "ended with code 1\ntraceback"),))


def test_a_row_is_median_and_spread_over_the_rounds_and_the_highest_memory() -> None:
    first, *_ = rows(SAMPLES)

    assert Row("tars 5", WAY, Spread(2000, 1000, 3000, 2), Spread(1000, 500, 1500, 2), 3 << 20) == first
    assert [("tars 5", WAY), ("aiomqtt 3.1.1", WAY), ("tars 5", "mosquitto, QoS 1")] == [
        (row.contender, row.scenario) for row in rows(SAMPLES)
    ]


def test_a_ratio_is_the_median_of_the_rounds_ratios() -> None:
    found = ratio(SAMPLES, WAY, "tars 5", "aiomqtt 3.1.1")

    assert found is not None
    assert Spread(2.5, 2.0, 3.0, 2) == found.value


def test_where_one_was_not_measured_there_is_no_ratio() -> None:
    assert ratio(SAMPLES, "mosquitto, QoS 1", "tars 5", "aiomqtt 3.1.1") is None
    assert [(WAY, "aiomqtt 3.1.1")] == [(each.scenario, each.theirs) for each in all_ratios(SAMPLES)]


def test_the_json_holds_everything_down_to_the_samples() -> None:
    read = orjson.loads(orjson.dumps(as_json(MEASURED, MACHINE)))

    assert {"machine", "throughput", "ratios", "samples", "failures"} == read.keys()
    assert 5 == len(read["samples"])
    assert [1, 0] == list(read["machine"]["pinned"].values())


def test_the_text_has_a_table_for_each_scenario_the_fastest_first_and_says_what_failed() -> None:
    text = as_text(MEASURED, MACHINE)
    lines = text.splitlines()

    assert lines.index("## blaster, QoS 1") < lines.index("## mosquitto, QoS 1")
    assert lines.index("| tars 5 | 2,000 | 1,000 to 3,000 | 1,000 | 3 MiB |") < lines.index(
        "| aiomqtt 3.1.1 | 750 | 500 to 1,000 | 375 | 1 MiB |"
    )
    assert "| blaster, QoS 1 | aiomqtt 3.1.1 | 2.50 | 2.00 to 3.00 |" in lines
    assert "* gmqtt 5, blaster, QoS 1: ended with code 1" in lines
    assert "* load average before and after: 0.1, 0.9" in lines


def test_the_processor_is_named_where_linux_names_it() -> None:
    assert "AMD EPYC" == processor("processor\t: 0\nmodel name\t: AMD EPYC\n")
    assert "" != processor("")


def test_who_answers_is_told_apart_from_who_counts() -> None:
    requests = (sample("tars 5", 1000, scenario="mosquitto, requests"), sample("aiomqtt 3.1.1 tasks", 500, scenario="mosquitto, requests"))
    text = as_text(Measured((*SAMPLES, *requests), ()), MACHINE)

    assert "\n* tars 5: Ten actors, all defaults.\n" in text
    assert "\n* tars 5, requests: One actor that publishes its answer; all defaults.\n" in text
    assert "\n* aiomqtt 3.1.1 tasks, requests: The same, a task for each request, unordered.\n" in text
    assert "| mosquitto, requests | aiomqtt 3.1.1 tasks | 2.00 | 2.00 to 2.00 |" in text
