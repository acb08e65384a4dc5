"""A service of very many actors: what one of them costs at the start does not grow with their number.

A ratio in processor time, so that a busy machine does not matter. Something quadratic would show as 10.
"""

from __future__ import annotations

import time
from pathlib import Path

from tars.supervisor.application import plan

FEW, MANY = 100, 1_000
MOST_GROWTH = 3.0
"""Times that an actor may cost more among ten times as many. Measured: 1.0; when every table of the file looked at every other, 9."""


def cost_of_an_actor_s(actors: int, folder: Path) -> float:
    file = folder / f"{actors}.toml"
    tables = (
        f'[actors.a{number}]\nuse = "bench.consumers.tars_lanes:Waiter"\ntopics = {{"bench/+/+" = "in/{number}/+"}}\n'
        "settings = {wait_s = 1.0}\n"
        for number in range(actors)
    )
    head = 'application = "tars.actors.service:application"\n\n[service]\nname = "many"\n\n[mqtt]\nurl = "mqtt://127.0.0.1:1883"\n\n'
    file.write_text(head + "\n".join(tables), encoding="utf-8")
    took_s = []
    for _ in range(2):
        began_s = time.process_time()
        made = plan(file, {})
        took_s.append(time.process_time() - began_s)

        assert any(each.key == f"actors.a{actors - 1}.settings.wait_s" for each in made.settings)
    return min(took_s) / actors


def test_an_actor_among_a_thousand_is_planned_for_about_what_it_costs_among_a_hundred(tmp_path: Path) -> None:
    few_s, many_s = cost_of_an_actor_s(FEW, tmp_path), cost_of_an_actor_s(MANY, tmp_path)

    assert MOST_GROWTH > many_s / few_s, f"{few_s * 1e6:.0f} µs among {FEW}, {many_s * 1e6:.0f} µs among {MANY}"
