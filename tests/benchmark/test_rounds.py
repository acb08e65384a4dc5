from __future__ import annotations

from bench import contenders, scenario
from bench.rounds import turns


def test_each_round_measures_everybody_once_in_every_scenario_and_the_next_goes_the_other_way() -> None:
    order = turns(contenders.taking_part, scenario.ALL, 4)

    for number in range(4):
        for way in scenario.ALL:
            everybody = [contender.name for contender in (contenders.ANSWERING if way.requests else contenders.ALL)]
            names = [turn.contender.name for turn in order if (turn.round, turn.scenario) == (number, way)]

            assert (everybody if number % 2 == 0 else everybody[::-1]) == names


def test_the_rounds_follow_one_another_so_that_contenders_alternate() -> None:
    two = [contenders.BY_NAME[name] for name in contenders.QUICK]

    names = [turn.contender.name for turn in turns(lambda _: two, [scenario.QUICK], 3)]

    assert ["tars 5", "aiomqtt 3.1.1", "aiomqtt 3.1.1", "tars 5", "tars 5", "aiomqtt 3.1.1"] == names
