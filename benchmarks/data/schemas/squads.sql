-- Roles: a captain is a player, a manager belongs to the staff, and people refer to people of the same table.
-- key: players(player_id)
-- key: staff(staff_id)
-- key: squads(squad_id)
-- key: fixtures(fixture_id)
-- link: squads(captain) -> players(player_id)
-- link: squads(manager_id) -> staff(staff_id)
-- link: staff(mentor_id) -> staff(staff_id)
-- link: staff(reports_to) -> staff(staff_id)
-- link: players(squad_id) -> squads(squad_id)
-- link: fixtures(home) -> squads(squad_id)
-- link: fixtures(away) -> squads(squad_id)
-- link: fixtures(referee_id) -> staff(staff_id)
-- link: fixtures(scorer) -> players(player_id)
-- time: fixtures(kickoff)
CREATE TABLE staff AS SELECT 900 + 7 * i AS staff_id, CASE WHEN i > 5 THEN 900 + 7 * pick(i, i) END AS reports_to, CASE WHEN i > 9 THEN 900 + 7 * pick(i || 'm', i) END AS mentor_id, 20 + pick(i || 'a', 40) AS age FROM range(120) r(i);
CREATE TABLE squads AS SELECT 100 + 9 * i AS squad_id, 900 + 7 * pick(i, 120) AS manager_id, 5000 + 3 * (25 * i + pick(i || 'c', 25)) AS captain, 10000 + pick(i || 's', 50000) AS seats FROM range(40) r(i);
CREATE TABLE players AS SELECT 5000 + 3 * i AS player_id, 100 + 9 * (i // 25) AS squad_id, 1 + pick(i, 99) AS shirt, 150 + pick(i || 'h', 50) AS height FROM range(1000) r(i);
CREATE TABLE fixtures AS SELECT 20000 + i AS fixture_id, 100 + 9 * pick(i, 40) AS home, 100 + 9 * pick(i || 'a', 40) AS away, 900 + 7 * pick(i || 'r', 120) AS referee_id, 5000 + 3 * pick(i || 's', 1000) AS scorer,
    TIMESTAMP '2020-08-01' + INTERVAL (9 * i) HOUR AS kickoff, pick(i || 'g', 6) AS goals, pick(i || 't', 40000) AS attendance FROM range(2000) r(i);
