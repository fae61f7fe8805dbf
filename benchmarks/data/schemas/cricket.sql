-- Matches and balls: clubs are names without a table, a ball is one of an over of an innings, a player is a text.
-- key: matches(id)
-- key: players(player_name)
-- key: deliveries(match_id, inning, over, ball)
-- link: deliveries(match_id) -> matches(id)
-- link: deliveries(batsman) -> players(player_name)
-- link: deliveries(bowler) -> players(player_name)
-- time: matches(date)
-- time: deliveries(matches.date)
CREATE TABLE players AS SELECT letter(65 + i % 26) || ' Player' || i AS player_name, ['right', 'left'][1 + pick(i, 2)] AS hand, DATE '1975-01-01' + pick(i, 8000) AS dob FROM range(200) r(i);
CREATE TABLE matches AS SELECT i AS id, 2008 + i // 60 AS season, DATE '2008-04-18' + (i * 2)::INTEGER AS date, 'City ' || pick(i, 30) AS city, 'Team ' || pick(i, 8) AS team1, 'Team ' || (pick(i, 8) + 1 + pick(i || 'b', 7)) % 8 AS team2,
    pick(i || 'w', 60) AS win_by_runs, 'Umpire ' || pick(i, 40) AS umpire1 FROM range(1, 301) r(i);
CREATE TABLE deliveries AS SELECT m AS match_id, n AS inning, o AS "over", b AS ball, letter(65 + pick(m || n || o || b, 200) % 26) || ' Player' || pick(m || n || o || b, 200) AS batsman,
    letter(65 + pick(m || 'x' || n || o, 200) % 26) || ' Player' || pick(m || 'x' || n || o, 200) AS bowler, pick(m || 'r' || n || o || b, 7) AS batsman_runs FROM range(1, 301) a(m), range(1, 3) c(n), range(1, 6) d(o), range(1, 7) e(b);
